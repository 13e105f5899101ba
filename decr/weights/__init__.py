"""The weights that ship with decr, and their model cards."""
