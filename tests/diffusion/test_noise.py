"""Tests of the noise field: normal, and the same however the scene is cut."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from decr.diffusion.noise import noise_window

places = st.one_of(st.integers(0, 300), st.integers(0, 2**31))
sides = st.integers(1, 24)


@given(
    seed=st.integers(-(2**70), 2**70),
    row=places,
    col=places,
    shape=st.tuples(sides, sides),
    data=st.data(),
)
def test_a_crop_of_the_field_is_the_field_of_the_crop(
    seed: int, row: int, col: int, shape: tuple[int, int], data: st.DataObject
) -> None:
    whole = noise_window(seed, row, col, 3, *shape)
    r = data.draw(st.integers(0, shape[0] - 1))
    c = data.draw(st.integers(0, shape[1] - 1))
    height, width = data.draw(st.integers(1, shape[0] - r)), data.draw(st.integers(1, shape[1] - c))
    part = noise_window(seed, row + r, col + c, 3, height, width)
    np.testing.assert_array_equal(part, whole[:, r : r + height, c : c + width])


def test_fewer_bands_are_the_first_bands() -> None:
    np.testing.assert_array_equal(
        noise_window(1, 5, 6, 3, 9, 9), noise_window(1, 5, 6, 4, 9, 9)[:3]
    )


def test_noise_is_standard_normal() -> None:
    field = noise_window(3, 0, 0, 2, 500, 500)
    assert field.dtype == np.float32
    assert field.shape == (2, 500, 500)
    n = field.size
    x = field.astype(np.float64)
    assert abs(x.mean()) < 5 / np.sqrt(n)
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((x**3).mean()) < 5 * np.sqrt(15 / n)
    assert abs((x**4).mean() - 3) < 5 * np.sqrt(96 / n)
    assert np.isfinite(field).all()
    assert 4 < np.abs(x).max() < 7
    assert abs((x > 1.0).mean() - 0.158655) < 5 * np.sqrt(0.1335 / n)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_neighbours_bands_and_seeds_are_unrelated() -> None:
    field = noise_window(0, 0, 0, 2, 300, 300)
    limit = 5 / np.sqrt(300 * 300)
    for axis in (1, 2):
        for step in (1, 2, 3, 64, 192):
            n = field.shape[axis]
            a = np.take(field, range(n - step), axis)
            b = np.take(field, range(step, n), axis)
            assert abs(correlation(a, b)) < 5 / np.sqrt(a.size), (axis, step)
    assert abs(correlation(field[0], field[1])) < limit
    assert abs(correlation(field[0], field[0].T)) < limit
    for seed in (1, 2, 2**32, -1):
        assert abs(correlation(field, noise_window(seed, 0, 0, 2, 300, 300))) < limit


def test_places_far_apart_are_unrelated() -> None:
    here = noise_window(0, 0, 0, 1, 200, 200)
    for row, col in ((200, 0), (0, 200), (100_000, 0), (0, 100_000), (2**20, 2**20)):
        assert abs(correlation(here, noise_window(0, row, col, 1, 200, 200))) < 5 / 200


def test_seeds_count_modulo_64_bits() -> None:
    a, b = noise_window(-1, 0, 0, 1, 4, 4), noise_window(2**64 - 1, 0, 0, 1, 4, 4)
    np.testing.assert_array_equal(a, b)


KNOWN = [-0.842981, 0.566921, -0.227522, 2.459625, -0.867365, -0.925127, 1.26502, 0.104099]


def test_the_noise_of_a_seed_and_place_never_changes() -> None:
    # Computed once; a change here changes every restored pixel of every user.
    field = noise_window(7, 1000, 2000, 2, 2, 2)
    np.testing.assert_allclose(field.ravel(), KNOWN, atol=1e-6)
