"""The weight allocation network (WA): per band and pixel, how far to trust the reference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from decr.models.unet import UNet, UNetSize


def wa_size(bands: int) -> UNetSize:
    """The published size (Table VI): 4.66 million parameters."""
    return UNetSize(
        in_channels=3 * bands,
        out_channels=bands,
        width=64,
        multipliers=(1, 1, 2),
        blocks=2,
        attention_factors=(4, 8),
        heads=1,
        scale_shift=False,
    )


class WA(nn.Module):
    """Predict W, the weight of the reference's output in the fused estimate (Eq. 12)."""

    def __init__(self, size: UNetSize) -> None:
        super().__init__()
        self.unet = UNet(size)

    def forward(self, x_t: Tensor, t: Tensor, cloudy: Tensor, x0_prior: Tensor) -> Tensor:
        """Return W before any clipping.

        Parameters
        ----------
        x_t
            (N, C, H, W), noisy image, unbounded.
        t
            (N,), integer timesteps on the original chain.
        cloudy, x0_prior
            (N, C, H, W), the cloudy image and the reference's output x_{0,E}, unit.

        Returns
        -------
        Tensor
            (N, C, H, W). Nothing in the network bounds it; the sampler clips it to
            [prior_floor, 1], training uses it as it is.
        """
        out: Tensor = self.unet(torch.cat([x_t, cloudy, x0_prior], dim=1), t)
        return out
