"""Tests of decr.dataset."""
