"""The networks: torch modules that know nothing of files, scenes or coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decr.models.registry import create

__all__ = ["create"]


def __getattr__(name: str) -> Any:
    """Import ``create`` on first use (PEP 562): the package itself must not cost torch."""
    if name != "create":
        raise AttributeError(f"module 'decr.models' has no attribute {name!r}")
    from decr.models.registry import create

    globals()[name] = create
    return create


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
