"""Radiometry of two dates: one gain and one offset a band, from what is clear in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

CELL_PX = 16
"""Side of the cells whose means are fitted: in means, noise and resampling cancel out, either of
which would bend the gain of a fit to pixels."""
LEAST_CELLS = 30
FIT = "reduced major axis"
"""Which line is fitted: part of what decides the bytes of a set."""

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
    correlation
        Per band, of the cells that its fit rests on: near 0 the gain means nothing.
    """

    gain: tuple[float, ...]
    offset: tuple[float, ...]
    residual: tuple[float, ...]
    cells: int
    correlation: tuple[float, ...]

    def apply(self, dn: NDArray[Any]) -> NDArray[Any]:
        """(C, H, W) of the clear image, matched, in its own type; rounded and saturated."""
        gain = np.array(self.gain)[:, None, None]
        matched = dn.astype(np.float64) * gain + np.array(self.offset)[:, None, None]
        if dn.dtype.kind in "iu":
            limits = np.iinfo(dn.dtype.name)
            matched = np.clip(np.rint(matched), limits.min, limits.max)
        return np.asarray(matched.astype(dn.dtype))


def whole_cell_means(image: NDArray[Any], ok: NDArray[np.bool_]) -> Float:
    """Means of the cells of `CELL_PX` in which every pixel is ok.

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
    bands, side = len(image), CELL_PX
    rows, cols = (n // side for n in ok.shape)
    cut = image[:, : rows * side, : cols * side].reshape(bands, rows, side, cols, side)
    whole = ok[: rows * side, : cols * side].reshape(rows, side, cols, side).all(axis=(1, 3))
    means: Float = cut.mean(axis=(2, 4), dtype=np.float64)[:, whole]
    return means


def fit_match(clear: Float, cloudy: Float) -> LinearMatch | None:
    """Fit cloudy = gain * clear + offset, without cells that changed.

    The line is the reduced major axis, ``gain = std(cloudy) / std(clear)`` with the sign of their
    correlation, through both means. Ground differs between dates in both images, for which least
    squares make the gain too low; this one inverts when the two are exchanged.

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
    gain, offset, residual, cells, correlation = zip(*fits, strict=True)
    return LinearMatch(gain, offset, residual, cells[0], correlation)


def _line(x: Float, y: Float) -> tuple[float, float, float, int, float]:
    """Gain, offset, spread, cells and correlation of a trimmed fit; gain 0 if there is none."""
    gain, correlation = _axis(x, y)
    # Cells that changed bend least squares of one date on the other less: the tightest line starts.
    starts = [gain * abs(correlation) ** power for power in (1, 0, -1) if correlation]
    gain = min(starts, key=lambda g: _away(x, y, g)[1] / abs(g) ** 0.5, default=0.0)
    keep = np.zeros(len(x), dtype=bool)
    for _ in range(_ROUNDS):
        away, spread = _away(x, y, gain)
        now = np.asarray(away <= max(_TRIM * spread, 1e-9))
        if gain == 0 or now.sum() < LEAST_CELLS // 2:
            return 0.0, 0.0, 0.0, 0, 0.0
        if (now == keep).all():
            break
        keep = now
        gain, correlation = _axis(x[keep], y[keep])
    offset = float(y[keep].mean() - gain * x[keep].mean())
    return gain, offset, _away(x, y, gain)[1], int(keep.sum()), correlation


def _axis(x: Float, y: Float) -> tuple[float, float]:
    """Gain of the reduced major axis, and correlation; 0 if there is none."""
    dx, dy = float(x.std()), float(y.std())
    if not (dx > 0 and dy > 0):
        return 0.0, 0.0
    correlation = float(np.corrcoef(x, y)[0, 1])
    return float(np.sign(correlation)) * dy / dx, correlation


def _away(x: Float, y: Float, gain: float) -> tuple[Float, float]:
    """How far points lie from the line through their median, and the robust spread of that."""
    rest = y - gain * x
    away = np.abs(rest - np.median(rest))
    return away, 1.4826 * float(np.median(away))
