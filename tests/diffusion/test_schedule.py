"""Tests of the noise schedule: hand-computed numbers and exact Gaussian conditioning."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decr.diffusion.schedule import NoiseSchedule
from decr.errors import ConfigError


def test_the_linear_chain_is_the_published_one() -> None:
    schedule = NoiseSchedule.linear()
    assert schedule.betas.dtype == np.float64
    assert len(schedule.betas) == 1000
    assert schedule.betas[0] == 1e-4
    assert schedule.betas[-1] == 2e-2
    assert schedule.betas[1] == pytest.approx(1e-4 + 0.0199 / 999, rel=1e-12)
    # ln of the product of (1 - beta): hardly any signal is left at the end.
    total = math.fsum(math.log1p(-b) for b in schedule.betas.tolist())
    assert schedule.alpha_bar[-1] == pytest.approx(math.exp(total), rel=1e-12)
    assert schedule.alpha_bar[-1] == pytest.approx(4.0358e-5, rel=1e-4)
    assert schedule.timesteps.tolist() == list(range(1000))


def test_a_chain_of_three_steps_has_the_coefficients_worked_out_by_hand() -> None:
    schedule = NoiseSchedule(np.array([0.1, 0.2, 0.5]), np.arange(3))
    np.testing.assert_allclose(schedule.alpha_bar, [0.9, 0.72, 0.36], rtol=1e-14)
    np.testing.assert_allclose(schedule.alpha_bar_previous, [1.0, 0.9, 0.72], rtol=1e-14)
    np.testing.assert_allclose(
        schedule.posterior_variance(), [0.0, 0.2 * 0.1 / 0.28, 0.5 * 0.28 / 0.64], rtol=1e-12
    )
    clipped = schedule.posterior_log_variance_clipped()
    assert clipped[0] == clipped[1] == pytest.approx(math.log(0.02 / 0.28))
    of_x0, of_x_t = schedule.posterior_mean_coefficients()
    assert of_x0[0] == pytest.approx(1.0)
    assert of_x_t[0] == 0.0
    assert of_x0[2] == pytest.approx(math.sqrt(0.72) * 0.5 / 0.64)
    assert of_x_t[2] == pytest.approx(math.sqrt(0.5) * 0.28 / 0.64)


@given(betas=st.lists(st.floats(1e-4, 0.9), min_size=2, max_size=12))
def test_posterior_is_exact_gaussian_conditioning(betas: list[float]) -> None:
    schedule = NoiseSchedule(np.array(betas), np.arange(len(betas)))
    of_x0, of_x_t = schedule.posterior_mean_coefficients()
    variance = schedule.posterior_variance()
    for k in range(1, len(betas)):
        # Given x0: a = x_{t-1} has mean m x0 and variance v; x_t = s a + noise of variance beta.
        m, v = math.sqrt(schedule.alpha_bar[k - 1]), 1.0 - schedule.alpha_bar[k - 1]
        s, beta = math.sqrt(1.0 - betas[k]), betas[k]
        gain = v * s / (s * s * v + beta)  # covariance of (a, x_t) over variance of x_t
        assert of_x_t[k] == pytest.approx(gain, rel=1e-9)
        assert of_x0[k] == pytest.approx(m - gain * s * m, rel=1e-9, abs=1e-12)
        assert variance[k] == pytest.approx(v - gain * s * v, rel=1e-6)


@given(steps=st.integers(1, 1000), first=st.floats(1e-5, 1e-2), ratio=st.floats(1.0, 50.0))
def test_from_step_to_step_less_signal_is_left(steps: int, first: float, ratio: float) -> None:
    alpha_bar = NoiseSchedule.linear(steps, first, first * ratio).alpha_bar
    assert 0 < alpha_bar[-1] <= alpha_bar[0] < 1
    assert (np.diff(alpha_bar) < 0).all()


@pytest.mark.parametrize(
    ("steps", "stride"), [(50, 20), (30, 34), (10, 100), (25, 40), (100, 10), (1, 1000), (1000, 1)]
)
def test_respaced_chains_keep_every_strideth_step(steps: int, stride: int) -> None:
    full = NoiseSchedule.linear()
    short = full.respaced(steps)
    kept = list(range(0, 1000, stride))
    assert short.timesteps.tolist() == kept
    assert len(kept) == steps
    np.testing.assert_allclose(short.alpha_bar, full.alpha_bar[kept], rtol=1e-12)


@pytest.mark.parametrize("steps", [0, 51, 999, 1001])
def test_respacing_without_a_stride_is_refused(steps: int) -> None:
    with pytest.raises(ConfigError, match=f"exactly {steps}; try 1, 2"):
        NoiseSchedule.linear().respaced(steps)


def test_all_suggested_step_counts_work() -> None:
    schedule = NoiseSchedule.linear()
    for steps in (1, 2, 4, 5, 10, 20, 25, 50, 100):
        assert len(schedule.respaced(steps).betas) == steps


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        (5, [0, 250, 500, 749, 999]),
        (2, [0, 999]),
        (1, [0]),
        (4, [0, 333, 666, 999]),
    ],
)
def test_evenly_spaced_chains_keep_steps_as_far_apart_as_can_be(
    steps: int, kept: list[int]
) -> None:
    full = NoiseSchedule.linear()
    short = full.spaced_evenly(steps)
    assert short.timesteps.tolist() == kept
    np.testing.assert_allclose(short.alpha_bar, full.alpha_bar[kept], rtol=1e-12)


@pytest.mark.parametrize("steps", [0, 1001])
def test_impossible_even_spacing_is_refused(steps: int) -> None:
    with pytest.raises(ConfigError, match=r"must be 1\.\.1000"):
        NoiseSchedule.linear().spaced_evenly(steps)


@given(steps=st.integers(2, 1000))
def test_even_spacing_is_whole_and_increasing(steps: int) -> None:
    kept = NoiseSchedule.linear().spaced_evenly(steps).timesteps
    assert len(kept) == steps
    assert (kept[0], kept[-1]) == (0, 999)
    assert (np.diff(kept) > 0).all()
