"""decr: remove clouds from very large, very high resolution satellite scenes."""

from __future__ import annotations

import importlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decr.config import CcpConfig, DecloudConfig
    from decr.coverage.arrays import ccp, cloud_mask
    from decr.coverage.ccp import SceneCcp
    from decr.errors import DecrError, DecrWarning
    from decr.geo.scene import Scene, open_scene
    from decr.pipeline.declouds import DecloudResult, declouds
    from decr.pipeline.declouds_array import declouds_array
    from decr.pipeline.first_pass import plan_scene
    from decr.pipeline.plan import Plan
    from decr.predictor import Restorer

__version__ = "0.1.0"

__all__ = [
    "CcpConfig",
    "DecloudConfig",
    "DecloudResult",
    "DecrError",
    "DecrWarning",
    "Plan",
    "Restorer",
    "Scene",
    "SceneCcp",
    "ccp",
    "cloud_mask",
    "declouds",
    "declouds_array",
    "open_scene",
    "plan_scene",
]

# Resolved on first use (PEP 562): `import decr` must not cost the seconds that torch takes.
_HOMES = {
    "CcpConfig": "decr.config",
    "DecloudConfig": "decr.config",
    "DecloudResult": "decr.pipeline.declouds",
    "DecrError": "decr.errors",
    "DecrWarning": "decr.errors",
    "Plan": "decr.pipeline.plan",
    "Restorer": "decr.predictor",
    "Scene": "decr.geo.scene",
    "SceneCcp": "decr.coverage.ccp",
    "ccp": "decr.coverage.arrays",
    "cloud_mask": "decr.coverage.arrays",
    "declouds": "decr.pipeline.declouds",
    "declouds_array": "decr.pipeline.declouds_array",
    "open_scene": "decr.geo.scene",
    "plan_scene": "decr.pipeline.first_pass",
}


if not TYPE_CHECKING:  # for type checkers, any name would be there

    def __getattr__(name: str) -> Any:
        """Import a public name from where it lives and keep it."""
        if name not in _HOMES:
            raise AttributeError(f"module 'decr' has no attribute {name!r}")
        value = getattr(_imported(_HOMES[name]), name)
        globals()[name] = value
        return value


def _imported(home: str) -> Any:
    """A module; ctrl-C waits for it, since libraries that were half loaded would stay broken."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    if not main or not callable(before):  # no signal of Python's comes here
        return importlib.import_module(home)
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        return importlib.import_module(home)
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            signal.raise_signal(signal.SIGINT)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
