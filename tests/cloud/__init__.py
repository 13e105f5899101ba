"""Tests of decr.cloud."""
