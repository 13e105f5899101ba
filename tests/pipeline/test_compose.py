"""Restored numbers in the scene's type, clear of those that mean no data."""

from __future__ import annotations

import numpy as np
import pytest

from decr.pipeline.compose import Composer
from decr.pipeline.tiles import FULL
from decr.radiometry import from_range


@pytest.mark.parametrize(
    ("nodata", "stored"),
    [(None, 0), (0.0, 1), (0.5, 0), (-9999.0, 0), (300.0, 0), (float("nan"), 0)],
)
def test_only_numbers_that_pixels_can_have_mean_no_data(nodata: float | None, stored: int) -> None:
    composer = Composer((0,), from_range(0.0, 255.0, 1), (nodata,))
    dn = np.full((1, 1, 2), 7, np.uint8)
    valid, weight = np.array([[True, False]]), np.ones((1, 2), np.float32)
    out = composer.compose(dn, valid, weight, np.full((1, 1, 2), -2.0 * FULL))
    assert out.tolist() == [[[stored, 7]]]
