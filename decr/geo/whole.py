"""Rasters read back before they get their names: GDAL tells of a full disk late or not at all."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decr.geo.grid import Window
from decr.geo.opening import REFUSALS, of_limit, quietly_open

Sums = dict[Window, int]
"""Checksums of what was written under windows that do not overlap, see `sum_of`."""


def sum_of(pixels: NDArray[np.generic]) -> int:
    """A checksum of (C, H, W) as a raster of the same dtype holds them."""
    return zlib.crc32(np.ascontiguousarray(pixels).data)


def check_whole(file: Path, sums: Sums, tags: Mapping[str, Mapping[str, str]]) -> None:
    """Read a closed raster to its end.

    Parameters
    ----------
    sums
        Of all that was written, in the raster's dtype.
    tags
        Those that it must have, by domain; only their names are compared. GDAL keeps no blank ones.

    Raises
    ------
    OSError
        If it cannot be read, or holds something else. A limit of this process is told as such.
    """
    why = "what was written cannot be read back"
    try:
        with quietly_open(file) as dataset:
            wanted = {d: {key for key, text in tags[d].items() if text.strip()} for d in tags}
            whole = all(wanted[domain] <= dataset.tags(ns=domain).keys() for domain in wanted)
            for window, found in sums.items():
                read = sum_of(dataset.read(window=window.to_rasterio()))
                whole = whole and read == found
    except REFUSALS as error:
        whole = False
        if of_limit(str(error)):
            why = str(error)
    if not whole:
        raise OSError(why)
