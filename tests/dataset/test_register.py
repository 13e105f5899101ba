"""Shifts between two images: known ones are found, whatever lies over them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from decr.dataset.register import View, masked_correlation, measure_shift


def ground(seed: int, side: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    fine = ndimage.gaussian_filter(rng.standard_normal((side, side)), 1.6)
    coarse = ndimage.gaussian_filter(rng.standard_normal((side, side)), 15)
    return 500 + 60 * fine / fine.std() + 80 * coarse / coarse.std()


def view(seed: int, shift: tuple[float, float], side: int = 160) -> View:
    """A cloud over a quarter of one image, an empty edge in the other, a gain and noise."""
    rng = np.random.default_rng(seed + 1000)
    wide = ground(seed, side + 60)
    inside = np.s_[30:-30, 30:-30]
    fixed = wide[inside] + rng.standard_normal((side, side)) * 3
    moving = 1.3 * ndimage.shift(wide, shift, order=5)[inside] - 40
    moving += rng.standard_normal((side, side)) * 3
    fixed_ok, moving_ok = np.ones((2, side, side), dtype=bool)
    fixed_ok[: side // 2, : side // 2] = False
    moving_ok[:, -side // 8 :] = False
    return View(
        np.where(fixed_ok, fixed, 2000), np.where(moving_ok, moving, 0), fixed_ok, moving_ok
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 50), st.floats(-8, 8), st.floats(-8, 8))
def test_any_shift_is_found_to_a_twentieth_of_a_pixel(seed: int, rows: float, cols: float) -> None:
    found = measure_shift([view(seed, (rows, cols))], 12)
    assert found is not None
    assert abs(found.rows - rows) < 0.05
    assert abs(found.cols - cols) < 0.05


def test_what_moved_does_not_move_the_shift() -> None:
    seen = view(3, (2.3, -1.4))
    fixed = seen.fixed.copy()
    for place in range(90, 150, 20):
        fixed[place : place + 6, place : place + 12] = 1200
    found = measure_shift([View(fixed, seen.moving, seen.fixed_ok, seen.moving_ok)], 12)
    assert found is not None
    assert abs(found.rows - 2.3) < 0.1
    assert abs(found.cols + 1.4) < 0.1


def test_whole_shifts_agree_with_an_independent_implementation() -> None:
    seen = view(7, (5.0, -6.0))
    ncc, _ = masked_correlation(seen.fixed, seen.moving, seen.fixed_ok, seen.moving_ok, 12)
    row, col = np.unravel_index(np.argmax(ncc), ncc.shape)
    other, *_ = phase_cross_correlation(
        seen.fixed,
        seen.moving,
        reference_mask=seen.fixed_ok,
        moving_mask=seen.moving_ok,
        overlap_ratio=0.3,
    )
    # It says how to move the second image back.
    assert (row - 12, col - 12) == (-other[0], -other[1]) == (5, -6)


def test_correlation_is_that_of_the_pixels_both_show() -> None:
    seen = view(1, (1.0, 2.0), side=64)
    ncc, pixels = masked_correlation(seen.fixed, seen.moving, seen.fixed_ok, seen.moving_ok, 4)
    for drow, dcol in ((0, 0), (1, 2), (-3, 4)):
        pairs = [
            (seen.fixed[r, c], seen.moving[r + drow, c + dcol])
            for r in range(64)
            for c in range(64)
            if 0 <= r + drow < 64 and 0 <= c + dcol < 64
            if seen.fixed_ok[r, c] and seen.moving_ok[r + drow, c + dcol]
        ]
        assert pixels[drow + 4, dcol + 4] == len(pairs)
        expected = np.corrcoef(np.array(pairs).T)[0, 1]
        assert ncc[drow + 4, dcol + 4] == pytest.approx(expected, abs=1e-9)


def test_no_shift_is_told_where_nothing_can_be_seen() -> None:
    seen = view(2, (1.0, 1.0))
    nothing = np.zeros_like(seen.fixed_ok)
    assert measure_shift([View(seen.fixed, seen.moving, nothing, seen.moving_ok)], 8) is None
    assert measure_shift([], 8) is None
    flat = np.full_like(seen.fixed, 7.0)
    everything = np.ones_like(nothing)
    assert measure_shift([View(flat, flat, everything, everything)], 8) is None


def test_no_shift_is_told_of_two_places() -> None:
    one, other = view(2, (0.0, 0.0)), view(9, (0.0, 0.0))
    assert measure_shift([View(one.fixed, other.moving, one.fixed_ok, one.moving_ok)], 8) is None
