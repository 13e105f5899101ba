"""How good a restoration is: error measures, perceptual distance, and the published protocol."""
