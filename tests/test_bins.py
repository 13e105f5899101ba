"""Tests of decr.bins: every CCP is in the right bin."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decr.bins import BINS, counts


def bin_of(value: float) -> int:
    return counts([value]).index(1)


@pytest.mark.parametrize("tenth", range(BINS))
def test_a_border_belongs_to_the_bin_above(tenth: int) -> None:
    assert bin_of(tenth / 10) == tenth
    assert bin_of(sum([0.1] * tenth)) == tenth  # 0.1 + 0.2 is not 0.3
    assert bin_of(tenth * 0.1) == tenth
    if tenth:
        assert bin_of(tenth / 10 - 1e-6) == tenth - 1


def test_the_last_bin_is_closed() -> None:
    assert bin_of(1.0) == bin_of(0.95) == 9
    assert bin_of(0.0) == 0


def test_scenes_without_a_valid_pixel_are_in_no_bin() -> None:
    assert counts([math.nan, 0.5]) == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert counts([]) == [0] * 10


@pytest.mark.parametrize("value", [-0.01, 1.001, math.inf])
def test_what_is_no_share_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="share from 0 to 1"):
        counts([value])


@given(st.lists(st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))))
def test_fractions_of_pixels_are_binned_exactly(pairs: list[tuple[int, int]]) -> None:
    expected = [0] * 10
    for cloudy, valid in pairs:
        if valid:
            expected[min(9, cloudy * 10 // valid)] += 1
    assert counts(c / v if v else math.nan for c, v in pairs) == expected
