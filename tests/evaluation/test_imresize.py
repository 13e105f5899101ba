"""Tests of the published resize rule, against the formula written out pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from decr.errors import ConfigError, DatasetError
from decr.evaluation.imresize import imresize, weights


def keys(x: float) -> float:
    """Keys' cubic from its general form, with a = -0.5."""
    a, x = -0.5, abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    if x < 2:
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return 0.0


def line(old: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """One row or column resized: every sample within reach, mirrored at the ends, in turn."""
    shrink, side = min(1.0, scale), len(old)
    mirrored = np.concatenate([old, old[::-1]])
    new = []
    for o in range(math.ceil(side * scale)):
        centre = (o + 0.5) / scale - 0.5
        first, last = math.floor(centre - 2 / shrink) - 1, math.ceil(centre + 2 / shrink) + 1
        shares = [keys((k - centre) * shrink) for k in range(first, last + 1)]
        values = [mirrored[k % (2 * side)] for k in range(first, last + 1)]
        new.append(np.dot(shares, values) / sum(shares))
    return np.array(new)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 24), st.integers(1, 24)),
    scale=st.sampled_from([0.125, 0.25, 1 / 3, 0.375, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0]),
)
def test_resized_images_are_those_of_the_formula(
    seed: int, shape: tuple[int, int, int], scale: float
) -> None:
    image = np.random.default_rng(seed).uniform(0, 255, shape)
    wanted = np.apply_along_axis(line, 1, image, scale)
    wanted = np.apply_along_axis(line, 2, wanted, scale)
    got = imresize(image, scale)
    assert got.dtype == np.float32
    assert got.shape == (shape[0], math.ceil(shape[1] * scale), math.ceil(shape[2] * scale))
    np.testing.assert_allclose(got, wanted, atol=1e-4)


@pytest.mark.parametrize("scale", [0.125, 0.3, 0.5, 1.0, 2.5])
def test_a_constant_stays_constant(scale: float) -> None:
    image = np.full((2, 9, 13), 137, np.uint8)
    np.testing.assert_allclose(imresize(image, scale), 137.0, rtol=1e-6)


def test_scale_one_changes_nothing_and_bands_do_not_mix() -> None:
    image = np.random.default_rng(0).uniform(0, 255, (3, 8, 10)).astype(np.float32)
    np.testing.assert_allclose(imresize(image, 1.0), image, rtol=1e-6)
    image[1] = 0.0
    assert not imresize(image, 0.5)[1].any()


def test_resizing_keeps_what_overshoots_a_step() -> None:
    step = np.zeros((1, 16, 16), np.uint8)
    step[:, :, 8:] = 255
    got = imresize(step, 0.5)
    assert got.min() < 0.0
    assert got.max() > 255.0


def test_weights_sum_to_one() -> None:
    matrix = weights(11, 0.4)
    assert matrix.shape == (5, 11)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-12)


def test_what_cannot_be_resized_is_said() -> None:
    image = np.zeros((3, 8, 8))
    with pytest.raises(DatasetError, match=r"\(8, 8\)"):
        imresize(image[0], 0.5)
    with pytest.raises(DatasetError, match="NaN"):
        imresize(image * np.nan, 0.5)
    for scale in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ConfigError, match="scale is"):
            imresize(image, scale)
