"""Terms of the published losses of the reference networks, each from images to one number.

Source: what the baselines of Sui et al., TGRS 2024, were trained with; the papers named below.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decr.training.losses import charbonnier

_TAPS = (0.05, 0.25, 0.4, 0.25, 0.05)
"""The low-pass filter of the Laplacian pyramid, along each axis."""

_GREY_LEVELS = 255.0
"""Largest number of the 8-bit images in whose units the published cloud target is written."""


def _blur(x: Tensor) -> Tensor:
    """Low-pass every band alone; beyond the border the outermost pixels go on."""
    bands = x.shape[1]
    taps = x.new_tensor(_TAPS)
    kernel = torch.outer(taps, taps).expand(bands, 1, -1, -1)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), kernel, groups=bands)


def laplacian_residual(x: Tensor) -> Tensor:
    """What an image has that the next level of its Laplacian pyramid cannot show.

    Parameters
    ----------
    x
        (N, C, H, W), any range and number of bands. The published filter takes 3 bands only; it is
        the same for each of them, and so here for any number.

    Returns
    -------
    Tensor
        (N, C, H, W); zero where the image is linear, but for two or three pixels at the border.

    Notes
    -----
    Burt and Adelson, IEEE Trans. Communications 1983: blur, keep every second pixel times 4 among
    zeros, blur again, subtract.
    """
    coarse = torch.zeros_like(x)
    coarse[..., ::2, ::2] = 4 * _blur(x)[..., ::2, ::2]
    return x - _blur(coarse)


def pyramid_edge_loss(a: Tensor, b: Tensor) -> Tensor:
    """Charbonnier distance of (N, C, H, W) images' Laplacian residuals, 1e-3 for equal ones.

    MemoryNet's, after Zamir et al., CVPR 2021.
    """
    return charbonnier(laplacian_residual(a), laplacian_residual(b))


def laplacian_l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of (N, C, H, W) images' Laplacians over eight neighbours.

    Sides have at least 3 pixels. The CVAE's: 8 times a pixel less its neighbours. Pixels at the
    border lack some and are left out. As published a fourth band is ignored, by mistake; here every
    band counts.
    """
    d = a - b
    # Nine times (pixel less mean of its 3 x 3) is eight times the pixel less the other eight.
    return 9 * (d[..., 1:-1, 1:-1] - F.avg_pool2d(d, 3, stride=1)).abs().mean()


def kl_divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    """Divergence of normal distributions from the standard one, at least 0.

    ``mu`` and ``log_var`` are (N, latent). As published it is the **sum** over the batch and all
    latent numbers, not a mean (Kingma and Welling, ICLR 2014, appendix B).
    """
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum()


def cloud_target(cloudy: Tensor, clear: Tensor) -> Tensor:
    """Where clouds are, as far as a pair shows: what attention maps are taught.

    Returns
    -------
    Tensor
        (N, 1, H, W), in [0, 1], of images (N, C, H, W) in [0, 1]: 1 where the cloudy image is
        brighter by a grey level of 255 or more, summed over bands; 0 where it is equal or darker.

    Notes
    -----
    The published code subtracts the other way round, so that its target is 0 under bright cloud
    and 1 in shadow. That is one of its bugs and is not kept. (Pan, arXiv:2009.13015, writes an
    absolute difference, which noise of one grey level would turn to 1 nearly everywhere.)
    """
    brighter = (cloudy - clear).sum(dim=1, keepdim=True)
    return (_GREY_LEVELS * brighter).clamp(0.0, 1.0)


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Mean of (|gradient| - 1)^2 at random points between real and made images.

    Parameters
    ----------
    discriminator
        Images (N, C, H, W) to scores (N, any number); the gradient is that of their sum.
    real, fake
        (N, C, H, W); ``fake`` without a graph.

    Returns
    -------
    Tensor
        Scalar, whose own gradient reaches the discriminator.

    Notes
    -----
    Gulrajani et al., NeurIPS 2017: points are uniform on the lines between. The published code
    draws a *normal* factor there, a bug that is not kept. Uses torch's global generator.
    """
    factor = torch.rand(len(real), 1, 1, 1).to(real)
    between = torch.lerp(fake, real, factor).requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
    norm = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return cast(Tensor, (norm - 1).square().mean())
