"""PatchGAN, the discriminator of SpA-GAN and AMGAN-CR: is each patch of an image genuine or made.

Source: the baselines of Sui et al., TGRS 2024, after Isola et al., CVPR 2017. Parameter names are
the published ones less the prefix ``dis.dis.``.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decr.models.bottleneck import initialise

_SLOPE = 0.2


class _Halve(nn.Module):
    """Halve the resolution (rounding down) with a strided convolution."""

    def __init__(self, cin: int, cout: int, normalised: bool) -> None:
        super().__init__()
        self.c = nn.Conv2d(cin, cout, 4, stride=2, padding=1)
        if normalised:
            self.batchnorm = nn.BatchNorm2d(cout)
        self.normalised = normalised

    def forward(self, x: Tensor) -> Tensor:
        x = self.c(x)
        return F.leaky_relu(self.batchnorm(x) if self.normalised else x, _SLOPE)


class PatchGAN(nn.Module):
    """Judge patches of an image, given the cloudy one; training only.

    Parameters
    ----------
    bands
        Bands of the images.
    width
        Channels of the first layer; the widest has sixteen times as many.

    Notes
    -----
    The defaults are the published sizes: 2.76 million parameters.
    """

    def __init__(self, bands: int, width: int = 32) -> None:
        super().__init__()
        self.c0_0 = _Halve(bands, width, normalised=False)
        self.c0_1 = _Halve(bands, width, normalised=False)
        self.c1 = _Halve(2 * width, 4 * width, normalised=True)
        self.c2 = _Halve(4 * width, 8 * width, normalised=True)
        self.c3 = _Halve(8 * width, 16 * width, normalised=True)
        self.c4 = nn.Conv2d(16 * width, 1, 3, padding=1)
        initialise(self)

    def forward(self, cloudy: Tensor, image: Tensor) -> Tensor:
        """(N, C, H, W) twice, in [0, 1], sides of at least 16, to logits (N, 1, H // 16, W // 16).

        ``image`` is the true or a made one. Logits are unbounded; higher means more real.
        """
        x = torch.cat([self.c0_0(cloudy), self.c0_1(image)], dim=1)
        return cast(Tensor, self.c4(self.c3(self.c2(self.c1(x)))))
