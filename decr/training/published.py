"""The published objectives of the five reference networks: losses, discriminators and optimiser.

Source: the baselines of Sui et al., TGRS 2024, and their own papers, named below. Bugs of the
published code that its weights do not depend on are mended; the docstrings say which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decr.errors import ConfigError
from decr.models.amgan import AMGAN
from decr.models.cvae import CVAE
from decr.models.memorynet import MemoryNet
from decr.models.msda import MSDADiscriminator
from decr.models.patchgan import PatchGAN
from decr.models.spagan import SpAGAN
from decr.training.losses import charbonnier
from decr.training.published_perceptual import load_perceptual
from decr.training.published_terms import (
    cloud_target,
    gradient_penalty,
    kl_divergence,
    laplacian_l1,
    pyramid_edge_loss,
)

GeneratorLoss = Callable[[nn.Module, nn.Module | None, Tensor, Tensor], Tensor]
"""(network, its discriminator or None, cloudy, clear) to a scalar; images (N, C, H, W), [0, 1]."""

DiscriminatorLoss = Callable[[nn.Module, nn.Module, Tensor, Tensor], Tensor]
"""(network, its discriminator, cloudy, clear) to a scalar; images (N, C, H, W), [0, 1]."""

ARCHITECTURES = ("memorynet", "msda", "spagan", "amgan", "cvae")
"""The networks whose objectives are here."""

_MEMORYNET_EDGE = 0.05
_MSDA_SMOOTH, _MSDA_PERCEPTUAL, _MSDA_ADVERSARIAL, _MSDA_PENALTY = 1.2, 0.04, 0.05, 10.0
_CVAE_DRAWS, _CVAE_BETA, _CVAE_KL, _CVAE_EDGE = 10, 0.5, 0.01, 0.18


@dataclass(frozen=True, slots=True)
class Objective:
    """What a network was published to be trained with.

    Attributes
    ----------
    generator
        Loss of the network itself. It runs the network's training path, unclamped where it has
        one, and leaves no gradient in the discriminator.
    discriminator
        Loss of the discriminator, or None where there is none. It leaves no gradient in the
        network.
    make_discriminator
        Number of bands to a discriminator of the published size, or None.
    betas, weight_decay
        Of Adam, for the network and for its discriminator.

    Notes
    -----
    Where a loss draws numbers (the penalty of MSDA-CR's discriminator, the CVAE) they come from
    torch's global generator on the CPU: seed it for a loss that repeats itself.
    """

    generator: GeneratorLoss
    discriminator: DiscriminatorLoss | None = None
    make_discriminator: Callable[[int], nn.Module] | None = None
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 1e-5


def objective(architecture: str, vgg16: Path | None = None) -> Objective:
    """Return the published objective of a reference network.

    Parameters
    ----------
    architecture
        One of ``ARCHITECTURES``.
    vgg16
        Weights for MSDA-CR's perceptual term, see
        :func:`~decr.training.published_perceptual.load_perceptual`; the others have none. Without
        them the term is left out, since decr downloads nothing.

    Raises
    ------
    ConfigError
        For another architecture.
    BundleError
        If ``vgg16`` cannot be used.
    """
    match architecture:
        case "memorynet":
            return Objective(_memorynet)
        case "msda":
            perceptual = load_perceptual(vgg16) if vgg16 else None
            loss = partial(_msda, perceptual=perceptual)
            return Objective(loss, _msda_discriminator, MSDADiscriminator)
        case "spagan":
            loss = partial(_attentive, adversarial=1.0, l1=100.0, attention=1.0)
            return Objective(loss, _patch_discriminator, PatchGAN)
        case "amgan":
            loss = partial(_attentive, adversarial=0.1, l1=10.0, attention=10.0)
            return Objective(loss, _patch_discriminator, PatchGAN)
        case "cvae":
            return Objective(_cvae)
    raise ConfigError(
        f"architecture {architecture!r} has no published objective; those that have one are "
        f"{', '.join(ARCHITECTURES)}"
    )


@contextmanager
def _without_learning(discriminator: nn.Module | None) -> Iterator[nn.Module]:
    """Let gradients pass through a discriminator's activations but not into its parameters."""
    if discriminator is None:
        raise ValueError("this objective is adversarial: it needs its discriminator")
    learning = [p for p in discriminator.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield discriminator
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _memorynet(
    network: nn.Module, discriminator: nn.Module | None, cloudy: Tensor, clear: Tensor
) -> Tensor:
    """Sum Charbonnier and 0.05 edges over all three stages' images, none of them clamped.

    Source: Zamir et al., CVPR 2021. The published edge filter fails at 4 bands; here each band has
    the same one.
    """
    losses = [
        charbonnier(image, clear) + _MEMORYNET_EDGE * pyramid_edge_loss(image, clear)
        for image in cast(MemoryNet, network).stages(cloudy)
    ]
    return torch.stack(losses).sum()


def _msda(
    network: nn.Module,
    discriminator: nn.Module | None,
    cloudy: Tensor,
    clear: Tensor,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None,
) -> Tensor:
    """1.2 smooth L1 + 0.04 perceptual - 0.05 mean score.

    Source: Yu et al., GRSL 2022. The published code also computes a Laplacian, which fails at 4
    bands and whose value it does not use; there is none here.
    """
    made = network(cloudy)
    loss = _MSDA_SMOOTH * F.smooth_l1_loss(made, clear)
    if perceptual is not None:
        loss = loss + _MSDA_PERCEPTUAL * perceptual(made, clear)
    with _without_learning(discriminator) as judge:
        return cast(Tensor, loss - _MSDA_ADVERSARIAL * judge(made).mean())


def _msda_discriminator(
    network: nn.Module, discriminator: nn.Module, cloudy: Tensor, clear: Tensor
) -> Tensor:
    """Mean score of made less mean score of real images + 10 times the gradient penalty.

    Source: Gulrajani et al., NeurIPS 2017; Zhang et al., ICML 2019.
    """
    with torch.no_grad():
        made = network(cloudy)
    apart = discriminator(made).mean() - discriminator(clear).mean()
    return cast(Tensor, apart + _MSDA_PENALTY * gradient_penalty(discriminator, clear, made))


def _attentive(
    network: nn.Module,
    discriminator: nn.Module | None,
    cloudy: Tensor,
    clear: Tensor,
    adversarial: float,
    l1: float,
    attention: float,
) -> Tensor:
    """Weigh non-saturating GAN loss, L1, and squared error of the attention map.

    The loss of SpA-GAN (1, 100, 1; Pan, arXiv:2009.13015) and AMGAN-CR (0.1, 10, 10; Xu et al.,
    2022). The image is not clamped, neither for L1 nor for the discriminator.
    """
    made, seen = cast(SpAGAN | AMGAN, network).with_attention(cloudy)
    with _without_learning(discriminator) as judge:
        fooling = F.softplus(-judge(cloudy, made)).mean()
    loss = adversarial * fooling + l1 * F.l1_loss(made, clear)
    return loss + attention * F.mse_loss(seen, cloud_target(cloudy, clear))


def _patch_discriminator(
    network: nn.Module, discriminator: nn.Module, cloudy: Tensor, clear: Tensor
) -> Tensor:
    """Mean over patches of softplus(made) + softplus(-real).

    Source: Goodfellow et al., NeurIPS 2014, on logits; real is 1, made is 0, neither smoothed.
    """
    with torch.no_grad():
        made, _ = cast(SpAGAN | AMGAN, network).with_attention(cloudy)
    judged_made, judged_real = discriminator(cloudy, made), discriminator(cloudy, clear)
    return F.softplus(judged_made).mean() + F.softplus(-judged_real).mean()


def _cvae(
    network: nn.Module, discriminator: nn.Module | None, cloudy: Tensor, clear: Tensor
) -> Tensor:
    """Smooth L1 (beta 0.5) + 0.01 KL + 0.18 Laplacian L1, of the mean of ten drawn images.

    Source: Ding et al., ACCV 2022. The images are averaged, not their losses: one draw may miss if
    the mean does not. KL is a sum over the batch, so it weighs more in larger ones; the published
    batch is 2.
    """
    cvae = cast(CVAE, network)
    total = torch.zeros_like(clear)
    for _ in range(_CVAE_DRAWS):
        noise = torch.randn(len(cloudy), cvae.encoder.mu.out_features).to(cloudy)
        (mu, log_var), image = cvae.with_distribution(cloudy, noise)
        total = total + image
    made = total / _CVAE_DRAWS
    loss = F.smooth_l1_loss(made, clear, beta=_CVAE_BETA)
    # The encoder draws nothing: its distribution is the same every time.
    return loss + _CVAE_KL * kl_divergence(mu, log_var) + _CVAE_EDGE * laplacian_l1(made, clear)
