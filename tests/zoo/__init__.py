"""Tests of decr.zoo."""
