"""Sampling with a bundle's networks one tile at a time, under whatever fusion, and watched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decr.device import make_cuda_repeatable, pick_device
from decr.diffusion.fusion import FusedDenoiser, WeightAllocator, prior_of, x0_from_eps
from decr.diffusion.noise import noise_window
from decr.diffusion.samplers import Step, ddim
from decr.errors import BundleError
from decr.zoo.bundle import Bundle, load_bundle

Float32 = NDArray[np.float32]
Fusion = Literal["learnt", "diffusion", "reference"] | float
"""W of the weight allocator; no prior at all (W = 0); no diffusion (W = 1); one W everywhere."""

_PLACE_PX = 1000
"""Tiles lie so far apart in the noise field that none shares noise with another."""


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """A DE bundle on a device."""

    bundle: Bundle
    device: torch.device

    @property
    def bands(self) -> tuple[str, ...]:
        """Roles it takes."""
        return self.bundle.card.bands


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """One fusion of a step, (1, C, S, S) unit each.

    Attributes
    ----------
    t
        Timestep.
    reference, diffusion
        The two estimates of the clear image.
    weight
        W of the reference as it counts: clipped to [prior_floor, 1].
    """

    t: int
    reference: Tensor
    diffusion: Tensor
    weight: Tensor


def load_networks(path: Path, device: str) -> Networks:
    """Load a bundle that holds a reference, a noise predictor and a weight allocator.

    Raises
    ------
    BundleError
        For any other bundle.
    """
    bundle = load_bundle(path)
    if set(bundle.card.parts) != {"reference", "cnp", "wa"}:
        raise BundleError(
            f"{path}: holds {', '.join(sorted(bundle.card.parts))}; this analysis needs a model "
            f"with reference, cnp and wa"
        )
    target = pick_device(device)
    if target.type == "cuda":
        make_cuda_repeatable()
    for network in bundle.networks.values():
        network.to(target)
    return Networks(bundle, target)


@torch.inference_mode()
def sampled(
    networks: Networks,
    cloudy: Float32,
    number: int,
    *,
    steps: int | None = None,
    prior_floor: float | None = None,
    fusion: Fusion = "learnt",
    seed: int = 0,
    on_weights: Callable[[int, Tensor, Tensor], None] | None = None,
    on_step: Callable[[Step], None] | None = None,
    on_fusion: Callable[[Fused], None] | None = None,
) -> Float32:
    """Restore one tile in float32.

    Parameters
    ----------
    cloudy
        (C, S, S) float32 unit.
    number
        Of the tile; with ``seed`` it decides the noise.
    steps, prior_floor
        None takes the card's.
    on_weights, on_step
        As for `FusedDenoiser` and `ddim`.
    on_fusion
        Called with both estimates of every step that has two; not along with ``on_weights``.

    Returns
    -------
    ndarray
        (C, S, S) float32 unit.
    """
    card, parts = networks.bundle.card, networks.bundle.networks
    y = torch.from_numpy(cloudy)[None].to(networks.device)
    prior = prior_of(parts["reference"], y)
    if fusion == "reference":
        return _out(prior)
    start = torch.from_numpy(noise_window(seed, 0, _PLACE_PX * number, *cloudy.shape))[None]
    wa: WeightAllocator | None = parts["wa"] if fusion == "learnt" else None
    if isinstance(fusion, float):
        wa = _constant(fusion)
    kept = (card.prior_floor if prior_floor is None else prior_floor) if fusion == "learnt" else 0.0
    if on_fusion is not None and wa is not None:
        wa, on_weights = _watched(networks, wa, prior, kept, on_fusion)
    denoise = FusedDenoiser(
        parts["cnp"], wa, card.schedule, y, prior, kept, on_weights, card.level_px
    )
    short = card.respaced(steps)
    return _out(ddim(denoise, start.to(networks.device), short, on_step=on_step))


def _constant(weight: float) -> WeightAllocator:
    return lambda x_t, t, cloudy, prior: torch.full_like(x_t, weight)


def _watched(
    networks: Networks,
    wa: WeightAllocator,
    prior: Tensor,
    prior_floor: float,
    on_fusion: Callable[[Fused], None],
) -> tuple[WeightAllocator, Callable[[int, Tensor, Tensor], None]]:
    """The allocator, which also keeps the x_t that it sees, and what tells of each fusion."""
    at: list[Tensor] = []
    alpha_bar = networks.bundle.card.schedule.alpha_bar

    def allocate(x_t: Tensor, t: Tensor, cloudy: Tensor, x0_prior: Tensor) -> Tensor:
        at[:] = [x_t]
        return wa(x_t, t, cloudy, x0_prior)

    def told(t: int, eps: Tensor, weight: Tensor) -> None:
        diffusion = x0_from_eps(at[0], eps, float(alpha_bar[t]))
        on_fusion(Fused(t, prior, diffusion, weight.clamp(prior_floor, 1.0)))

    return allocate, told


def _out(image: Tensor) -> Float32:
    found: Float32 = image.clamp(-1.0, 1.0)[0].cpu().numpy()
    return found
