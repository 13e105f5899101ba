"""Means of per-image scores with bootstrap intervals, and two models compared image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from decr.errors import DatasetError

DRAWS = 10_000
"""Bootstrap samples: enough for the second digit of an interval."""
LEVEL = 0.95
"""Share of them inside the interval."""
_BLOCK = 1_000


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over images and where it would lie with other images of the same kind.

    Attributes
    ----------
    mean
        Over ``count`` images, in the score's units; infinite if a score is, and no number (NaN) if
        some are infinite upwards and some downwards.
    low, high
        Ends of the bootstrap interval (percentiles). It tells of the choice of images alone, and
        is too narrow for a handful of them.
    count
        Images.
    """

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same images.

    Attributes
    ----------
    difference
        Of first - second, image by image.
    won, tied, lost
        Images on which the first scores better, equally, worse.
    """

    difference: Mean
    won: int
    tied: int
    lost: int


def mean_of(values: Sequence[float], seed: int = 0) -> Mean:
    """Mean of per-image scores with a bootstrap interval: images are drawn anew, with repetition.

    Parameters
    ----------
    values
        One per image; infinite ones are allowed, NaN is not.
    seed
        Of the draws: the same values and seed give the same interval.

    Raises
    ------
    DatasetError
        Without a value, or with NaN.

    Examples
    --------
    >>> mean_of([2.0, 2.0, 2.0])
    Mean(mean=2.0, low=2.0, high=2.0, count=3)
    """
    scores = np.asarray(values, np.float64)
    if scores.ndim != 1 or not scores.size or np.isnan(scores).any():
        raise DatasetError(f"{scores.size} scores, of which some are no number, have no mean")
    with np.errstate(invalid="ignore"):  # infinite to both sides
        mean, means = scores.mean(), _resampled(scores, np.random.default_rng(seed))
    # An order statistic: an interpolation between infinite scores is no number.
    ends = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    return Mean(float(mean), float(ends[0]), float(ends[1]), len(scores))


def compare(
    first: Sequence[float], second: Sequence[float], higher_is_better: bool, seed: int = 0
) -> Comparison:
    """Compare two models by their scores on the same images.

    Parameters
    ----------
    first, second
        Scores of the same images in the same order; equal ones count as a difference of 0, also
        where both are infinite.
    higher_is_better
        Whether a larger score is a better one, as PSNR and SSIM; false for distances.

    Raises
    ------
    DatasetError
        If the two differ in length, are empty, or hold NaN.

    Examples
    --------
    >>> found = compare([20.0, 30.0], [18.0, 31.0], higher_is_better=True)
    >>> found.difference.mean, found.won, found.lost
    (0.5, 1, 1)
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape:
        raise DatasetError(f"{a.size} and {b.size} scores are not of the same images")
    same = a == b
    gap = np.subtract(a, b, out=np.zeros_like(a), where=~same)
    better = int(((gap > 0) if higher_is_better else (gap < 0)).sum())
    tied = int(same.sum())
    return Comparison(mean_of(list(gap), seed), better, tied, len(a) - better - tied)


def _resampled(scores: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Means of `DRAWS` samples with repetition; in blocks, so that memory stays small."""
    parts = []
    for start in range(0, DRAWS, _BLOCK):
        count = min(_BLOCK, DRAWS - start)
        parts.append(scores[rng.integers(len(scores), size=(count, len(scores)))].mean(axis=1))
    return np.concatenate(parts)


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's, equal values sharing a rank; 0 where one of the two does not vary.

    Examples
    --------
    >>> rank_correlation(np.array([1.0, 1.0, 2.0]), np.array([5.0, 5.0, 7.0]))
    1.0
    """
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    ranks = [stats.rankdata(x.ravel()) for x in (a, b)]
    return round(float(np.corrcoef(ranks[0], ranks[1])[0, 1]), 12)


def ascending(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Order from low to high, equal values in a seeded random one: where they lie tells nothing."""
    return np.lexsort((np.random.default_rng(0).permutation(values.size), values.ravel()))
