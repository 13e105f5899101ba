"""The bins of histograms of CCP, and how many values lie in each."""

from __future__ import annotations

import math
from collections.abc import Iterable

BINS = 10
"""Each 0.1 wide; a border belongs to the bin above, 1 to the last."""


def counts(values: Iterable[float]) -> list[int]:
    """How many values lie in each bin.

    Parameters
    ----------
    values
        CCP, 0..1; NaN (no valid pixel) lies in no bin.

    Raises
    ------
    ValueError
        For a value outside 0..1.

    Examples
    --------
    >>> counts([0.0, 0.05, 0.1, 0.3, 1.0, float("nan")])
    [2, 1, 0, 1, 0, 0, 0, 0, 0, 1]
    """
    found = [0] * BINS
    for value in values:
        if math.isnan(value):
            continue
        if not 0 <= value <= 1:
            raise ValueError(f"a CCP is a share from 0 to 1, not {value}")
        # 0.3 as a double is a little less than three tenths: borders are meant, not missed.
        found[min(BINS - 1, math.floor(value * BINS + 1e-9))] += 1
    return found
