"""Tests of decr.diffusion."""
