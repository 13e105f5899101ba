"""Gain and offset of two dates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decr.dataset import match as module
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


def test_only_whole_cells_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CELL_PX", 2)
    image = np.arange(2 * 5 * 6, dtype=np.uint16).reshape(2, 5, 6)
    ok = np.ones((5, 6), dtype=bool)
    ok[0, 3] = False
    means = whole_cell_means(image, ok)
    assert means.shape == (2, 5)
    assert means[0].tolist() == [3.5, 7.5, 15.5, 17.5, 19.5]


def test_matched_numbers_are_rounded_and_saturate() -> None:
    match = LinearMatch((2.0,), (0.6,), (0.0,), 99, (1.0,))
    dn = np.array([[[0, 10, 200]]], dtype=np.uint8)
    assert match.apply(dn).tolist() == [[[1, 21, 255]]]
    assert match.apply(dn).dtype == np.uint8


@given(
    seed=st.integers(0, 10**6),
    noise=st.floats(0, 60),
    gain=st.floats(0.2, 5),
    changed=st.floats(0, 0.2),
)
def test_gains_of_both_directions_multiply_to_one(
    seed: int, noise: float, gain: float, changed: float
) -> None:
    """Ground differs in both, and some cells changed altogether in one."""
    rng = np.random.default_rng(seed)
    one, other = rng.normal(500, 100, 400) + rng.normal(0, noise, (2, 400))
    other[: int(400 * changed)] += 600
    there, back = (
        fit_match(x[None], y[None]) for x, y in ((one, gain * other), (gain * other, one))
    )
    assert there is not None
    assert back is not None
    assert there.gain[0] * back.gain[0] == pytest.approx(1)
    assert there.correlation == pytest.approx(back.correlation)


@pytest.mark.parametrize(("noise", "alike"), [(10.0, 0.9), (20.0, 0.69)])
def test_noise_on_both_sides_does_not_flatten(noise: float, alike: float) -> None:
    rng = np.random.default_rng(3)
    clear, cloudy = rng.normal(500, 30, 4000) + rng.normal(0, noise, (2, 4000))
    found = fit_match(clear[None], cloudy[None])
    assert found is not None
    assert found.gain[0] == pytest.approx(1, abs=0.03)
    assert found.correlation[0] == pytest.approx(alike, abs=0.03)


@pytest.mark.parametrize("jump", [800, 400, -300])
@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_cells_that_changed_bend_nothing(share: float, jump: float) -> None:
    rng = np.random.default_rng(1)
    clear = rng.uniform(200, 900, (1, 400))
    cloudy = 1.1 * clear + 10 + 20 * rng.standard_normal(clear.shape)
    cloudy[:, : int(share * 400)] += jump
    found = fit_match(clear, cloudy)
    assert found is not None
    assert found.gain[0] == pytest.approx(1.1, rel=0.02)
    assert found.cells == pytest.approx(400 * (1 - share), abs=4)
