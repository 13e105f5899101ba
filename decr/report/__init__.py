"""Pages and pictures for people, made of plain values: no rasters, no networks."""
