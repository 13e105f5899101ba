"""AMGAN-CR, a reference model: a recurrent cloud mask gates dilated residual blocks.

Source: the baseline AMGAN-CR of Sui et al., TGRS 2024, after Xu et al., Remote Sensing of
Environment 271, 2022. Parameter names are the published ones less the prefix ``gen.gen.``. Its
discriminator is :mod:`decr.models.patchgan`.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decr.models.bottleneck import Bottleneck, initialise

_ITERATIONS = 4
_DETECTION_STEPS = (1, 2, 3, 4, 5)
_FIRST_MASK = 0.5


def _conv(cin: int, cout: int, *after: nn.Module, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1, bias=bias), *after)


class AMGAN(nn.Module):
    """Cloudy image in, clear image out, both in [0, 1]; any size.

    Parameters
    ----------
    bands
        Bands of the image.
    width
        Channels of all features.

    Notes
    -----
    The defaults are the published sizes: 0.24 million parameters. The three tensors of
    ``res_block6`` are dead: in published checkpoints, without influence on any output.
    """

    def __init__(self, bands: int, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.det_conv0 = _conv(bands + 1, width, nn.ReLU())
        for step in _DETECTION_STEPS:
            layers = (*_conv(width, width, nn.ReLU()), *_conv(width, width, nn.ReLU()))
            self.add_module(f"det_conv{step}", nn.Sequential(*layers))
        self.conv_i = _conv(2 * width, width, nn.Sigmoid())
        self.conv_f = _conv(2 * width, width, nn.Sigmoid())
        self.conv_g = _conv(2 * width, width, nn.Tanh())
        self.conv_o = _conv(2 * width, width, nn.Sigmoid())
        self.det_conv_mask = _conv(width, 1)
        self.conv_in = _conv(bands, width, nn.ReLU(), bias=False)
        self.conv_ins = _conv(bands + 1, width, nn.ReLU(), bias=False)
        self.res_block1 = Bottleneck(width)
        self.res_block2 = Bottleneck(width)
        self.res_block3 = Bottleneck(width)
        self.res_block4 = Bottleneck(width)
        self.res_block5 = Bottleneck(width)
        self.res_block6 = Bottleneck(width)  # dead
        self.conv_out = _conv(width, bands, bias=False)
        initialise(self)

    def _mask(self, y: Tensor) -> Tensor:
        """Find the clouds: refine a mask a few times with a convolutional LSTM."""
        n, _, rows, cols = y.shape
        mask = y.new_full((n, 1, rows, cols), _FIRST_MASK)
        hidden = cell = y.new_zeros((n, self.width, rows, cols))
        for _ in range(_ITERATIONS):
            z = self.det_conv0(torch.cat([y, mask], dim=1))
            for step in _DETECTION_STEPS:
                z = F.relu(self.get_submodule(f"det_conv{step}")(z) + z)
            z = torch.cat([z, hidden], dim=1)
            cell = self.conv_f(z) * cell + self.conv_i(z) * self.conv_g(z)
            hidden = self.conv_o(z) * torch.tanh(cell)
            mask = self.det_conv_mask(hidden)
        return mask

    def with_attention(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image, not clamped, and the cloud mask; for training.

        Parameters
        ----------
        y
            (N, C, H, W), cloudy, in [0, 1].

        Returns
        -------
        tuple of Tensor
            The image, (N, C, H, W), and the mask, (N, 1, H, W), both unbounded.
        """
        mask = self._mask(y)
        given = self.conv_ins(torch.cat([y, mask], dim=1))
        # The first block runs twice, the first time without anything around it.
        x = self.res_block1(self.conv_in(y))
        for block in (self.res_block1, self.res_block2, self.res_block3):
            x = F.relu(block(x) * mask + given)
        for block in (self.res_block4, self.res_block5):
            x = F.relu(block(x) + x)
        return cast(Tensor, self.conv_out(x)), mask

    def forward(self, y: Tensor) -> Tensor:
        """(N, C, H, W), cloudy, to the clear image of that shape, both in [0, 1]."""
        return self.with_attention(y)[0].clamp(0.0, 1.0)
