"""Pairs of cloudy and clear imagery: simulated, built, read from disk, cut into samples."""
