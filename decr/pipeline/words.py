"""Messages of work on an array's temporary file, which its owner knows nothing of."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from traceback import walk_stack

from decr.errors import DecrError, DecrWarning

_file: ContextVar[Path | None] = ContextVar("file", default=None)


@contextmanager
def of_array(file: Path) -> Iterator[None]:
    """Within it, `warn` and errors of decr call this file the array."""
    token = _file.set(file)
    try:
        yield
    except DecrError as error:
        error.args = (_worded(str(error)),)
        raise
    finally:
        _file.reset(token)


def warn(said: str) -> None:
    """Warn, of an array if it is one, at the line that called decr."""
    names = [frame.f_globals.get("__name__", "") for frame, _ in walk_stack(sys._getframe())]
    first = max(n for n, name in enumerate(names) if name.startswith("decr."))
    warnings.warn(_worded(said), DecrWarning, stacklevel=first + 2)


def _worded(said: str) -> str:
    file = _file.get()
    return said if file is None else said.replace(str(file), "the array")
