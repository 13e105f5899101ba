"""Gain and offset of two dates."""

from __future__ import annotations

import numpy as np
import pytest

from decr.dataset.match import LinearMatch, fit_match, whole_cell_means


def test_gain_and_offset_are_found_beside_ground_that_changed() -> None:
    rng = np.random.default_rng(0)
    clear = rng.uniform(200, 900, (3, 400))
    gain, offset = np.array([1.1, 0.9, 1.3]), np.array([10.0, -20.0, 40.0])
    cloudy = gain[:, None] * clear + offset[:, None] + rng.standard_normal(clear.shape)
    cloudy[:, :60] += 400
    found = fit_match(clear, cloudy)
    assert found is not None
    assert found.gain == pytest.approx(gain, rel=0.005)
    assert found.offset == pytest.approx(offset, abs=2)
    assert 300 < found.cells <= 340


@pytest.mark.parametrize("cells", [0, 10])
def test_too_little_gives_no_fit(cells: int) -> None:
    assert fit_match(np.ones((2, cells)), np.ones((2, cells))) is None


def test_flat_or_inverse_ground_gives_no_fit() -> None:
    rising = np.linspace(0, 100, 50)[None]
    assert fit_match(np.full((1, 50), 3.0), rising) is None
    assert fit_match(rising, 100 - rising) is None


def test_only_whole_cells_count() -> None:
    image = np.arange(2 * 5 * 6, dtype=np.uint16).reshape(2, 5, 6)
    ok = np.ones((5, 6), dtype=bool)
    ok[0, 3] = False
    means = whole_cell_means(image, ok, 2)
    assert means.shape == (2, 5)
    assert means[0].tolist() == [3.5, 7.5, 15.5, 17.5, 19.5]


def test_matched_numbers_are_rounded_and_saturate() -> None:
    match = LinearMatch((2.0,), (0.6,), (0.0,), 99)
    dn = np.array([[[0, 10, 200]]], dtype=np.uint8)
    assert match.apply(dn).tolist() == [[[1, 21, 255]]]
    assert match.apply(dn).dtype == np.uint8
