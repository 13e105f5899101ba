"""SpA-GAN, a reference model: dilated residual blocks gated by spatial attention.

Source: the baseline SpA-GAN of Sui et al., TGRS 2024, after Pan, arXiv:2009.13015. Parameter names
are the published ones less the prefix ``gen.gen.``; tensors that the published network carries but
never uses are carried here too and say so. Its discriminator is :mod:`decr.models.patchgan`.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decr.models.bottleneck import Bottleneck, initialise

_BLOCKS = 17
_GATED_GROUPS = ((4, 5, 6), (7, 8, 9), (10, 11, 12), (13, 14, 15))
"""Blocks that one attention map gates; those before and after are plain."""


def _receive(v: Tensor, sent: Tensor, dim: int, step: int) -> Tensor:
    """Add to each pixel what the pixel ``step`` (-1 or 1) further along ``dim`` sends, and rectify.

    The row or column whose neighbour lies outside the image is ``v`` as it is, not rectified.
    """
    inner = v.shape[dim] - 1
    if step < 0:
        border, moved = v.narrow(dim, 0, 1), v.narrow(dim, 1, inner) + sent.narrow(dim, 0, inner)
        return torch.cat([border, F.relu(moved)], dim=dim)
    border, moved = v.narrow(dim, inner, 1), v.narrow(dim, 0, inner) + sent.narrow(dim, 1, inner)
    return torch.cat([F.relu(moved), border], dim=dim)


class _FourDirections(nn.Module):
    """Look one pixel up, right, down and left, each through a scale and a bias per channel.

    Published as a recurrent unit, but each direction is a single step.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("left", "right", "up", "down"):
            self.add_module(f"{name}_weight", nn.Conv2d(channels, channels, 1, groups=channels))

    def forward(self, v: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 4 C, H, W): up, right, down, left."""
        directions = (("up", 2, -1), ("right", 3, 1), ("down", 2, 1), ("left", 3, -1))
        views = [
            _receive(v, self.get_submodule(f"{name}_weight")(v), dim, step)
            for name, dim, step in directions
        ]
        return torch.cat(views, dim=1)


class _SpatialAttention(nn.Module):
    """One number in (0, 1) per pixel, from two rounds of looking in four directions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.irnn1 = _FourDirections(channels)
        self.irnn2 = _FourDirections(channels)
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.conv2 = nn.Conv2d(4 * channels, channels, 1)
        self.conv3 = nn.Conv2d(4 * channels, channels, 1)
        self.conv_out = nn.Conv2d(channels, 1, 1, bias=False)
        # Dead: in published checkpoints, without influence on any output. The weights were trained
        # that way, so letting the attention weigh the directions would spoil them.
        half = channels // 2
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.attention_layer = nn.ModuleDict(
            {
                "conv1": nn.Conv2d(channels, half, 3, padding=1),
                "conv2": nn.Conv2d(half, half, 3, padding=1),
                "conv3": nn.Conv2d(half, 4, 1),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.irnn1(self.conv1(x)))
        x = self.conv3(self.irnn2(x))
        return torch.sigmoid(self.conv_out(F.relu(x)))


class SpAGAN(nn.Module):
    """Cloudy image in, clear image out, both in [0, 1]; any size.

    Parameters
    ----------
    bands
        Bands of the image. The weights published with SpA-GAN itself want blue, green, red.
    width
        Channels of all features, a multiple of 2.

    Notes
    -----
    The defaults are the published sizes: 0.22 million parameters, of which 16,228 in 7 tensors
    (``SAM1.attention_layer.*`` and ``SAM1.conv_in``) are dead.
    """

    def __init__(self, bands: int, width: int = 32) -> None:
        super().__init__()
        self.conv_in = nn.Sequential(nn.Conv2d(bands, width, 3, padding=1, bias=False), nn.ReLU())
        self.SAM1 = _SpatialAttention(width)
        for index in range(1, _BLOCKS + 1):
            self.add_module(f"res_block{index}", Bottleneck(width))
        self.conv_out = nn.Sequential(nn.Conv2d(width, bands, 3, padding=1, bias=False))
        initialise(self)

    def _block(self, index: int, x: Tensor) -> Tensor:
        return cast(Tensor, self.get_submodule(f"res_block{index}")(x))

    def with_attention(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image, not clamped, and where the network looked; for training.

        Parameters
        ----------
        y
            (N, C, H, W), cloudy, in [0, 1].

        Returns
        -------
        tuple of Tensor
            The image, (N, C, H, W), unbounded; the last of four attention maps, (N, 1, H, W),
            in (0, 1).
        """
        x = self.conv_in(y)
        for index in (1, 2, 3):
            x = F.relu(self._block(index, x) + x)
        for group in _GATED_GROUPS:
            attention = self.SAM1(x)
            for index in group:
                x = F.relu(self._block(index, x) * attention + x)
        for index in (16, 17):
            x = F.relu(self._block(index, x) + x)
        return self.conv_out(x), attention

    def forward(self, y: Tensor) -> Tensor:
        """(N, C, H, W), cloudy, to the clear image of that shape, both in [0, 1]."""
        return self.with_attention(y)[0].clamp(0.0, 1.0)
