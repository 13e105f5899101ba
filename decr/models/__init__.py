"""The networks: torch modules that know nothing of files, scenes or coordinates."""
