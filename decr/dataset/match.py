"""Radiometry of two dates: one gain and one offset a band, from what is clear in both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

CELL_PX = 16
"""Side of the cells whose means are fitted: in means, noise and resampling cancel out, either of
which would bend the gain of a fit to pixels."""
LEAST_CELLS = 30

_TRIM = 3.0
_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class LinearMatch:
    """The clear image in the cloudy one's numbers: gain * clear + offset, band by band.

    Attributes
    ----------
    gain, offset
        Per band.
    residual
        Per band, robust standard deviation of what the fit leaves, DN.
    cells
        Cells that the fit of the first band rests on.
    """

    gain: tuple[float, ...]
    offset: tuple[float, ...]
    residual: tuple[float, ...]
    cells: int

    def apply(self, dn: NDArray[np.generic]) -> NDArray[np.generic]:
        """(C, H, W) of the clear image, matched, in its own type; rounded and saturated."""
        gain = np.array(self.gain)[:, None, None]
        matched = dn.astype(np.float64) * gain + np.array(self.offset)[:, None, None]
        if dn.dtype.kind in "iu":
            limits = np.iinfo(dn.dtype.name)
            matched = np.clip(np.rint(matched), limits.min, limits.max)
        return np.asarray(matched.astype(dn.dtype))


def whole_cell_means(
    image: NDArray[np.generic], ok: NDArray[np.bool_], side: int = CELL_PX
) -> Float:
    """Means of the cells in which every pixel is ok.

    Parameters
    ----------
    image
        (C, H, W).
    ok
        (H, W).

    Returns
    -------
    ndarray
        (C, N) float64, in raster order of the N cells.
    """
    bands = len(image)
    rows, cols = (n // side for n in ok.shape)
    cut = image[:, : rows * side, : cols * side].reshape(bands, rows, side, cols, side)
    whole = ok[: rows * side, : cols * side].reshape(rows, side, cols, side).all(axis=(1, 3))
    means: Float = cut.mean(axis=(2, 4), dtype=np.float64)[:, whole]
    return means


def fit_match(clear: Float, cloudy: Float) -> LinearMatch | None:
    """Fit cloudy = gain * clear + offset by least squares, without cells that changed.

    Parameters
    ----------
    clear, cloudy
        (C, N) means of the same cells.

    Returns
    -------
    LinearMatch or None
        None with fewer than `LEAST_CELLS` cells, or where a band has no contrast or falls as the
        other rises.
    """
    if clear.shape[1] < LEAST_CELLS:
        return None
    fits = [_line(x, y) for x, y in zip(clear, cloudy, strict=True)]
    if any(not fit[0] > 0 for fit in fits):
        return None
    gain, offset, residual, cells = zip(*fits, strict=True)
    return LinearMatch(gain, offset, residual, cells[0])


def _line(x: Float, y: Float) -> tuple[float, float, float, int]:
    """Gain, offset, spread and cells of a trimmed fit; gain 0 if there is none."""
    keep = np.ones(len(x), dtype=bool)
    gain = offset = spread = 0.0
    for _ in range(_ROUNDS):
        if keep.sum() < LEAST_CELLS // 2 or not x[keep].std() > 0:
            return 0.0, 0.0, 0.0, 0
        gain, offset = (float(v) for v in np.polyfit(x[keep], y[keep], 1))
        away = np.abs(y - gain * x - offset)
        spread = 1.4826 * float(np.median(away))
        now = away <= max(_TRIM * spread, 1e-9)
        if (now == keep).all():
            break
        keep = np.asarray(now)
    return gain, offset, spread, int(keep.sum())
