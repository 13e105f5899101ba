"""Coverage is counts that add: parts in any order and grouping give the same statistics."""

from __future__ import annotations

import random
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decr.cloud.coverage import (
    Coverage,
    Statistics,
    cell_counts,
    coverage,
    definition,
    statistics,
)


@st.composite
def coverages(draw: st.DrawFn, thin: bool | None = None) -> Coverage:
    valid = draw(st.integers(0, 10**6))
    cloudy = draw(st.integers(0, valid))
    tells = draw(st.booleans()) if thin is None else thin
    return Coverage(cloudy, valid, draw(st.integers(0, cloudy)) if tells else None)


@given(st.lists(coverages(), max_size=20), st.integers(0, 20), st.randoms(use_true_random=False))
def test_shards_merge_in_any_order_and_grouping(
    parts: list[Coverage], cut: int, rng: random.Random
) -> None:
    whole = statistics(parts)
    mixed = rng.sample(parts, len(parts))
    assert statistics(mixed) == whole
    shards = [statistics(mixed[:cut]), Statistics(), statistics(mixed[cut:])]
    assert reduce(lambda a, b: a + b, shards) == whole
    assert reduce(lambda a, b: b + a, shards) == whole


@given(st.lists(coverages(thin=True), min_size=1, max_size=20))
def test_the_total_is_the_sum_of_the_parts(parts: list[Coverage]) -> None:
    found = statistics(parts)
    assert found.total is not None
    assert found.total.cloudy_px == sum(part.cloudy_px for part in parts)
    assert found.total.valid_px == sum(part.valid_px for part in parts)
    assert found.total.thin_px == sum(part.thin_px or 0 for part in parts)
    assert sum(found.histogram) == found.parts == sum(part.valid_px > 0 for part in parts)


def test_who_cannot_tell_thin_cloud_makes_the_sum_unknown() -> None:
    assert (Coverage(2, 4, 1) + Coverage(2, 4)).thin_px is None
    assert (Coverage(2, 4, 1) + Coverage(2, 4, 0)).thin_px == 1


@pytest.mark.parametrize(
    ("cloudy", "valid", "number"),
    [(0, 10, 0), (1, 10, 1), (3, 10, 3), (7, 10, 7), (99, 1000, 0), (9, 10, 9), (10, 10, 9)],
)
def test_bins_are_closed_below_and_the_last_one_above(cloudy: int, valid: int, number: int) -> None:
    assert Coverage(cloudy, valid).bin == number


def test_without_valid_pixels_nothing_is_defined() -> None:
    empty = Coverage(0, 0, 0)
    assert (empty.ccp, empty.thin, empty.bin) == (None, None, None)
    assert statistics([empty]).histogram == (0,) * 10


@pytest.mark.parametrize("counts", [(2, 1, None), (-1, 1, None), (1, 2, 2), (1, 2, -1)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int | None]) -> None:
    with pytest.raises(ValueError, match="no such coverage"):
        Coverage(*counts)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_tiles_sum_to_the_scene(height: int, width: int, tile: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.4
    rows, cols = np.arange(0, height, tile), np.arange(0, width, tile)
    found = cell_counts(mask, rows, cols)
    assert found.sum() == mask.sum()
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            assert found[i, j] == mask[row : row + tile, col : col + tile].sum()


def test_only_valid_pixels_count() -> None:
    cloudy = np.array([[True, True, False, False]])
    valid = np.array([[True, False, True, False]])
    assert coverage(cloudy, valid, thin=~cloudy) == Coverage(1, 2, 0)
    assert coverage(cloudy, valid, thin=np.ones_like(cloudy)) == Coverage(1, 2, 1)


def test_the_definition_names_every_option_that_changes_it() -> None:
    text = definition(0.4, 100, 12, thin=True)
    for part in ("0.4", "100 m2", "12 m", "thin", "valid pixels", "1 = all cloud"):
        assert part in text
    marked = definition(None, 100, 0)
    assert "cloudy = marked by the mask; clouds smaller than 100 m2" in marked
    assert "probability" not in marked
