"""Diffusion Enhancement's denoiser: the diffusion estimate fused with the reference's output."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from decr.diffusion.schedule import NoiseSchedule

NoisePredictor = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x_t, t, cloudy) -> eps."""
WeightAllocator = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(x_t, t, cloudy, x0_prior) -> W, unclipped."""


def x0_from_eps(x_t: Tensor, eps: Tensor, alpha_bar: float | Tensor) -> Tensor:
    """The clear image that ``x_t`` and its noise imply (Eq. 9), clipped to unit as published."""
    if isinstance(alpha_bar, float):
        scale, share = 1.0 / math.sqrt(alpha_bar), math.sqrt(1.0 / alpha_bar - 1.0)
        return (scale * x_t - share * eps).clamp(-1.0, 1.0)
    return (x_t / alpha_bar.sqrt() - (1.0 / alpha_bar - 1.0).sqrt() * eps).clamp(-1.0, 1.0)


def prior_of(reference: Callable[[Tensor], Tensor], cloudy: Tensor) -> Tensor:
    """What a reference, which works in [0, 1], makes of unit images (N, C, H, W): float32, unit."""
    return 2.0 * reference((cloudy + 1.0) / 2.0).float() - 1.0


@dataclass(frozen=True, slots=True)
class FusedDenoiser:
    """``denoise(x_t, t) -> x0`` of Diffusion Enhancement (Eqs. 8, 9, 12, 13).

    Attributes
    ----------
    cnp
        Noise predictor.
    wa
        Weight allocator; None for plain conditional diffusion (the paper's ablation, row 1).
    schedule
        The *full* chain: ``t`` indexes its alpha_bar.
    cloudy, x0_prior
        (N, C, H, W), unit; the prior may be None without a weight allocator.
    prior_floor
        The paper's limiting factor (its eta): W is clipped to [prior_floor, 1].
    on_weights
        Called with t, the predicted noise and the unclipped W, for those who analyse them.
    level_px
        Side of squares over which the estimate keeps the prior's means, so that diffusion adds
        details and no level; 0, as published, lets it move them. Not published.
    """

    cnp: NoisePredictor
    wa: WeightAllocator | None
    schedule: NoiseSchedule
    cloudy: Tensor
    x0_prior: Tensor | None
    prior_floor: float = 0.3
    on_weights: Callable[[int, Tensor, Tensor], None] | None = None
    level_px: int = 0

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Fused estimate (N, C, H, W) of the clear image at timestep ``t``, unit.

        All of ``t``, (N,), must be one timestep: the first counts.
        """
        step = int(t[0])
        t = torch.full_like(t, step, device=x_t.device)
        alpha_bar = float(self.schedule.alpha_bar[step])
        eps = self.cnp(x_t, t, self.cloudy).float()
        x0_cnp = x0_from_eps(x_t, eps, alpha_bar)
        if self.wa is None:
            return x0_cnp
        assert self.x0_prior is not None
        weight = self.wa(x_t, t, self.cloudy, self.x0_prior).float()
        if self.on_weights is not None:
            self.on_weights(step, eps, weight)
        weight = weight.clamp(self.prior_floor, 1.0)
        fused = weight * self.x0_prior + (1.0 - weight) * x0_cnp
        return fused + level(self.x0_prior - fused, self.level_px) if self.level_px else fused


def level(image: Tensor, side: int) -> Tensor:
    """(N, C, H, W): means over squares of about ``side`` pixels, bilinear between their middles."""
    height, width = (max(1, round(pixels / side)) for pixels in image.shape[2:])
    means = F.adaptive_avg_pool2d(image, (height, width))
    return F.interpolate(means, size=image.shape[2:], mode="bilinear", align_corners=False)


def alpha_bar_at(schedule: NoiseSchedule, t: Tensor) -> Tensor:
    """alpha_bar of each sample's timestep, float32 (N, 1, 1, 1)."""
    table = torch.from_numpy(schedule.alpha_bar)
    return table[t.cpu()].to(torch.float32).to(t.device)[:, None, None, None]
