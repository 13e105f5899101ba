"""From cloud probability to the weight with which a pixel may be changed.

Everything here is a pure function of global coordinates: a pixel's weight does not depend on the
window in which it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float32 = NDArray[np.float32]

INVALID = 255
"""Value of a probability raster's cells without any valid pixel; others are 0..250."""
_SCALE = 250.0


def probability_to_byte(probability: Float32, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Store a probability in 0..250 and mark cells without data."""
    scaled = np.rint(np.clip(probability, 0.0, 1.0) * _SCALE).astype(np.uint8)
    return np.where(valid, scaled, np.uint8(INVALID)).astype(np.uint8)


def cloudy_cells(stored: NDArray[np.uint8], threshold: float) -> NDArray[np.bool_]:
    """True where a stored probability is valid and at least ``threshold``."""
    return np.asarray((stored != INVALID) & (stored >= int(np.ceil(threshold * _SCALE))))


@dataclass(frozen=True, slots=True)
class ChangeRule:
    """How a cloud mask becomes weights.

    Attributes
    ----------
    threshold
        Probability from which a cell is cloudy.
    margin_cells, feather_cells
        On the mask's grid: clouds grow by ``margin_cells``, then the weight falls linearly to zero
        over ``feather_cells``.
    """

    threshold: float
    margin_cells: float
    feather_cells: float

    @property
    def reach_cells(self) -> int:
        """How many cells away a cloud can matter."""
        return int(np.ceil(self.margin_cells + self.feather_cells)) + 1

    def weights(self, stored: NDArray[np.uint8]) -> Float32:
        """(h, w) float32 in [0, 1]; exact except within ``reach_cells`` of a cut edge."""
        cloudy = cloudy_cells(stored, self.threshold)
        if not cloudy.any():
            return np.zeros(stored.shape, np.float32)
        distance = ndimage.distance_transform_edt(~cloudy)
        if self.feather_cells <= 0:
            return np.asarray(distance <= self.margin_cells, np.float32)
        ramp = (self.margin_cells + self.feather_cells - distance) / self.feather_cells
        return np.asarray(np.clip(ramp, 0.0, 1.0), np.float32)

    def depths(self, stored: NDArray[np.uint8]) -> Float32:
        """(h, w) float32 in [0, 1]: 0 outside clouds, 1 from ``feather_cells`` inside their edges.

        An edge is where clear cells begin, not where data end. Exact except within ``reach_cells``
        of a cut edge.
        """
        cloudy = cloudy_cells(stored, self.threshold)
        hidden = cloudy | (stored == INVALID)
        if hidden.all():  # else distances would be measured from beyond the corner
            return cloudy.astype(np.float32)
        inside = ndimage.distance_transform_edt(hidden) / max(self.feather_cells, 1.0)
        return np.asarray(np.clip(inside, 0.0, 1.0) * cloudy, np.float32)


LEAST_MARGIN_PX, LEAST_FEATHER_PX = 3, 4
"""Least margin and feather in scene pixels: the default metres at 4 m, the detector's pixel."""


def rule_in_cells(
    threshold: float, margin_m: float, feather_m: float, gsd_m: float, k: int
) -> ChangeRule:
    """The mask rule on a grid of k x k scene pixels, from metres.

    From far, metres are less than a pixel: a margin or feather that is not 0 is at least
    `LEAST_MARGIN_PX` or `LEAST_FEATHER_PX` scene pixels. Clouds grow by whole cells: a margin that
    is not 0 is at least one.

    Examples
    --------
    >>> rule_in_cells(0.5, 12.0, 16.0, 0.5, 8)
    ChangeRule(threshold=0.5, margin_cells=3.0, feather_cells=4.0)
    >>> rule_in_cells(0.5, 12.0, 0.0, 30.0, 1)
    ChangeRule(threshold=0.5, margin_cells=3.0, feather_cells=0.0)
    >>> rule_in_cells(0.5, 1.0, 0.0, 0.5, 8)
    ChangeRule(threshold=0.5, margin_cells=1.0, feather_cells=0.0)
    """
    margin, feather = (
        max(metres / gsd_m, least) / k if metres > 0 else 0.0
        for metres, least in ((margin_m, LEAST_MARGIN_PX), (feather_m, LEAST_FEATHER_PX))
    )
    return ChangeRule(threshold, max(margin, 1.0) if margin else 0.0, feather)


def upsampled(
    coarse: Float32,
    origin: tuple[int, int],
    k: float,
    first: tuple[int, int],
    shape: tuple[int, int],
) -> Float32:
    """Bilinear values at full resolution under a window, (..., height, width) float32.

    Parameters
    ----------
    coarse
        (..., h, w); should hold one cell more than the window on each side, where the scene has
        one.
    origin
        Row and column of its first cell in the coarse grid.
    k
        Full-resolution pixels per cell along each axis; both grids share their top left corner.
        Less than 1 if those asked for are wider than cells: values at their centres.
    first, shape
        Of the window at full resolution: first row and column, height and width.
    """

    def axis(first: int, count: int, origin: int, cells: int) -> tuple[NDArray[np.intp], Float32]:
        # Centre of pixel p lies at (p + 0.5) / k - 0.5 cells.
        at = (np.arange(first, first + count) + 0.5) / k - 0.5
        base = np.floor(at)
        share = (at - base).astype(np.float32)
        lower = (base - origin).astype(np.intp)
        return np.stack([lower.clip(0, cells - 1), (lower + 1).clip(0, cells - 1)]), share

    (rows, down), (cols, right) = map(axis, first, shape, origin, coarse.shape[-2:])
    if k == 1:
        return coarse[..., rows[0], :][..., cols[0]].astype(np.float32)
    across = coarse[..., :, cols[0]] * (1 - right) + coarse[..., :, cols[1]] * right
    below = down[:, None]
    out = across[..., rows[0], :]  # a copy; in place, for these are the largest arrays
    out *= 1 - below
    other = across[..., rows[1], :]
    other *= below
    out += other
    return np.asarray(out, np.float32)
