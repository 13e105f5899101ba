"""Pairs of cloudy and clear imagery: simulated, read from disk, cut into samples."""
