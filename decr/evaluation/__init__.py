"""How good a restoration is: error measures, perceptual distance, protocols, and analyses."""
