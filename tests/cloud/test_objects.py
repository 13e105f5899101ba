"""Clouds are judged as a whole, wherever the strips that they are read in begin and end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from decr.cloud.objects import find_objects

Bool = NDArray[np.bool_]


def whole(mask: Bool, cells: int) -> Bool:
    """The same on an array in memory, by the book."""
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(sizes[labels] >= cells)


def in_strips(mask: Bool, cells: int, rows: list[int]) -> Bool:
    parts = np.split(mask, rows)
    parts = [part for part in parts if len(part)]
    objects = find_objects([lambda part=part: part for part in parts])  # type: ignore[misc]
    return np.concatenate([objects.at_least(n, part, cells) for n, part in enumerate(parts)])


@settings(max_examples=150)
@given(
    st.integers(1, 24),
    st.integers(1, 24),
    st.floats(0.1, 0.7),
    st.integers(1, 12),
    st.sets(st.integers(1, 23)),
    st.integers(0, 2**32 - 1),
)
def test_strips_do_not_matter(
    height: int, width: int, share: float, cells: int, cuts: set[int], seed: int
) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    got = in_strips(mask, cells, sorted(cut for cut in cuts if cut < height))
    np.testing.assert_array_equal(got, whole(mask, cells) & mask)


@pytest.mark.parametrize("rows", [[], [2], [1, 2, 3, 4, 5, 6]])
def test_a_cloud_like_a_u_is_one(rows: list[int]) -> None:
    mask = np.zeros((7, 9), bool)
    mask[:6, 1] = mask[:6, 7] = mask[5, 1:8] = True
    mask[0, 4] = True  # a speck between its arms
    got = in_strips(mask, 10, rows)
    assert got.sum() == mask.sum() - 1
    assert not got[0, 4]


def test_pixels_that_touch_at_corners_are_one_object() -> None:
    assert in_strips(np.eye(5, dtype=bool), 5, [2]).sum() == 5


def test_without_cloud_no_object_is_found() -> None:
    assert not in_strips(np.zeros((4, 4), bool), 1, [2]).any()
