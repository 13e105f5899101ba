"""Tests of the fused denoiser: whom it trusts, and how far."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from decr.diffusion.fusion import FusedDenoiser, alpha_bar_at, level, prior_of, x0_from_eps
from decr.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule.linear()
SHAPE = (2, 3, 4, 5)


def normal(seed: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_reference_works_between_0_and_1() -> None:
    cloudy = torch.tensor([-1.0, 0.0, 0.5, 1.0]).reshape(1, 1, 2, 2)
    seen: list[Tensor] = []

    def squared(image: Tensor) -> Tensor:
        seen.append(image)
        return image.square().double()

    prior = prior_of(squared, cloudy)
    assert prior.dtype == torch.float32
    assert seen[0].flatten().tolist() == [0.0, 0.5, 0.75, 1.0]
    assert prior.flatten().tolist() == [-1.0, -0.5, 0.125, 1.0]


def fused(weight: float, floor: float = 0.3, **others: object) -> tuple[Tensor, Tensor, Tensor]:
    """Fused estimate at t = 200, the prior, and the estimate of the noise predictor alone."""
    x_t, prior, eps = normal(0), normal(1).clamp(-1, 1), normal(2)
    t = torch.full((2,), 200)
    denoise = FusedDenoiser(
        lambda x, t, y: eps,
        lambda x, t, y, p: torch.full(SHAPE, weight),
        SCHEDULE,
        torch.zeros(SHAPE),
        prior,
        floor,
        **others,  # type: ignore[arg-type]
    )
    return denoise(x_t, t), prior, x0_from_eps(x_t, eps, float(SCHEDULE.alpha_bar[200]))


@pytest.mark.parametrize("weight", [1.0, 1.7, 50.0])
def test_full_weight_gives_the_prior(weight: float) -> None:
    out, prior, _ = fused(weight)
    assert torch.equal(out, prior)


@pytest.mark.parametrize("weight", [-3.0, 0.0, 0.3])
def test_weights_below_the_floor_count_as_the_floor(weight: float) -> None:
    out, prior, x0 = fused(weight, floor=0.3)
    torch.testing.assert_close(out, 0.3 * prior + 0.7 * x0)


def test_without_a_floor_the_noise_predictor_can_win() -> None:
    out, _, x0 = fused(-1.0, floor=0.0)
    assert torch.equal(out, x0)


@given(weight=st.floats(-2, 3), floor=st.floats(0, 1))
def test_fusion_stays_between_its_two_sources(weight: float, floor: float) -> None:
    out, prior, x0 = fused(weight, floor)
    low, high = torch.minimum(prior, x0), torch.maximum(prior, x0)
    assert bool(((out >= low - 1e-6) & (out <= high + 1e-6)).all())


@pytest.mark.parametrize(("height", "width"), [(32, 48), (33, 50), (5, 9)])
def test_an_estimate_of_another_level_keeps_the_prior(height: int, width: int) -> None:
    """What is off by one number, or by any over squares, is the prior; details stay."""
    shape = (2, 3, height, width)
    prior, t = normal(1, shape) * 0.2, torch.full((2,), 0)
    checks = torch.tensor([[0.1, -0.1], [-0.1, 0.1]]).repeat(1, 1, height // 2 + 1, width // 2 + 1)
    details = checks[..., :height, :width].expand(shape)
    ab = float(SCHEDULE.alpha_bar[0])

    def out(wanted: Tensor, level_px: int) -> Tensor:
        eps = -wanted * ab**0.5 / (1 - ab) ** 0.5  # of x_t = 0
        networks = (lambda x, t, y: eps), (lambda x, t, y, p: torch.zeros(shape))
        x_t = torch.zeros(shape)
        denoise = FusedDenoiser(*networks, SCHEDULE, x_t, prior, 0.25, level_px=level_px)
        return denoise(x_t, t)

    torch.testing.assert_close(out(prior + 0.1, 0), prior + 0.075)
    torch.testing.assert_close(out(prior + 0.1, 8), prior)
    assert not torch.equal(out(prior + details, 0), prior)
    even = height % 16 == 0 and width % 16 == 0  # squares hold as many of either kind
    near = 1e-5 if even else 0.02
    torch.testing.assert_close(
        out(prior + details + 0.1, 8), prior + 0.75 * details, atol=near, rtol=0
    )


def test_a_level_is_the_mean_of_large_squares_and_smooth_between() -> None:
    image = normal(3, (1, 2, 64, 32))
    torch.testing.assert_close(
        level(image, 1000), image.mean(dim=(2, 3), keepdim=True).expand_as(image)
    )
    ramp = torch.linspace(-1, 1, 64).reshape(1, 1, 64, 1).expand(1, 1, 64, 64)
    inside = slice(8, -8)  # beyond the outer middles it is flat
    torch.testing.assert_close(level(ramp, 16)[..., inside, :], ramp[..., inside, :])
    assert torch.equal(level(image, 1), image)


def test_watchers_see_unclipped_weights() -> None:
    seen: list[tuple[int, Tensor, Tensor]] = []
    fused(-7.0, on_weights=lambda t, eps, w: seen.append((t, eps, w)))
    ((t, eps, weight),) = seen
    assert t == 200
    assert torch.equal(eps, normal(2))
    assert bool((weight == -7.0).all())


def test_networks_get_what_they_were_promised() -> None:
    cloudy, prior = normal(3), normal(4)
    got: dict[str, tuple[Tensor, ...]] = {}

    def cnp(*args: Tensor) -> Tensor:
        got["cnp"] = args
        return torch.zeros(SHAPE)

    def wa(*args: Tensor) -> Tensor:
        got["wa"] = args
        return torch.zeros(SHAPE)

    x_t, t = normal(5), torch.full((2,), 980)
    FusedDenoiser(cnp, wa, SCHEDULE, cloudy, prior)(x_t, t)
    assert all(torch.equal(a, b) for a, b in zip(got["cnp"], (x_t, t, cloudy), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(got["wa"], (x_t, t, cloudy, prior), strict=True))


def test_without_weight_allocator_it_is_plain_diffusion() -> None:
    x_t, eps = normal(0), normal(1)
    denoise = FusedDenoiser(lambda x, t, y: eps, None, SCHEDULE, x_t, None)
    out = denoise(x_t, torch.full((2,), 700))
    assert torch.equal(out, x0_from_eps(x_t, eps, float(SCHEDULE.alpha_bar[700])))


def test_x0_inverts_the_diffusion_and_is_clipped() -> None:
    x0, eps = normal(0).clamp(-1, 1), normal(1)
    ab = 0.37
    x_t = math.sqrt(ab) * x0 + math.sqrt(1 - ab) * eps
    torch.testing.assert_close(x0_from_eps(x_t, eps, ab), x0, rtol=0, atol=2e-6)
    assert float(x0_from_eps(torch.full((1,), 9.0), torch.zeros(1), ab)) == 1.0
    assert float(x0_from_eps(torch.full((1,), -9.0), torch.zeros(1), ab)) == -1.0
    per_sample = x0_from_eps(x_t, eps, torch.full((2, 1, 1, 1), ab))
    torch.testing.assert_close(per_sample, x0, rtol=0, atol=2e-6)


def test_each_sample_gets_the_alpha_bar_of_its_own_step() -> None:
    out = alpha_bar_at(SCHEDULE, torch.tensor([0, 999, 20]))
    assert out.shape == (3, 1, 1, 1)
    assert out.dtype == torch.float32
    np.testing.assert_allclose(out.ravel().numpy(), SCHEDULE.alpha_bar[[0, 999, 20]], rtol=1e-6)
