"""Tests of decr.evaluation."""
