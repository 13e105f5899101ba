"""Ways in which a file of finished work is damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

DAMAGED: dict[str, Callable[[Path], Any]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(b"\xff\xfe" * 40),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "zeros": lambda path: path.write_bytes(_half(path.read_bytes())),
}


def _half(data: bytes) -> bytes:
    """The first half, then zeros: what a disk has lost."""
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
