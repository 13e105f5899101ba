"""Tests of the samplers against denoisers whose result is known in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from decr.diffusion.samplers import Step, ancestral, ddim
from decr.diffusion.schedule import NoiseSchedule

MEAN, DEVIATION = 0.3, 0.5


def gaussian(schedule: NoiseSchedule) -> tuple[list[float], list[float]]:
    """Per timestep, offset and slope of E[x0 | x_t] for x0 ~ N(MEAN, DEVIATION^2)."""
    offsets, slopes = [], []
    for ab in schedule.alpha_bar.tolist():
        slope = DEVIATION**2 * math.sqrt(ab) / (ab * DEVIATION**2 + 1 - ab)
        slopes.append(slope)
        offsets.append(MEAN - slope * math.sqrt(ab) * MEAN)
    return offsets, slopes


def denoiser(schedule: NoiseSchedule) -> object:
    offsets, slopes = gaussian(schedule)

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        return offsets[int(t[0])] + slopes[int(t[0])] * x_t

    return denoise


def ddim_deviation(full: NoiseSchedule, short: NoiseSchedule) -> float:
    """How much DDIM with the Gaussian denoiser scales its standard normal start, exactly."""
    _, slopes = gaussian(full)
    ab, scale = short.alpha_bar.tolist(), 1.0
    for i in reversed(range(len(ab))):
        before = ab[i - 1] if i else 1.0
        slope = slopes[int(short.timesteps[i])]
        eps = (1.0 - math.sqrt(ab[i]) * slope) / math.sqrt(1.0 - ab[i])
        scale *= math.sqrt(before) * slope + math.sqrt(1.0 - before) * eps
    return scale


@pytest.mark.parametrize("steps", [1, 5, 50])
def test_a_constant_denoiser_gives_exactly_its_constant(steps: int) -> None:
    star = torch.linspace(-1, 1, 2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    schedule = NoiseSchedule.linear().respaced(steps)
    start = torch.randn(star.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ddim(lambda x, t: star, start, schedule), star)


def test_a_constant_denoiser_in_ancestral_sampling() -> None:
    star = torch.linspace(-1, 1, 20).reshape(1, 1, 4, 5)
    generator = torch.Generator().manual_seed(0)
    asked: list[int] = []

    def noise(index: int) -> Tensor:
        asked.append(index)
        return torch.randn(star.shape, generator=generator)

    schedule = NoiseSchedule.linear().respaced(10)
    out = ancestral(
        lambda x, t: star, torch.randn(star.shape, generator=generator), schedule, noise
    )
    torch.testing.assert_close(out, star, rtol=0, atol=1e-6)
    assert asked == list(range(9, 0, -1))


def test_the_denoiser_is_told_the_original_timesteps() -> None:
    told: list[list[int]] = []
    steps: list[Step] = []

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        assert t.dtype == torch.int64
        told.append(t.tolist())
        return torch.zeros_like(x_t)

    start = torch.ones(3, 1, 2, 2)
    out = ddim(denoise, start, NoiseSchedule.linear().respaced(50), on_step=steps.append)
    assert told == [[t] * 3 for t in range(980, -1, -20)]
    assert [s.t for s in steps] == list(range(980, -1, -20))
    assert torch.equal(steps[-1].x_prev, out)


@pytest.mark.parametrize("steps", [10, 50, 1000])
def test_ddim_maps_normal_noise_as_derived(steps: int) -> None:
    full = NoiseSchedule.linear()
    short = full.respaced(steps)
    start = torch.linspace(-3, 3, 601, dtype=torch.float64).reshape(1, 1, 1, -1)
    out = ddim(denoiser(full), start, short)  # type: ignore[arg-type]
    slope = float((out[..., -1] - out[..., 0]) / 6.0)
    assert slope == pytest.approx(ddim_deviation(full, short), rel=1e-9)
    # Hardly any signal is left at the start, so the middle of the noise is the mean of the data.
    assert float(out[0, 0, 0, 300]) == pytest.approx(MEAN, abs=0.01)


def test_many_ddim_steps_give_the_deviation_of_the_data() -> None:
    full = NoiseSchedule.linear()
    assert ddim_deviation(full, full) == pytest.approx(DEVIATION, rel=0.01)
    # Fewer steps are known to fall short; this is why step counts are chosen knowingly.
    assert 0.45 < ddim_deviation(full, full.respaced(50)) < 0.49


def test_ancestral_sampling_gives_mean_and_deviation_of_the_data() -> None:
    full = NoiseSchedule.linear()
    generator = torch.Generator().manual_seed(4)
    shape = (1, 1, 100, 200)
    out = ancestral(
        denoiser(full),  # type: ignore[arg-type]
        torch.randn(shape, generator=generator),
        full,
        lambda index: torch.randn(shape, generator=generator),
    )
    error = DEVIATION / math.sqrt(20_000)
    assert float(out.mean()) == pytest.approx(MEAN, abs=4 * error)
    assert float(out.std()) == pytest.approx(DEVIATION, rel=0.02)
