"""The networks: torch modules that know nothing of files, scenes or coordinates."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`create` and `NAMES` of the registry, on first use: the package alone needs no torch."""
    if name not in ("NAMES", "create"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from decr.models import registry

    return getattr(registry, name)
