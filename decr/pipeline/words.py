"""Messages in the caller's words: of the command line's options, or of arguments in Python."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from decr.errors import DecrError, DecrWarning

_ARGUMENTS = {
    "bands": "bands",
    "detector": "detector",
    "device": "device",
    "feather": "feather_m",
    "gsd": "gsd_m",
    "margin": "margin_m",
    "min-object": "min_object_m2",
    "range": "dn_range",
    "tile": "tile_px",
}
_OPTION = re.compile(
    rf"(?<![^\s(])--({'|'.join(_ARGUMENTS)})(?![\w-])"
    r"(?: (LOW,HIGH|\d+|cpu|native|model|file:MASK|p\b|[^\s;:)]+,[^\s;:)]+))?"
)
"""An option where a word begins, and what is to be given with it, if that is said."""

_words: ContextVar[Callable[[str], str]] = ContextVar("words", default=str)


@contextmanager
def in_python(array: Path | None = None) -> Iterator[None]:
    """Within it, `warn` and errors of decr speak of arguments, not of options.

    Parameters
    ----------
    array
        The file that an array lies in, which they call the array.
    """

    def words(said: str) -> str:
        said = said if array is None else said.replace(str(array), "the array")
        return _OPTION.sub(_argument, said)

    token = _words.set(words)
    try:
        yield
    except DecrError as error:
        error.args = (words(str(error)),)
        raise
    finally:
        _words.reset(token)


def warn(said: str, stacklevel: int) -> None:
    """As `warnings.warn` of a DecrWarning, in the caller's words."""
    warnings.warn(_words.get()(said), DecrWarning, stacklevel=stacklevel + 1)


def _argument(option: re.Match[str]) -> str:
    name, value = option.groups()
    argument = _ARGUMENTS[name]
    if value is None:
        return argument
    if value in ("native", "model"):
        return f'gsd="{value}"'
    if value == "LOW,HIGH":
        return f"{argument}=(LOW, HIGH)"
    return f"{argument}={value}" if value.isdigit() else f'{argument}="{value}"'
