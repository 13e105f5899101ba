"""Tests of the training losses: their values, and which network each of them teaches."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from decr.diffusion.losses import Losses, de_losses, diffuse
from decr.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule.linear()
SHAPE = (2, 3, 4, 4)


class Gain(nn.Module):
    """The simplest network: its image input times one number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x_t: Tensor, *others: Tensor) -> Tensor:
        return self.value * torch.ones_like(x_t)


def images() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    draw = {k: torch.randn(SHAPE, generator=generator) for k in ("clear", "cloudy", "prior")}
    draw = {k: v.mul(0.4).clamp(-1, 1) for k, v in draw.items()}
    return draw | {"noise": torch.randn(SHAPE, generator=generator), "t": torch.tensor([50, 400])}


def losses(
    cnp: Callable[..., Tensor], wa: Callable[..., Tensor] | None, origin: Tensor | None = None
) -> Losses:
    i = images()
    prior = None if wa is None else i["prior"]
    return de_losses(cnp, wa, SCHEDULE, i["clear"], i["cloudy"], prior, i["t"], i["noise"], origin)


def test_diffusion_keeps_signal_and_adds_noise_by_the_schedule() -> None:
    i = images()
    x_t = diffuse(SCHEDULE, i["clear"], i["t"], i["noise"])
    for n, t in enumerate([50, 400]):
        ab = float(SCHEDULE.alpha_bar[t])
        wanted = math.sqrt(ab) * i["clear"][n] + math.sqrt(1 - ab) * i["noise"][n]
        torch.testing.assert_close(x_t[n], wanted)


def test_noise_loss_is_the_mean_square_per_sample() -> None:
    result = losses(Gain(0.25), None)
    assert result.weight is None
    wanted = (images()["noise"] - 0.25).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(result.noise, wanted)
    assert result.total is result.noise


def test_a_perfect_noise_predictor_and_weight_zero_lose_nothing() -> None:
    result = losses(lambda x, t, y: images()["noise"], lambda x, t, y, p: torch.zeros(SHAPE))
    assert result.weight is not None
    assert float(result.total.max()) < 1e-5


def test_from_another_image_the_noise_to_predict_leads_to_the_clear_one() -> None:
    i = images()
    ab = torch.from_numpy(SCHEDULE.alpha_bar)[i["t"]].float()[:, None, None, None]
    seen: list[Tensor] = []

    def towards_clear(x_t: Tensor, t: Tensor, cloudy: Tensor) -> Tensor:
        seen.append(x_t)
        return (x_t - ab.sqrt() * i["clear"]) / (1 - ab).sqrt()

    def loss(cnp: Callable[..., Tensor]) -> Losses:
        return losses(cnp, lambda x, t, y, p: torch.zeros(SHAPE), i["prior"])

    right = loss(towards_clear)
    torch.testing.assert_close(seen[0], diffuse(SCHEDULE, i["prior"], i["t"], i["noise"]))
    assert float(right.total.max()) < 1e-5
    # Wrong by one everywhere: the weight alone is left, and it falls where there is little noise.
    off = loss(lambda x, t, y: towards_clear(x, t, y) + 1).noise
    torch.testing.assert_close(off, ((1 - ab) / ab).clamp(max=1).flatten(), rtol=1e-4, atol=1e-5)
    assert float(off[0]) < 0.1 < float(off[1])


def test_an_unlikeness_of_the_fused_estimate_teaches_both_networks() -> None:
    i, cnp, wa = images(), Gain(0.2), Gain(0.6)
    compared: list[Tensor] = []

    def distance(a: Tensor, b: Tensor) -> Tensor:
        compared.append(a)
        return (a - b).square().mean(dim=(1, 2, 3))

    result = de_losses(
        cnp, wa, SCHEDULE, i["clear"], i["cloudy"], i["prior"], i["t"], i["noise"], None, distance
    )
    ab = torch.from_numpy(SCHEDULE.alpha_bar)[i["t"]].float()
    assert result.unlikeness is not None
    assert float(compared[0].detach().abs().max()) <= 1.0
    wanted = ab * (compared[0] - i["clear"]).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(result.unlikeness, wanted)
    for gradient in torch.autograd.grad(result.unlikeness.sum(), [cnp.value, wa.value]):
        assert float(gradient) != 0
    # The published terms are as without it.
    plain = losses(cnp, wa)
    assert plain.unlikeness is None
    torch.testing.assert_close(result.total, plain.total)


@pytest.mark.parametrize("weight", [-2.0, 0.0, 0.1, 1.0, 3.0])
def test_weights_are_not_clipped_in_training(weight: float) -> None:
    i = images()
    result = losses(lambda x, t, y: i["noise"], lambda x, t, y, p: torch.full(SHAPE, weight))
    # With x0 known exactly, |x - (1 - W) x - W prior| = |W| |x - prior|.
    wanted = abs(weight) * (i["clear"] - i["prior"]).abs().mean(dim=(1, 2, 3))
    assert result.weight is not None
    torch.testing.assert_close(result.weight, wanted, rtol=1e-4, atol=1e-5)


def test_each_term_teaches_its_own_network_only() -> None:
    cnp, wa = Gain(0.2), Gain(0.6)
    result = losses(cnp, wa)
    assert result.weight is not None
    noise = torch.autograd.grad(
        result.noise.sum(), [cnp.value, wa.value], allow_unused=True, retain_graph=True
    )
    weight = torch.autograd.grad(
        result.weight.sum(), [cnp.value, wa.value], allow_unused=True, retain_graph=True
    )
    assert noise[0] is not None
    assert float(noise[0]) != 0
    assert noise[1] is None
    assert weight[0] is None
    assert weight[1] is not None
    assert float(weight[1]) != 0
    total = torch.autograd.grad(result.total.sum(), [cnp.value, wa.value])
    assert torch.equal(total[0], noise[0])
    assert torch.equal(total[1], weight[1])


def test_the_total_is_the_plain_sum() -> None:
    result = losses(Gain(0.2), Gain(0.6))
    assert result.weight is not None
    assert result.total.shape == (2,)
    torch.testing.assert_close(result.total, result.noise + result.weight)
