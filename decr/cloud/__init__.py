"""Where clouds are: detectors, cloud coverage, and how far a pixel may be changed."""
