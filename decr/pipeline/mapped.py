"""Arrays that lie in files: their room is taken at once, and their pages can be let go of."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from decr.errors import OutputError
from decr.pipeline.journal import still_whole

N = TypeVar("N", bound=np.generic)


def on_disk(path: Path, shape: tuple[int, ...], dtype: type[N], begun: bool = False) -> NDArray[N]:
    """A memory map of zeros whose room on disk is taken now: a full disk would kill us later.

    Or, if it is ``begun``, of what an interrupted run left in its work directory.

    Raises
    ------
    OutputError
        If there is no room, or what was left cannot be read.
    """
    if begun:
        with still_whole(path, path.parent):
            found: NDArray[N] = np.load(path, mmap_mode="r+")
        return found
    with _room(path, shape, dtype):
        stored = np.lib.format.open_memmap(path, "w+", dtype, shape)
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return stored


def unnamed(folder: Path | None, shape: tuple[int, ...], dtype: type[N]) -> NDArray[N]:
    """As `on_disk`, of a file without a name: it is gone with this process, however that ends.

    Parameters
    ----------
    folder
        Where the file lies; None takes that for temporary files, or if there is none, memory.

    Raises
    ------
    OutputError
        If there is no room.
    """
    try:
        place = folder or Path(tempfile.gettempdir())
    except FileNotFoundError:
        return np.zeros(shape, dtype)
    more = "" if folder else ", or name another folder by the variable TMPDIR,"
    with _room(place, shape, dtype, more), tempfile.TemporaryFile(dir=place) as file:
        stored = np.memmap(file, dtype, "w+", shape=shape)
        os.posix_fallocate(file.fileno(), 0, stored.nbytes)
    return stored


@contextmanager
def _room(
    place: Path, shape: tuple[int, ...], dtype: type[np.generic], more: str = ""
) -> Iterator[None]:
    """Say how much room there must be at a place where an array cannot be put."""
    try:
        yield
    except OSError as error:
        size_mb = math.prod(shape) * np.dtype(dtype).itemsize / 2**20
        raise OutputError(
            f"{place}: no room for {size_mb:.1f} MB ({error.strerror}); free some space there"
            f"{more} and run the same command again"
        ) from error


def flushed(*arrays: NDArray[Any]) -> None:
    """Have arrays on disk; those in memory stay there."""
    for array in arrays:
        if isinstance(array, np.memmap):
            array.flush()


def let_go(array: NDArray[Any]) -> None:
    """Let the system take the pages of an array mapped from a file; they are read again if needed.

    Otherwise all that was ever looked at stays in this process. Nothing happens to other arrays.
    """
    mapped = getattr(array, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
