"""How far one image lies from another: masked correlation, then least squares to sub-pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

LEAST_CLEAR = 0.1
"""Share of a view that must be clear in both images."""
LEAST_CORRELATION = 0.3
"""Views that agree less than this after alignment say nothing of the shift."""

_COARSE_SIGMA_PX = 4.0
_FINE_SIGMA_PX = 1.0
_ROUNDS = 12
_DONE_PX = 0.002
_TRIM = 3.0
_MARGIN_PX = 4


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The same window of two images.

    Attributes
    ----------
    fixed, moving
        (H, W) numbers of one band, or means of several.
    fixed_ok, moving_ok
        (H, W) bool, True where a pixel is valid and clear.
    """

    fixed: NDArray[np.generic]
    moving: NDArray[np.generic]
    fixed_ok: Bool
    moving_ok: Bool


@dataclass(frozen=True, slots=True)
class Shift:
    """Where the moving image has the content of the fixed one.

    What the fixed image shows at (r, c), the moving one shows at (r + rows, c + cols).

    Attributes
    ----------
    rows, cols
        Pixels.
    correlation
        Of both images once aligned, -1..1; median over views.
    spread_px
        Median distance of the views' own shifts from this one; for acquisitions.json alone.
    views
        How many views were measured.
    """

    rows: float
    cols: float
    correlation: float
    spread_px: float
    views: int

    @property
    def px(self) -> float:
        """Length."""
        return math.hypot(self.rows, self.cols)


def measure_shift(views: Sequence[View], reach_px: int) -> Shift | None:
    """Measure the one shift of several views of two images.

    The whole pixels come from masked normalised cross-correlation, summed over all views, so that
    pixels under cloud or without data play no part; the fraction from least-squares matching of
    each view with a gain and an offset, of which the median counts.

    Parameters
    ----------
    views
        Each larger than twice ``reach_px``.
    reach_px
        Largest shift looked for, in rows and in columns.

    Returns
    -------
    Shift or None
        None if the shift cannot be told: too little that is clear in both, no correlation, or a
        peak at the border of the search.
    """
    total = np.zeros((2 * reach_px + 1,) * 2)
    weight = np.zeros_like(total)
    usable = [v for v in views if (v.fixed_ok & v.moving_ok).mean() >= LEAST_CLEAR]
    for view in usable:
        ncc, pixels = masked_correlation(
            _detail(view.fixed, view.fixed_ok),
            _detail(view.moving, view.moving_ok),
            view.fixed_ok,
            view.moving_ok,
            reach_px,
        )
        total += ncc * pixels
        weight += pixels
    if not usable or not weight.max() > 0:
        return None
    row, col = np.unravel_index(int(np.argmax(total / np.maximum(weight, 1))), total.shape)
    if not (0 < row < 2 * reach_px and 0 < col < 2 * reach_px):
        return None
    start = (float(row) - reach_px, float(col) - reach_px)
    matched = (_matched(view, start) for view in usable)
    found = [f for f in matched if f is not None and f[2] >= LEAST_CORRELATION]
    if not found:
        return None
    table = np.array(found)
    rows, cols, correlation = np.median(table, axis=0)
    spread = float(np.median(np.hypot(table[:, 0] - rows, table[:, 1] - cols)))
    return Shift(float(rows), float(cols), float(correlation), spread, len(found))


def masked_correlation(
    fixed: Float, moving: Float, fixed_ok: Bool, moving_ok: Bool, reach_px: int
) -> tuple[Float, Float]:
    """Correlation coefficients at all whole shifts, each over the pixels that both show.

    Returns
    -------
    tuple of ndarray
        (2 r + 1, 2 r + 1) each: coefficients in -1..1 (0 where too few pixels overlap), and pixels.
        Index (r + i, r + j) compares ``fixed[y, x]`` with ``moving[y + i, x + j]``.
    """
    shape = [fft.next_fast_len(n + reach_px, real=True) for n in fixed.shape]
    # Sums of squares of large numbers would lose the small differences.
    fixed = np.where(fixed_ok, fixed - fixed[fixed_ok].mean(), 0.0)
    moving = np.where(moving_ok, moving - moving[moving_ok].mean(), 0.0)
    one = [np.conj(fft.rfft2(a, shape)) for a in (fixed_ok.astype(float), fixed, fixed**2)]
    two = [fft.rfft2(a, shape) for a in (moving_ok.astype(float), moving, moving**2)]
    lags = np.arange(-reach_px, reach_px + 1)

    def sums(a: int, b: int) -> Float:
        full = fft.irfft2(one[a] * two[b], shape)
        return np.asarray(full[np.ix_(lags, lags)])

    pixels = np.rint(sums(0, 0))
    count = np.maximum(pixels, 1.0)
    one_sum, two_sum = sums(1, 0), sums(0, 1)
    both = sums(1, 1) - one_sum * two_sum / count
    one_var = sums(2, 0) - one_sum**2 / count
    two_var = sums(0, 2) - two_sum**2 / count
    enough = pixels >= LEAST_CLEAR * fixed.size / 2
    product = np.where(enough, one_var * two_var, 0.0)
    least = 1e-12 * max(float(product.max()), 1e-300)
    known = product > least
    ncc = np.where(known, both / np.sqrt(np.where(known, product, 1.0)), 0.0)
    return np.clip(ncc, -1.0, 1.0), np.where(known, pixels, 0.0)


def _smoothed(image: NDArray[np.generic], ok: Bool, sigma: float) -> Float:
    """Gaussian means of the pixels that are ok, everywhere."""
    weight = ndimage.gaussian_filter(ok.astype(np.float64), sigma)
    mean = float(image[ok].mean()) if ok.any() else 0.0
    values = np.where(ok, image.astype(np.float64) - mean, 0.0)
    smooth = ndimage.gaussian_filter(values, sigma)
    return np.asarray(np.divide(smooth, weight, out=np.zeros_like(smooth), where=weight > 1e-6))


def _detail(image: NDArray[np.generic], ok: Bool) -> Float:
    """What is finer than haze and shading."""
    return _smoothed(image, ok, _FINE_SIGMA_PX) - _smoothed(image, ok, _COARSE_SIGMA_PX)


def _matched(view: View, start: tuple[float, float]) -> tuple[float, float, float] | None:
    """Shift of a view by least squares, (rows, cols, correlation), beginning near it."""
    fixed = _smoothed(view.fixed, view.fixed_ok, _FINE_SIGMA_PX)
    moving = _smoothed(view.moving, view.moving_ok, _FINE_SIGMA_PX)
    fixed_ok = ndimage.binary_erosion(view.fixed_ok, iterations=_MARGIN_PX)
    moving_ok = ndimage.binary_erosion(view.moving_ok, iterations=_MARGIN_PX)
    rows, cols = start
    last = 0.0
    for _ in range(_ROUNDS):
        seen = ndimage.shift(moving, (-rows, -cols), order=3, mode="nearest")
        whole = (-round(rows), -round(cols))
        ok = fixed_ok & ndimage.shift(moving_ok, whole, order=0, mode="constant", cval=False)
        if ok.sum() < LEAST_CLEAR / 2 * ok.size:
            return None
        step = _step(fixed[ok], seen[ok], [g[ok] for g in np.gradient(seen)])
        if step is None:
            return None
        down, right, last = step
        rows, cols = rows + down, cols + right
        if math.hypot(rows - start[0], cols - start[1]) > 2.0:
            return None
        if math.hypot(down, right) < _DONE_PX:
            break
    return rows, cols, last


def _step(fixed: Float, seen: Float, slopes: list[Float]) -> tuple[float, float, float] | None:
    """One step of fixed = gain * (seen + slopes * step) + offset, without what moved."""
    design = np.stack([seen, *slopes, np.ones_like(seen)], axis=1)
    keep: Bool = np.ones(len(fixed), dtype=bool)
    solution: Float = np.zeros(4)
    for _ in range(4):
        solution = np.asarray(np.linalg.lstsq(design[keep], fixed[keep], rcond=None)[0], float)
        away = np.abs(fixed - design @ solution)
        limit = _TRIM * 1.4826 * float(np.median(away))
        now = away <= max(limit, 1e-9)
        if now.sum() < 16 or (now == keep).all():
            break
        keep = np.asarray(now)
    gain = float(solution[0])
    if not gain > 1e-3:
        return None
    pair = np.corrcoef(fixed[keep], seen[keep])[0, 1] if seen[keep].std() > 0 else 0.0
    return float(solution[1] / gain), float(solution[2] / gain), float(pair)
