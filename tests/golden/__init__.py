"""Conformance vectors of the published networks: `python -m tests.golden DIR` checks a folder."""
