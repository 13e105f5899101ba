"""Tests of decr.training."""
