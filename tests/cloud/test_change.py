"""Tests of the change weights: exact distances, and the same in whatever window they are asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from decr.cloud.change import (
    INVALID,
    ChangeRule,
    cloudy_cells,
    probability_to_byte,
    rule_in_cells,
    upsampled,
)

Bytes = NDArray[np.uint8]


@st.composite
def stored(draw: st.DrawFn) -> Bytes:
    """A probability raster with a few clouds and gaps."""
    shape = draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    raster = np.zeros(shape, np.uint8)
    for value in draw(st.lists(st.sampled_from([250, 130, 125, 124, 60, INVALID]), max_size=6)):
        row, col = draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))
        raster[row : row + draw(st.integers(1, 4)), col : col + draw(st.integers(1, 4))] = value
    return raster


rules = st.builds(
    ChangeRule,
    threshold=st.sampled_from([0.1, 0.5, 0.9]),
    margin_cells=st.floats(0, 6),
    feather_cells=st.one_of(st.just(0.0), st.floats(0.1, 6)),
)


def test_probabilities_are_stored_and_gaps_marked() -> None:
    probability = np.array([[0.0, 0.5, 1.0, 0.9, -3.0, 7.0]], np.float32)
    valid = np.array([[True, True, True, False, True, True]])
    out = probability_to_byte(probability, valid)
    assert out.dtype == np.uint8
    assert out.tolist() == [[0, 125, 250, INVALID, 0, 250]]


def test_gaps_are_never_cloudy_and_the_threshold_counts() -> None:
    raster = np.array([[0, 124, 125, 126, 250, INVALID]], np.uint8)
    assert cloudy_cells(raster, 0.5).tolist() == [[False, False, True, True, True, False]]
    assert cloudy_cells(raster, 1.0).tolist() == [[False, False, False, False, True, False]]


def test_weights_are_1_up_to_the_margin_and_fade_over_the_feather() -> None:
    raster = np.zeros((1, 12), np.uint8)
    raster[0, 0] = 250
    rule = ChangeRule(threshold=0.5, margin_cells=2, feather_cells=4)
    wanted = [1, 1, 1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(rule.weights(raster)[0], wanted, atol=1e-7)
    hard = ChangeRule(threshold=0.5, margin_cells=2, feather_cells=0)
    np.testing.assert_array_equal(hard.weights(raster)[0], [1, 1, 1] + [0] * 9)


@given(raster=stored(), rule=rules)
def test_weights_follow_the_distance_to_the_nearest_cloud(raster: Bytes, rule: ChangeRule) -> None:
    weights = rule.weights(raster)
    assert weights.dtype == np.float32
    clouds = np.argwhere(cloudy_cells(raster, rule.threshold))
    if not len(clouds):
        assert not weights.any()
        return
    cells = np.argwhere(np.ones(raster.shape, bool))
    squared = ((cells[:, None] - clouds[None]) ** 2).sum(axis=2).min(axis=1)
    distance = np.sqrt(squared).reshape(raster.shape)
    if rule.feather_cells:
        wanted = np.clip(1 + (rule.margin_cells - distance) / rule.feather_cells, 0, 1)
        np.testing.assert_allclose(weights, wanted, atol=1e-5)
    else:
        np.testing.assert_array_equal(weights, distance <= rule.margin_cells)
    assert not weights[distance > rule.reach_cells].any()


@given(raster=stored(), rule=rules, data=st.data())
def test_weights_do_not_depend_on_the_window(
    raster: Bytes, rule: ChangeRule, data: st.DataObject
) -> None:
    rows, cols = raster.shape
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    bottom, right = data.draw(st.integers(top + 1, rows)), data.draw(st.integers(left + 1, cols))
    first_row, first_col = max(0, top - rule.reach_cells), max(0, left - rule.reach_cells)
    part = raster[first_row : bottom + rule.reach_cells, first_col : right + rule.reach_cells]
    cut = rule.weights(part)[
        top - first_row : bottom - first_row, left - first_col : right - first_col
    ]
    np.testing.assert_array_equal(cut, rule.weights(raster)[top:bottom, left:right])


@given(
    coarse=arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.integers(1, 6)),
        elements=st.floats(0, 1, width=32),
    ),
    k=st.integers(1, 9),
    data=st.data(),
)
def test_upsampling_does_not_depend_on_the_window(
    coarse: NDArray[np.float32], k: int, data: st.DataObject
) -> None:
    rows, cols = coarse.shape[0] * k, coarse.shape[1] * k
    row, col = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    height = data.draw(st.integers(1, rows - row))
    width = data.draw(st.integers(1, cols - col))
    whole = upsampled(coarse, (0, 0), k, (0, 0), (rows, cols))
    assert whole.dtype == np.float32
    first_row, first_col = max(0, row // k - 1), max(0, col // k - 1)
    part = coarse[first_row : (row + height - 1) // k + 2, first_col : (col + width - 1) // k + 2]
    cut = upsampled(part, (first_row, first_col), k, (row, col), (height, width))
    np.testing.assert_array_equal(cut, whole[row : row + height, col : col + width])
    assert whole.min() >= coarse.min() - 1e-6
    assert whole.max() <= coarse.max() + 1e-6


def test_depths_grow_from_a_clouds_edge_and_not_from_the_end_of_data() -> None:
    rule = ChangeRule(0.5, 0.0, 2.0)
    row = np.array([[0, 250, 250, 250, INVALID, INVALID]], np.uint8)
    # Data end on the right: that is no edge of the cloud.
    assert rule.depths(row).tolist() == [[0.0, 0.5, 1.0, 1.0, 0.0, 0.0]]
    assert (rule.depths(np.full((20, 20), 250, np.uint8)) == 1.0).all()
    assert not rule.depths(np.zeros((3, 3), np.uint8)).any()


@given(stored(), rules, st.data())
def test_depths_do_not_depend_on_the_window(
    raster: Bytes, rule: ChangeRule, data: st.DataObject
) -> None:
    raster = np.where(raster == 0, np.uint8(250), np.where(raster == 250, np.uint8(0), raster))
    whole = rule.depths(raster)
    height, width = raster.shape
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    reach = rule.reach_cells
    rows = slice(max(0, top - reach), top + 1 + reach)
    cols = slice(max(0, left - reach), left + 1 + reach)
    part = rule.depths(raster[rows, cols])
    assert part[top - rows.start, left - cols.start] == whole[top, left]


def test_upsampling_is_linear_between_the_centres_of_cells() -> None:
    coarse = np.array([[0.0, 1.0]], np.float32)
    out = upsampled(coarse, (0, 0), 4, (0, 0), (1, 8))
    np.testing.assert_allclose(out[0], [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])


@pytest.mark.parametrize("k", [1, 3, 5])
def test_cell_centres_keep_their_values(k: int) -> None:
    coarse = np.random.default_rng(0).random((2, 4, 5), np.float32)  # leading axes are kept
    out = upsampled(coarse, (0, 0), k, (0, 0), (4 * k, 5 * k))
    np.testing.assert_array_equal(out[:, k // 2 :: k, k // 2 :: k], coarse)


def test_upsampling_by_1_only_cuts() -> None:
    coarse = np.arange(20, dtype=np.float32).reshape(4, 5)
    for row, col in ((0, 0), (10, 20)):
        found = upsampled(coarse, (row, col), 1, (row + 1, col + 2), (2, 3))
        np.testing.assert_array_equal(found, coarse[1:3, 2:5])


@pytest.mark.parametrize(
    ("gsd_m", "k", "margin", "feather"),
    [
        (0.5, 8, 3.0, 4.0),  # 12 and 16 m
        (2.0, 2, 3.0, 4.0),
        (4.0, 1, 3.0, 4.0),
        (30.0, 1, 3.0, 4.0),  # 0.4 and 0.5 pixels would be none
        (10.0, 2, 1.5, 2.0),
    ],
)
def test_metres_become_cells_but_never_less_than_a_few_pixels(
    gsd_m: float, k: int, margin: float, feather: float
) -> None:
    assert rule_in_cells(0.4, 12.0, 16.0, gsd_m, k) == ChangeRule(0.4, margin, feather)
    assert rule_in_cells(0.4, 0.0, 0.0, gsd_m, k) == ChangeRule(0.4, 0.0, 0.0)
