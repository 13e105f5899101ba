"""A scene small enough to look at: means of whole cells, and one stretch for several pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decr.geo.bands import Bands
from decr.geo.cells import cell_sums
from decr.geo.grid import PixelGrid
from decr.geo.missing import blank
from decr.geo.reader import reader
from decr.geo.scene import Scene

LONGEST_PX = 1024
"""Of a quicklook."""
NO_DATA_GREY = 128

_HEADROOM = 1.35
"""Of the white point over the bright ground, so that thin cloud keeps its shape."""
_GAMMA = 0.7

Float32 = NDArray[np.float32]


def look_px_of(grid: PixelGrid) -> int:
    """Scene pixels per quicklook pixel along each axis.

    Examples
    --------
    >>> from affine import Affine
    >>> look_px_of(PixelGrid(800, 2049, Affine.identity(), None))
    3
    """
    return -(-max(grid.height, grid.width) // LONGEST_PX)


def shown_bands(bands: Bands) -> tuple[int, ...]:
    """0-based bands to show as red, green and blue; one data band three times if colours lack.

    Examples
    --------
    >>> shown_bands(Bands(("blue", "green", "red", "nir"))), shown_bands(Bands(("nir", "pan")))
    ((2, 1, 0), (0, 0, 0))
    """
    if {"red", "green", "blue"} <= {*bands.roles}:
        return tuple(bands.roles.index(role) for role in ("red", "green", "blue"))
    return bands.data_indices[:1] * 3


def quicklook(scene: Scene, k: int, bands: Sequence[int]) -> tuple[Float32, NDArray[np.bool_]]:
    """Read a whole scene as means of k x k pixels, in bounded memory.

    Returns
    -------
    tuple of ndarray
        (C, h, w) float32 DN, and (h, w) bool, True where a cell has a valid pixel.

    Raises
    ------
    SceneError
        If the file is damaged.

    Notes
    -----
    All pixels are read: overviews may be stale, or made in another way, and two scenes would then
    look different where they are the same.
    """
    shape = scene.grid.coarsened(k).window.shape
    total, count = np.zeros((len(bands), *shape)), np.zeros(shape, np.int64)
    with reader(scene) as source:
        for piece in source.pieces():
            dn, valid = source.read(piece, bands)
            if not valid.any():
                continue
            blank(dn, valid)
            rows, cols = piece.coarsened(k).slices()
            before = (piece.row % k, 0), (piece.col % k, 0)
            count[rows, cols] += cell_sums(np.pad(valid, before), k)
            for band, plane in enumerate(dn):
                total[band, rows, cols] += cell_sums(np.pad(plane, before), k)
    return (total / np.maximum(count, 1)).astype(np.float32), count > 0


def stretched(
    reference: tuple[Float32, NDArray[np.bool_]],
    *others: tuple[Float32, NDArray[np.bool_]],
    cloudy: NDArray[np.bool_] | None = None,
) -> list[NDArray[np.uint8]]:
    """Quicklooks as (h, w, 3) uint8, all with the black and white point of the first.

    Parameters
    ----------
    reference, others
        As `quicklook` returns; three bands. The clearest should be the reference: clouds of the
        others may saturate.
    cloudy
        (h, w) bool: pixels of the reference that are not asked for those points, unless it has no
        others.
    """
    dn, valid = reference
    lit = dn[:, valid if cloudy is None or not (valid & ~cloudy).any() else valid & ~cloudy]
    low, high = (float(v) for v in np.percentile(lit, (0.3, 99.3))) if lit.size else (0.0, 1.0)
    width = max((high - low) * _HEADROOM, 1e-6 * max(1.0, abs(low)))
    pictures = []
    for mean, seen in (reference, *others):
        unit = np.clip((mean - np.float32(low)) / np.float32(width), 0.0, 1.0)
        picture = np.rint(255 * unit**_GAMMA).astype(np.uint8)
        blank(picture, seen, NO_DATA_GREY)
        pictures.append(np.ascontiguousarray(np.moveaxis(picture, 0, -1)))
    return pictures
