"""Reference models: a cloudy image in, a first cloud-free image out, both in [0, 1]."""

from __future__ import annotations

from torch import Tensor, nn

from decr.models.padding import repeat_edges_to_multiple
from decr.models.unet import UNet, UNetSize


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
        x = repeat_edges_to_multiple(2.0 * cloudy01 - 1.0, self.unet.multiple)
        change: Tensor = self.unet(x)[..., :rows, :cols]
        return cloudy01 + 0.5 * change.float()

    def forward(self, cloudy01: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] to the same."""
        return self.unclamped(cloudy01).clamp(0.0, 1.0)
