"""The training losses of Diffusion Enhancement (Eqs. 7, 14, 15)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from decr.diffusion.fusion import NoisePredictor, WeightAllocator, alpha_bar_at, x0_from_eps
from decr.diffusion.schedule import NoiseSchedule


@dataclass(frozen=True, slots=True)
class Losses:
    """Per-sample losses, each (N,); None where a part was not asked for."""

    noise: Tensor
    weight: Tensor | None
    unlikeness: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """Eq. 15 with lambda = 1: the plain sum, without ``unlikeness``, which callers weigh."""
        return self.noise if self.weight is None else self.noise + self.weight


def diffuse(schedule: NoiseSchedule, clear: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """Draw x_t given x_0 (Eq. 4): sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise."""
    ab = alpha_bar_at(schedule, t)
    return ab.sqrt() * clear + (1.0 - ab).sqrt() * noise


def de_losses(
    cnp: NoisePredictor,
    wa: WeightAllocator | None,
    schedule: NoiseSchedule,
    clear: Tensor,
    cloudy: Tensor,
    x0_prior: Tensor | None,
    t: Tensor,
    noise: Tensor,
    origin: Tensor | None = None,
    unlikeness: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Losses:
    """Losses of the noise predictor (Eq. 7) and of the weight allocator (Eq. 14).

    Parameters
    ----------
    clear, cloudy, x0_prior
        (N, C, H, W), unit. The prior is only needed with ``wa``.
    t
        (N,), integer timesteps.
    noise
        (N, C, H, W), standard normal.
    origin
        What x_t is made of; None is ``clear``, as published.
    unlikeness
        A distance (N,) of two batches of images, for a term that is not published: the distance of
        the fused estimate, clipped to unit, from ``clear``, times alpha_bar. It teaches both
        networks; without the factor, early steps, whose x0 is a large multiple of the predicted
        noise, would outweigh all others. Without ``wa`` nothing asks for it.

    Notes
    -----
    As published: x0 of the noise predictor is clipped to unit and detached in the weight term, W is
    *not* clipped in training, and Eq. 14's lost brackets are restored: |x - (1 - W) x0e - W x0E|.

    The sampler's x_t is made of its own last estimate, not of the clear image. With that as
    ``origin`` the noise to predict is what leads from x_t to the clear image, weighted by
    min(1, 1 / SNR): else the smallest noise, which the origin's errors exceed, would outweigh all.
    """
    x_t = diffuse(schedule, clear if origin is None else origin, t, noise)
    ab = alpha_bar_at(schedule, t)
    eps = cnp(x_t, t, cloudy).float()
    if origin is None:
        noise_loss = (noise - eps).square().mean(dim=(1, 2, 3))
    else:
        wanted = (x_t - ab.sqrt() * clear) / (1.0 - ab).sqrt()
        balance = ((1.0 - ab) / ab).clamp(max=1.0)
        noise_loss = (balance * (wanted - eps).square()).mean(dim=(1, 2, 3))
    if wa is None:
        return Losses(noise_loss, None)
    assert x0_prior is not None
    x0_cnp = x0_from_eps(x_t, eps.detach(), ab)
    weight = wa(x_t, t, cloudy, x0_prior).float()
    fused = (1.0 - weight) * x0_cnp + weight * x0_prior
    weight_loss = (clear - fused).abs().mean(dim=(1, 2, 3))
    if unlikeness is None:
        return Losses(noise_loss, weight_loss)
    taught = (1.0 - weight) * x0_from_eps(x_t, eps, ab) + weight * x0_prior
    distance = unlikeness(taught.clamp(-1.0, 1.0), clear)
    return Losses(noise_loss, weight_loss, ab.flatten() * distance)
