"""The conditional noise predictor (CNP): eps from the noisy and the cloudy image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decr.models.unet import UNet, UNetSize


def cnp_size(bands: int) -> UNetSize:
    """The published size (Table VI): 32.1 million parameters."""
    return UNetSize(
        in_channels=2 * bands,
        out_channels=bands,
        width=96,
        multipliers=(1, 1, 2, 2, 3),
        blocks=2,
        attention_factors=(4, 8),
        heads=4,
        scale_shift=True,
    )


class CNP(nn.Module):
    """Predict the noise in ``x_t`` given the cloudy image (Eq. 6).

    ``self.unet`` carries the published parameter names.
    """

    def __init__(self, size: UNetSize) -> None:
        super().__init__()
        self.unet = UNet(size)

    def forward(self, x_t: Tensor, t: Tensor, cloudy: Tensor) -> Tensor:
        """Return eps.

        Parameters
        ----------
        x_t
            (N, C, H, W), noisy image, unbounded.
        t
            (N,), integer timesteps on the original chain.
        cloudy
            (N, C, h, w), the condition y, unit; resized bilinearly to ``x_t`` where its size is
            another, as published.

        Returns
        -------
        Tensor
            (N, C, H, W), eps, unbounded.
        """
        if cloudy.shape[-2:] != x_t.shape[-2:]:
            cloudy = F.interpolate(cloudy, x_t.shape[-2:], mode="bilinear", align_corners=False)
        out: Tensor = self.unet(torch.cat([x_t, cloudy], dim=1), t)
        return out
