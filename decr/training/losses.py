"""The loss of every stage, as one function from a batch to a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decr.diffusion.fusion import prior_of
from decr.diffusion.losses import de_losses
from decr.diffusion.schedule import NoiseSchedule
from decr.models.reference import CompactReference
from decr.training.settings import TrainConfig

if TYPE_CHECKING:
    from decr.training.published import Objective


PUBLISHED = TrainConfig()
"""Settings under which the diffusion losses are the published ones."""

_EPS = 1e-3
"""Where L1 becomes smooth."""
_REACH_PX = 8
"""About the width of a cloud's soft edge; decr may change pixels farther off, too."""


def charbonnier(a: Tensor, b: Tensor) -> Tensor:
    """Mean of sqrt((a - b)^2 + 1e-6): L1 that is smooth at zero."""
    return ((a - b).square() + _EPS * _EPS).sqrt().mean()


def edge_difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the horizontal and vertical gradients."""
    d = a - b
    return d.diff(dim=-1).abs().mean() + d.diff(dim=-2).abs().mean()


def near_clouds(mask: Tensor) -> Tensor:
    """(N, H, W) bool, grown by 8 px."""
    grown = F.max_pool2d(mask.float()[:, None], 2 * _REACH_PX + 1, stride=1, padding=_REACH_PX)
    return grown[:, 0] > 0


def restore_loss(
    reference: nn.Module,
    cloudy: Tensor,
    clear: Tensor,
    mask: Tensor | None = None,
    clear_weight: float = 1.0,
    squares: float = 0.0,
) -> Tensor:
    """Charbonnier plus edges plus ``squares`` times the mean squared error, on [0, 1] images.

    ``cloudy`` and ``clear`` are unit. Below a ``clear_weight`` of 1 every sample counts alike and
    in it the pixels more than 8 px from its clouds, (N, H, W) bool ``mask``, count that much
    less.
    """
    y01, x01 = (cloudy + 1) / 2, (clear + 1) / 2
    # A clamp would kill the gradient where the estimate leaves [0, 1].
    run = reference.unclamped if isinstance(reference, CompactReference) else reference
    out = run(y01).float()
    if mask is None or clear_weight == 1.0:
        squared = squares * F.mse_loss(out, x01)
        return charbonnier(out, x01) + 0.3 * edge_difference(out, x01) + squared
    weight = torch.where(near_clouds(mask), 1.0, clear_weight)
    weight = (weight / weight.mean(dim=(1, 2), keepdim=True))[:, None]
    d = out - x01
    across = (d.diff(dim=-1).abs() * weight[..., 1:]).mean()
    down = (d.diff(dim=-2).abs() * weight[..., 1:, :]).mean()
    pixels = (d.square() + _EPS * _EPS).sqrt() + squares * d.square()
    return (pixels * weight).mean() + 0.3 * (across + down)


def mask_logits(detector: nn.Module, view: Tensor) -> Tensor:
    """(N, H, W) logits of a detector for unit views (N, C, H, W)."""
    return cast(Tensor, detector.logits((view + 1) / 2))[:, 0].float()  # type: ignore[operator]


def mask_loss(detector: nn.Module, view: Tensor, mask: Tensor) -> Tensor:
    """Binary cross entropy plus soft Jaccard; ``view`` unit, ``mask`` (N, H, W) bool."""
    logits = mask_logits(detector, view)
    truth = mask.float()
    share = torch.sigmoid(logits)
    overlap = (share * truth).sum()
    jaccard = 1 - (overlap + 1) / (share.sum() + truth.sum() - overlap + 1)
    return F.binary_cross_entropy_with_logits(logits, truth) + jaccard


def draw_noise(
    shape: tuple[int, ...], chain: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Timesteps (N,) of a chain and standard normal noise (N, C, H, W) for a batch, on the CPU."""
    t = torch.randint(0, chain, (shape[0],), generator=generator)
    return t, torch.randn(shape, generator=generator)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples on a device: unit images (N, C, H, W), masks (N, H, W) and their noise.

    Attributes
    ----------
    t, noise
        As :func:`draw_noise` gives them.
    """

    cloudy: Tensor
    clear: Tensor
    mask: Tensor
    t: Tensor
    noise: Tensor


def diffusion_loss(
    kind: str,
    parts: Mapping[str, nn.Module],
    batch: Batch,
    noise_schedule: NoiseSchedule,
    config: TrainConfig = PUBLISHED,
) -> Tensor:
    """Eq. 7 ("noise"), Eq. 14 ("weight") or Eq. 15 ("joint") on unit images.

    Parameters
    ----------
    batch
        Its mask is not looked at.
    config
        What is not published: see its ``from_reference`` and ``perceptual``, which need a weight
        allocator. The latter needs ``parts["unlikeness"]``, a distance (N,) of two batches of unit
        images.
    """
    wa, prior = None, None
    if kind != "noise":
        wa = parts["wa"]
        with torch.no_grad():
            prior = prior_of(parts["reference"], batch.cloudy)
    origin = prior if config.from_reference else None
    unlikeness = parts["unlikeness"] if wa is not None and config.perceptual else None
    losses = de_losses(
        parts["cnp"],
        wa,
        noise_schedule,
        batch.clear,
        batch.cloudy,
        prior,
        batch.t,
        batch.noise,
        origin,
        unlikeness,
    )
    if kind == "weight":
        assert losses.weight is not None
        loss = losses.weight.mean()
    else:
        loss = losses.total.mean()
    if losses.unlikeness is not None:
        loss = loss + config.perceptual * losses.unlikeness.mean()
    return loss


def stage_loss(
    kind: str,
    parts: Mapping[str, nn.Module],
    batch: Batch,
    noise_schedule: NoiseSchedule,
    published: Objective | None,
    config: TrainConfig,
) -> Tensor:
    """The loss of a stage; ``published`` replaces the reference's where it has one of its own."""
    if kind == "mask":
        return mask_loss(parts["detector"], batch.cloudy, batch.mask)
    if kind != "restore":
        return diffusion_loss(kind, parts, batch, noise_schedule, config)
    reference = parts["reference"]
    if published is None:
        return restore_loss(
            reference, batch.cloudy, batch.clear, batch.mask, config.clear_weight, config.squares
        )
    cloudy01, clear01 = (batch.cloudy + 1) / 2, (batch.clear + 1) / 2
    return published.generator(reference, parts.get("discriminator"), cloudy01, clear01)
