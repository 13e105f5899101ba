"""Tests of decr.report."""
