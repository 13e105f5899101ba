"""What SpA-GAN and AMGAN-CR share: the dilated bottleneck block and how weights start.

Parameter names are the published ones.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import torch
from torch import Tensor, nn

_DEVIATION = 0.02
"""Standard deviation of the weights a network starts with."""


class Bottleneck(nn.Module):
    """Three convolutions, the middle one dilated, without a skip of their own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.group1 = nn.Sequential(
            OrderedDict[str, nn.Module](
                conv1=nn.Conv2d(channels, channels, 1, bias=False),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(channels, channels, 3, padding=2, dilation=2, bias=False),
                relu2=nn.ReLU(),
                conv3=nn.Conv2d(channels, channels, 1, bias=False),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.group1(x))


def initialise(network: nn.Module) -> None:
    """Start as published: N(0, 0.02) for convolutions, N(1, 0.02) for batch normalisation.

    Biases of convolutions keep torch's default, those of batch normalisation are zero.
    """
    for module in network.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.is_meta:
            continue  # nothing to fill, which torch would take seconds to find out
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, _DEVIATION)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, _DEVIATION)
            nn.init.zeros_(module.bias)
