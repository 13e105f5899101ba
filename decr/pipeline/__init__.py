"""The verbs on rasters: scenes restored, clouds counted, sets of pairs made."""
