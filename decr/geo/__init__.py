"""Where pixels are: grids, tiles, bands, scenes, areas of interest and output files."""
