"""Sampling: from noise to an image through any ``denoise(x_t, t) -> x0``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from decr.diffusion.schedule import NoiseSchedule

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x_t, (N,) integer timesteps) -> x0 in unit; both images (N, C, H, W).

The timesteps lie on the CPU, so that to know them nobody must wait for a device.
"""


@dataclass(frozen=True, slots=True)
class Step:
    """What one sampling step produced, for those who watch; decr itself never asks for x_prev."""

    t: int
    x0: Tensor
    x_prev: Tensor


def ddim(
    denoise: Denoise,
    x_T: Tensor,
    schedule: NoiseSchedule,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> Tensor:
    """Deterministic DDIM (Song et al. 2021, eta = 0) over a respaced schedule.

    Parameters
    ----------
    denoise
        Estimate of the clear image; for DE the *fused* one, from which the noise is re-derived.
    x_T
        (N, C, H, W), standard normal.
    schedule
        Already respaced to the wanted number of steps.
    on_step
        Called after every step.

    Returns
    -------
    Tensor
        (N, C, H, W), unit: the estimate of the last step, since alpha_bar before it is 1.

    Examples
    --------
    >>> star = torch.full((1, 1, 2, 2), 0.25)
    >>> out = ddim(lambda x, t: star, torch.randn(1, 1, 2, 2), NoiseSchedule.linear().respaced(5))
    >>> bool(torch.equal(out, star))
    True
    """
    x = x_T
    alpha_bar, previous = schedule.alpha_bar, schedule.alpha_bar_previous
    for index in reversed(range(len(schedule.betas))):
        t = int(schedule.timesteps[index])
        ab, ab_previous = float(alpha_bar[index]), float(previous[index])
        x0 = denoise(x, torch.full((x.shape[0],), t, dtype=torch.long))
        noise = (x / math.sqrt(ab) - x0) / math.sqrt(1.0 / ab - 1.0)
        # At the last step the factor of the noise is exactly zero and x becomes x0.
        x = math.sqrt(ab_previous) * x0 + math.sqrt(1.0 - ab_previous) * noise
        if on_step is not None:
            on_step(Step(t, x0, x))
    return x


def ancestral(
    denoise: Denoise, x_T: Tensor, schedule: NoiseSchedule, noise: Callable[[int], Tensor]
) -> Tensor:
    """DDPM ancestral sampling (Eq. 10, corrected) driven by the same estimate.

    decr itself samples by :func:`ddim`; this is for golden tests and for research.

    Parameters
    ----------
    denoise, x_T, schedule
        As for :func:`ddim`.
    noise
        Gives standard normal noise (N, C, H, W) for a step index; not called for step 0.

    Returns
    -------
    Tensor
        (N, C, H, W), unit.
    """
    x = x_T
    of_x0, of_x_t = schedule.posterior_mean_coefficients()
    deviation = (0.5 * schedule.posterior_log_variance_clipped()).tolist()
    for index in reversed(range(len(schedule.betas))):
        t = int(schedule.timesteps[index])
        x0 = denoise(x, torch.full((x.shape[0],), t, dtype=torch.long))
        x = float(of_x0[index]) * x0 + float(of_x_t[index]) * x
        if index:
            x = x + math.exp(deviation[index]) * noise(index)
    return x
