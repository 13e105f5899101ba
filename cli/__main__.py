"""`python -m decr.cli` (installed) or `python -m cli` (in a checkout)."""

from __future__ import annotations

from .main import main

main()
