"""Values of recipes and settings: each refused by its key, itself, and what it must be."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from decr.errors import ConfigError

_MOST_BYTES = 237
"""Of a bundle's name: files' names have up to 255, and ".NAME.safetensors.part" is the longest."""


def whole(key: str, value: Any, least: int | None = None) -> int:
    """A whole number.

    Raises
    ------
    ConfigError
        For another type, or a number below ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise wrong(key, value, "a whole number")
    if least is not None and value < least:
        raise wrong(key, value, f"a whole number from {least} on")
    return int(value)


def number(
    key: str, value: Any, *, above: float | None = None, least: float | None = None
) -> float:
    """A finite number.

    Raises
    ------
    ConfigError
        For another type, NaN, infinity, or a number that is not ``above``, or below ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise wrong(key, value, "a finite number")
    if above is not None and value <= above:
        raise wrong(key, value, f"a number above {above:g}")
    if least is not None and value < least:
        raise wrong(key, value, f"a number from {least:g} on")
    return float(value)


def texts(key: str, value: Any) -> tuple[str, ...]:
    """A list of texts.

    Raises
    ------
    ConfigError
        For anything else; a single text would be taken letter by letter.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise wrong(key, value, f'a list of texts, such as ["{value}"]')
    listed = tuple(value)
    if not all(isinstance(one, str) for one in listed):
        raise wrong(key, value, "a list of texts")
    return listed


def check_stem(name: str) -> None:
    """Refuse a name that no file can have.

    Raises
    ------
    ConfigError
        If it is empty, names a folder, too, cannot be printed, or is too long.
    """
    if not name or any(mark in name for mark in "/\\") or not name.isprintable():
        raise wrong("name", name, "the name of a file, without folders and suffix")
    if len(name.encode()) > _MOST_BYTES:
        raise wrong("name", name, f"of at most {_MOST_BYTES} bytes, as the name of a file")


def wrong(key: str, value: Any, what: str) -> ConfigError:
    """The error of a value."""
    return ConfigError(f"{key} has a wrong value, {value!r}: it must be {what}")
