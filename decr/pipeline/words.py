"""Messages of work on an array's temporary file, which its owner knows nothing of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from decr import errors
from decr.errors import DecrError

_file: ContextVar[Path | None] = ContextVar("file", default=None)
_OPTION = re.compile(
    r"--(bands|compile|detector|device|feather|gsd|margin|min-object|model|range|tile)\b"
    r"(?: ('[^']*'|file:MASK|[\w-]+(?:,[\w-]+)+(?:,\.{3})?|\S+(?=: | names \d| for )"
    r"|\d+|p|cpu|model|native)(?!\w))?"
)
"""An option of the command line that arrays have, too, and what it is given."""
_ARGUMENTS = {
    "feather": "feather_m",
    "gsd": "gsd_m",
    "margin": "margin_m",
    "min-object": "min_object_m2",
    "range": "dn_range",
    "tile": "tile_px",
}
"""What such options are called in Python, where it is something else."""


@contextmanager
def of_array(file: Path) -> Iterator[None]:
    """Within it, `warn` and errors of decr call this file the array, and options as Python does."""
    token = _file.set(file)
    try:
        yield
    except DecrError as error:
        error.args = (_worded(str(error)),)
        raise
    finally:
        _file.reset(token)


def warn(said: str) -> None:
    """As `decr.errors.warn`, and of an array if it is one."""
    errors.warn(_worded(said))


def _worded(said: str) -> str:
    file = _file.get()
    return said if file is None else _OPTION.sub(_argument, said.replace(str(file), "the array"))


def _argument(option: re.Match[str]) -> str:
    """How an option of the command line is written in Python."""
    name, value = option.groups()
    argument = name if value in ("model", "native") else _ARGUMENTS.get(name, name)
    if value is None:
        return f"{argument}="
    if name == "range":
        return f"{argument}=({value.replace(',', ', ')})"
    text = value.strip("'")
    return f"{argument}={value}" if value.isdecimal() else f'{argument}="{text}"'
