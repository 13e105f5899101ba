"""Messages of work on an array's temporary file, which its owner knows nothing of."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

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


def warn(said: str, stacklevel: int) -> None:
    """As `warnings.warn` of a DecrWarning, of an array if it is one."""
    warnings.warn(_worded(said), DecrWarning, stacklevel=stacklevel + 1)


def _worded(said: str) -> str:
    file = _file.get()
    return said if file is None else said.replace(str(file), "the array")
