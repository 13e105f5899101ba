"""The pixels of an array part by part: out of memory, out of a file, or computed by Dask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from itertools import accumulate, pairwise, product
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from decr.errors import SceneError
from decr.geo.opening import REFUSALS, first_line, unlinked

Part = tuple[slice, slice, slice]
"""Bands, rows and columns."""

_STRIP_BYTES = 32 * 2**20
_STRIP_PX = 256
"""Strips of arrays without chunks are of so many rows, or of as many times that as take so much."""
_AT_ONCE_BYTES = 256 * 2**20
"""Chunks that Dask computes at once take no more, or are one. What is larger than that may compute
anew what all chunks need, such as a mean of all pixels; what is smaller leaves cores idle."""


def parts_of(scene: xr.DataArray) -> Iterator[tuple[Part, NDArray[Any]]]:
    """Parts of an array (band, y, x) that make up all of it, each with its pixels.

    They are chunks, or strips of an array that has none. Few are in memory at a time.

    Raises
    ------
    SceneError
        If the file that an array was to be read from refuses.
    """
    for parts in _batches(_parts(scene), scene.dtype.itemsize):
        try:
            arrays = _pixels([scene.variable[part] for part in parts])
        except REFUSALS as error:
            raise SceneError(
                f"the array cannot be read: {first_line(error)}; see that the files that it is "
                f"made of are there and whole"
            ) from unlinked(error)
        yield from zip(parts, arrays, strict=True)
        del arrays  # before the next are there


def _pixels(parts: list[xr.Variable]) -> Sequence[NDArray[Any]]:
    """What is read is read for each alone; what Dask computes, for all at once."""
    if parts[0].chunks is None:
        return [part.values for part in parts]
    dask: Any = import_module("dask")
    done: Sequence[NDArray[Any]] = dask.compute(*(part.data for part in parts), traverse=False)
    return done


def _parts(scene: xr.DataArray) -> Iterator[Part]:
    """Chunks or strips, bands of a place one after the other: the file keeps them together."""
    bands, height, width = scene.shape
    if scene.chunks is None:
        least = bands * _STRIP_PX * width * scene.dtype.itemsize
        rows = _STRIP_PX * max(1, _STRIP_BYTES // least)
        sizes = [(bands,), (rows,) * (height // rows) + (height % rows,), (width,)]
    else:
        sizes = list(scene.chunks)
    of_bands, of_rows, of_columns = ([*_slices(each)] for each in sizes)
    return ((band, row, col) for row, col, band in product(of_rows, of_columns, of_bands))


def _slices(sizes: Iterable[int]) -> Iterator[slice]:
    for start, stop in pairwise(accumulate(sizes, initial=0)):
        if start < stop:
            yield slice(start, stop)


def _batches(parts: Iterable[Part], itemsize: int) -> Iterator[list[Part]]:
    some: list[Part] = []
    taken = 0
    for part in parts:
        size = itemsize * int(np.prod([each.stop - each.start for each in part]))
        if some and taken + size > _AT_ONCE_BYTES:
            yield some
            some, taken = [], 0
        some.append(part)
        taken += size
    yield some
