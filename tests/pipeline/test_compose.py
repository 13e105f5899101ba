"""Restored numbers in the scene's type, clear of those that mean no data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decr.pipeline import compose
from decr.pipeline.compose import Composer
from decr.pipeline.tiles import FULL
from decr.radiometry import from_range

LARGEST = float(np.finfo(np.float32).max)


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


@pytest.mark.filterwarnings("error")
@given(
    nodata=st.floats(allow_nan=False, width=32) | st.sampled_from((-LARGEST, LARGEST, 0.0)),
    dtype=st.sampled_from((np.float32, np.float64)),
)
def test_of_floats_the_next_number_is_stored_whatever_means_no_data(
    nodata: float, dtype: type[np.floating]
) -> None:
    clear, other = compose._stored(np.array([nodata, 0.3]), np.dtype(dtype), nodata)
    assert np.isfinite(clear)
    assert clear != nodata
    assert other == dtype(0.3)
    with np.errstate(over="ignore"):
        assert nodata in [np.nextafter(clear, dtype(way)) for way in (-np.inf, np.inf)]
