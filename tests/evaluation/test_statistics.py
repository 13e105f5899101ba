"""Tests of means with intervals and of paired comparisons."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from decr.errors import DatasetError
from decr.evaluation import statistics
from decr.evaluation.statistics import ascending, compare, mean_of, rank_correlation


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=30), seed=st.integers(0, 99))
def test_an_interval_holds_its_mean_and_is_seeded(values: list[float], seed: int) -> None:
    found = mean_of(values, seed)
    assert found == mean_of(values, seed)
    assert found.mean == pytest.approx(np.mean(values))
    slack = 1e-9 * (1 + abs(found.mean))
    assert min(values) - slack <= found.low <= found.high <= max(values) + slack
    assert found.count == len(values)


def test_an_interval_of_many_normal_values_is_the_textbooks() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    found = mean_of(list(values))
    half = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert found.high - found.mean == pytest.approx(half, rel=0.06)
    assert found.mean - found.low == pytest.approx(half, rel=0.06)


def test_the_interval_covers_the_truth_about_as_often_as_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics, "DRAWS", 400)
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        found = mean_of(list(rng.exponential(1.0, 60)), trial)
        hits += found.low <= 1.0 <= found.high
    assert 0.87 <= hits / 200 <= 0.98


def test_infinite_scores_stay_infinite_and_are_no_nan() -> None:
    found = mean_of([math.inf, 20.0, 21.0])
    assert found.mean == found.high == math.inf
    assert found.low >= 20.0


@pytest.mark.filterwarnings("error")
def test_differences_infinite_to_both_sides_have_no_mean() -> None:
    found = compare([math.inf, 20.0, 22.0], [20.0, math.inf, 21.0], True)
    assert (found.won, found.tied, found.lost) == (2, 0, 1)
    assert math.isnan(found.difference.mean)


def test_comparison_counts_by_the_direction_of_the_score() -> None:
    first, second = [1.0, 2.0, 3.0, math.inf], [2.0, 2.0, 1.0, math.inf]
    psnr, lpips = compare(first, second, True), compare(first, second, False)
    assert (psnr.won, psnr.tied, psnr.lost) == (1, 2, 1)
    assert (lpips.won, lpips.tied, lpips.lost) == (1, 2, 1)
    better = compare([3.0, 4.0], [1.0, 1.0], True)
    assert (better.won, better.lost, better.difference.mean) == (2, 0, 2.5)
    assert compare([3.0, 4.0], [1.0, 1.0], False).lost == 2
    # Pairs matter: a constant gain over images that differ much has no spread.
    base = list(np.linspace(10, 40, 9))
    gain = compare([x + 0.5 for x in base], base, True).difference
    assert gain.low == pytest.approx(0.5) == gain.high


def test_what_cannot_be_averaged_is_said() -> None:
    with pytest.raises(DatasetError, match="no mean"):
        mean_of([])
    with pytest.raises(DatasetError, match="no mean"):
        mean_of([1.0, math.nan])
    with pytest.raises(DatasetError, match="same images"):
        compare([1.0], [1.0, 2.0], True)


def test_equal_values_share_a_rank_wherever_they_lie() -> None:
    rng = np.random.default_rng(1)
    steps, other = rng.integers(0, 4, 500).astype(float), rng.normal(size=500)
    order = np.argsort(other)
    expected = stats.spearmanr(steps, other).statistic
    assert rank_correlation(steps, other) == pytest.approx(expected)
    # Values that rise along the array would have agreed with the places of equal ones.
    assert rank_correlation(steps[order], other[order]) == pytest.approx(expected)
    assert rank_correlation(np.ones(500), other) == 0.0


def test_ascending_puts_equal_values_in_no_order_of_place() -> None:
    order = ascending(np.array([2.0] * 100 + [1.0] * 100))
    assert set(order[:100]) == set(range(100, 200))
    assert list(order[:100]) != sorted(order[:100])
    assert list(order) == list(ascending(np.array([2.0] * 100 + [1.0] * 100)))
