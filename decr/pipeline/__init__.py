"""Whole scenes: survey the clouds, plan the tiles, restore block by block, write one file."""
