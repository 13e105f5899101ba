"""Measurements, run by hand; their numbers stand in the docs."""
