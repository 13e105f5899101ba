"""Cloud coverage as whole numbers of pixels, which add up in any order to the same statistics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decr.bins import BINS

POLARITY = "1 = all cloud, 0 = no cloud; masks: 1 = cloudy, 0 = clear, 255 = no data"
DENOMINATOR = "valid pixels; without any, CCP is not defined"


def definition(
    threshold: float | None, min_object_m2: float, margin_m: float, thin: bool = False
) -> str:
    """What CCP means, in one sentence, with the options that change it.

    Parameters
    ----------
    threshold
        Of the detector's probability; None where a user's mask says what is cloudy.
    min_object_m2, margin_m
        Size of the smallest cloud that counts, m2, and how far clouds were grown, metres.
    thin
        Whether thin cloud is told.

    Examples
    --------
    >>> definition(0.5, 0.0, 0.0)
    'CCP = cloudy valid pixels / valid pixels; cloudy = probability at or above 0.5; 1 = all cloud'
    """
    said = ["cloudy = marked by the mask"]
    if threshold is not None:
        said = [f"cloudy = probability at or above {threshold:g}"]
    if min_object_m2 > 0:
        said.append(f"clouds smaller than {min_object_m2:g} m2 left out")
    if margin_m > 0:
        said.append(f"clouds grown by {margin_m:g} m")
    if thin:
        said.append("thin = cloudy and not thick")
    return f"CCP = cloudy valid pixels / valid pixels; {'; '.join(said)}; 1 = all cloud"


@dataclass(frozen=True, slots=True)
class Coverage:
    """Counts of pixels; two of them add.

    Attributes
    ----------
    cloudy_px, valid_px
        Cloudy valid pixels, and valid pixels.
    thin_px
        Of the cloudy ones, those under thin cloud; None where nobody could tell.

    Examples
    --------
    >>> (Coverage(1, 4) + Coverage(2, 2)).ccp
    0.5
    """

    cloudy_px: int = 0
    valid_px: int = 0
    thin_px: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= (self.thin_px or 0) <= self.cloudy_px <= self.valid_px:
            raise ValueError(f"no such coverage: {self}")

    def __add__(self, other: Coverage) -> Coverage:
        both = self.thin_px is not None and other.thin_px is not None
        return Coverage(
            self.cloudy_px + other.cloudy_px,
            self.valid_px + other.valid_px,
            (self.thin_px or 0) + (other.thin_px or 0) if both else None,
        )

    @property
    def ccp(self) -> float | None:
        """Cloudy valid pixels / valid pixels, 0..1; None without valid pixels."""
        return self.cloudy_px / self.valid_px if self.valid_px else None

    @property
    def thin(self) -> float | None:
        """Pixels under thin cloud / valid pixels; None where nobody could tell."""
        return None if self.thin_px is None or not self.valid_px else self.thin_px / self.valid_px

    @property
    def bin(self) -> int | None:
        """Which of the `BINS` it belongs to, by integer arithmetic; None without valid pixels."""
        if not self.valid_px:
            return None
        return min(BINS - 1, BINS * self.cloudy_px // self.valid_px)


def coverage(
    cloudy: NDArray[np.bool_], valid: NDArray[np.bool_], thin: NDArray[np.bool_] | None = None
) -> Coverage:
    """Count pixels by masks of one shape, True = cloudy, holds data, under thin cloud."""
    thin_px = None if thin is None else int(np.count_nonzero(thin & cloudy & valid))
    return Coverage(int(np.count_nonzero(cloudy & valid)), int(np.count_nonzero(valid)), thin_px)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What many parts (tiles, scenes, chips) come to; two of them add, in any order and grouping.

    Attributes
    ----------
    parts
        How many parts hold a valid pixel.
    total
        Counts of all of them together; None of no part at all.
    histogram
        Parts by CCP in `BINS` bins.
    """

    parts: int = 0
    total: Coverage | None = None
    histogram: tuple[int, ...] = (0,) * BINS

    def __add__(self, other: Statistics) -> Statistics:
        if self.total is None or other.total is None:
            total = other.total if self.total is None else self.total
        else:
            total = self.total + other.total
        counts = (a + b for a, b in zip(self.histogram, other.histogram, strict=True))
        return Statistics(self.parts + other.parts, total, tuple(counts))


def statistics(parts: Iterable[Coverage]) -> Statistics:
    """Add parts up; those without a valid pixel add nothing to the histogram.

    Examples
    --------
    >>> found = statistics([Coverage(0, 10), Coverage(3, 10), Coverage(10, 10), Coverage(0, 0)])
    >>> found.parts, found.histogram, found.total.ccp
    (3, (1, 0, 0, 1, 0, 0, 0, 0, 0, 1), 0.43333333333333335)
    """
    out = Statistics()
    for part in parts:
        counts = [0] * BINS
        if part.bin is not None:
            counts[part.bin] = 1
        out = out + Statistics(sum(counts), part, tuple(counts))
    return out


def cell_counts(
    mask: NDArray[np.bool_], row_edges: NDArray[np.int64], col_edges: NDArray[np.int64]
) -> NDArray[np.int64]:
    """True pixels in each cell of a partition.

    Parameters
    ----------
    mask
        (H, W).
    row_edges, col_edges
        First row (column) of each part, ascending from 0.

    Returns
    -------
    ndarray
        (len(row_edges), len(col_edges)) int64; it sums to the number of True pixels.

    Examples
    --------
    >>> cell_counts(np.ones((3, 5), bool), np.array([0, 2]), np.array([0, 4])).tolist()
    [[8, 2], [4, 1]]
    """
    rows = np.add.reduceat(mask, row_edges, axis=0, dtype=np.int64)
    return np.asarray(np.add.reduceat(rows, col_edges, axis=1), np.int64)
