"""What computed the scores: versions of decr and of the libraries that decide their digits."""

from __future__ import annotations

import platform
from importlib import metadata

import decr


def versions() -> dict[str, str]:
    """Version by name; "absent" for a package that is not installed."""
    found = {"decr": decr.__version__, "python": platform.python_version()}
    for name in ("torch", "numpy", "scipy", "lpips"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found
