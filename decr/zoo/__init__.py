"""Weights: one bundle format, strict loading, and the models that ship with decr."""
