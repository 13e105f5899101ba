"""Reference models: a cloudy image in, a first cloud-free image out, both in [0, 1]."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from decr.models.unet import UNet, UNetSize


def _edges_repeated(x: Tensor, multiple: int) -> Tensor:
    """Extend the bottom and right by edge pixels until both sides are multiples."""
    bottom, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    if not bottom and not right:
        return x
    return F.pad(x, (0, right, 0, bottom), mode="replicate")


class CompactReference(nn.Module):
    """A small untimed U-Net that predicts what to add to the cloudy image.

    Training uses :meth:`unclamped`, whose gradient does not die outside [0, 1].
    """

    def __init__(self, size: UNetSize) -> None:
        super().__init__()
        self.unet = UNet(size)

    def unclamped(self, cloudy01: Tensor) -> Tensor:
        """(N, C, H, W), cloud-free estimate that may leave [0, 1]."""
        rows, cols = cloudy01.shape[-2:]
        x = _edges_repeated(2.0 * cloudy01 - 1.0, self.unet.multiple)
        change: Tensor = self.unet(x)[..., :rows, :cols]
        return cloudy01 + 0.5 * change.float()

    def forward(self, cloudy01: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] to the same."""
        return self.unclamped(cloudy01).clamp(0.0, 1.0)
