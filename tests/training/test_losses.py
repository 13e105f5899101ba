"""Tests of the stages' losses: zero where nothing is wrong, gradients where something is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from decr.diffusion.losses import de_losses
from decr.diffusion.schedule import NoiseSchedule
from decr.errors import ConfigError
from decr.training.colours import OfColours
from decr.training.losses import (
    Batch,
    charbonnier,
    diffusion_loss,
    draw_noise,
    edge_difference,
    mask_loss,
    near_clouds,
    restore_loss,
    stage_loss,
)
from decr.training.settings import TrainConfig
from tests.tiny import PARTS, tiny_networks

RGB = ("red", "green", "blue")


def images(seed: int = 0) -> Tensor:
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_charbonnier_is_the_absolute_difference_but_smooth_at_zero() -> None:
    a = images()
    assert float(charbonnier(a, a)) == pytest.approx(1e-3)
    assert float(charbonnier(a, a + 0.5)) == pytest.approx(0.5, rel=1e-4)


def test_edges_ignore_brightness_but_see_steps() -> None:
    a = images()
    assert float(edge_difference(a, a + 0.3)) == pytest.approx(0, abs=1e-6)
    b = a.clone()
    b[..., 4:] += 0.7  # one of seven horizontal differences changes by 0.7
    assert float(edge_difference(b, a)) == pytest.approx(0.1, rel=1e-4)


def test_a_perfect_reference_loses_next_to_nothing() -> None:
    clear = 2 * images() - 1
    loss = restore_loss(nn.Identity(), clear, clear)
    assert float(loss) == pytest.approx(1e-3)


def test_clouds_count_more_than_clear_ground_where_that_is_asked_for() -> None:
    clear = -torch.ones(1, 3, 64, 64)
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[:, :, :8] = True  # grown by 8 px: a quarter of the sample
    under, beside = clear.clone(), clear.clone()
    under[..., :16] = 1.0  # wrong by 1 in [0, 1]
    beside[..., 48:] = 1.0
    plain = [float(restore_loss(nn.Identity(), wrong, clear)) for wrong in (under, beside)]
    assert plain[0] == pytest.approx(plain[1])
    found = [
        float(restore_loss(nn.Identity(), wrong, clear, mask, 0.2)) for wrong in (under, beside)
    ]
    # Weights are 1 and 0.2, divided by their mean, 0.4; one edge of 64 px lies in clear ground.
    edge = 0.3 * 0.5 / 63
    assert found[0] == pytest.approx(0.25 / 0.4 + edge, abs=2e-3)
    assert found[1] == pytest.approx(0.25 * 0.2 / 0.4 + edge, abs=2e-3)


def test_samples_count_alike_however_small_their_clouds() -> None:
    clear = -torch.ones(2, 3, 64, 64)
    mask = torch.zeros(2, 64, 64, dtype=torch.bool)
    mask[0, 28:36, 28:36] = True
    mask[1] = True
    assert near_clouds(mask)[0].sum() == 24 * 24
    wrong = clear.clone()
    wrong[0, :, 28:36, 28:36] = 0.0
    half = float(restore_loss(nn.Identity(), wrong[:1], clear[:1], mask[:1], 0.2))
    both = float(restore_loss(nn.Identity(), wrong, clear, mask, 0.2))
    nothing = float(restore_loss(nn.Identity(), clear, clear, mask, 0.2))
    assert both == pytest.approx((half + nothing) / 2, rel=1e-4)


@pytest.mark.parametrize("clear_weight", [1.0, 0.2])
def test_squares_are_added_with_the_same_weights(clear_weight: float) -> None:
    clear = -torch.ones(1, 3, 64, 64)
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[:, :, :8] = True
    wrong = clear.clone()
    wrong[..., :16] = 0.0  # wrong by 0.5 in [0, 1], all of it near clouds
    plain, squared = (
        float(restore_loss(nn.Identity(), wrong, clear, mask, clear_weight, squares))
        for squares in (0.0, 2.0)
    )
    weight = 1.0 if clear_weight == 1.0 else 1.0 / 0.4
    assert squared - plain == pytest.approx(2.0 * 0.25 * 0.5**2 * weight, rel=1e-4)


class Logits(nn.Module):
    """A detector that says what it was given."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.value = logits

    def logits(self, view01: Tensor) -> Tensor:
        return self.value


def test_mask_loss_rewards_the_right_mask() -> None:
    mask = torch.zeros(2, 8, 8, dtype=torch.bool)
    mask[:, :4] = True
    right = torch.where(mask, 12.0, -12.0)[:, None]
    view = torch.zeros(2, 3, 8, 8)
    good = float(mask_loss(Logits(right), view, mask))
    unsure = float(mask_loss(Logits(torch.zeros_like(right)), view, mask))
    wrong = float(mask_loss(Logits(-right), view, mask))
    assert 0 <= good < 1e-3 < unsure < wrong
    empty = mask_loss(Logits(torch.full_like(right, -12.0)), view, torch.zeros_like(mask))
    assert 0 <= float(empty) < 2e-3  # no cloud, none found: nothing to divide by, nothing lost


def gradients(kind: str) -> set[str]:
    parts = tiny_networks(PARTS, 3)
    generator = torch.Generator().manual_seed(0)
    schedule = NoiseSchedule.linear()
    clear, cloudy = 2 * images() - 1, 2 * images(1) - 1
    t, noise = draw_noise(tuple(clear.shape), len(schedule.betas), generator)
    loss = diffusion_loss(kind, parts, Batch(cloudy, clear, torch.zeros(0), t, noise), schedule)
    loss.backward()  # type: ignore[no-untyped-call]
    return {n for n, m in parts.items() if any(p.grad is not None for p in m.parameters())}


def test_each_stage_teaches_its_networks() -> None:
    assert gradients("noise") == {"cnp"}
    assert gradients("weight") == {"wa"}
    assert gradients("joint") == {"cnp", "wa"}


def test_a_joint_stage_may_start_from_the_reference() -> None:
    parts = tiny_networks(PARTS, 3)
    schedule = NoiseSchedule.linear()
    clear, cloudy = 2 * images() - 1, 2 * images(1) - 1
    t, noise = draw_noise(tuple(clear.shape), len(schedule.betas), torch.Generator().manual_seed(5))
    batch = Batch(cloudy, clear, torch.zeros(0), t, noise)
    published, other = (
        float(
            stage_loss(
                "joint", parts, batch, schedule, None, TrainConfig(from_reference=choice)
            ).detach()
        )
        for choice in (False, True)
    )
    assert published != pytest.approx(other, rel=1e-3)
    with torch.no_grad():
        prior = 2 * parts["reference"]((cloudy + 1) / 2) - 1
        wanted = de_losses(
            parts["cnp"], parts["wa"], schedule, clear, cloudy, prior, t, noise, prior
        )
    assert other == pytest.approx(float(wanted.total.mean()), rel=1e-5)


@pytest.mark.parametrize("kind", ["weight", "joint"])
def test_a_perceptual_term_is_added_by_its_weight(kind: str) -> None:
    parts = tiny_networks(PARTS, 3)
    schedule = NoiseSchedule.linear()
    clear, cloudy = 2 * images() - 1, 2 * images(1) - 1
    t, noise = draw_noise(tuple(clear.shape), len(schedule.betas), torch.Generator().manual_seed(5))

    class One(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return torch.ones(len(a), 1, 1, 1)

    with_it: dict[str, nn.Module] = {**parts, "unlikeness": OfColours(One(), RGB)}
    ab = torch.from_numpy(schedule.alpha_bar)[t].float()
    batch = Batch(cloudy, clear, torch.zeros(0), t, noise)
    values = [
        float(
            diffusion_loss(kind, with_it, batch, schedule, TrainConfig(perceptual=weight)).detach()
        )
        for weight in (0.0, 0.5)
    ]
    assert values[1] - values[0] == pytest.approx(0.5 * float(ab.mean()), rel=1e-4)


def test_a_perceptual_term_sees_red_green_and_blue() -> None:
    class First(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a.mean(dim=(2, 3))[:, 0] + 0 * b.mean(dim=(1, 2, 3))

    image = torch.arange(4.0)[None, :, None, None].expand(2, 4, 8, 8)
    distance = OfColours(First(), ("blue", "green", "red", "nir"))
    assert distance(image, image).tolist() == [2.0, 2.0]
    with torch.autocast("cpu", torch.bfloat16):
        assert distance(image, image).dtype == torch.float32
    with pytest.raises(ConfigError, match="lack red, green; set perceptual = 0"):
        OfColours(First(), ("blue", "nir"))


def test_joint_is_the_sum_of_both() -> None:
    parts = tiny_networks(PARTS, 3)

    def value(kind: str) -> float:
        generator = torch.Generator().manual_seed(5)
        clear, cloudy = 2 * images() - 1, 2 * images(1) - 1
        schedule = NoiseSchedule.linear()
        t, noise = draw_noise(tuple(clear.shape), len(schedule.betas), generator)
        batch = Batch(cloudy, clear, torch.zeros(0), t, noise)
        loss = diffusion_loss(kind, parts, batch, schedule)
        return float(loss.detach())

    assert value("joint") == pytest.approx(value("noise") + value("weight"), rel=1e-5)
