"""MemoryNet, a reference model: three stages over quarters, halves and the whole image.

Source: the reference model "mn" of Sui et al., TGRS 2024, which is a narrow MPRNet (Zamir et al.,
CVPR 2021) and has no memory. Parameter names are the published ones, so published checkpoints load
without a map. No convolution has a bias.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import torch
from torch import Tensor, nn

from decr.models.padding import pad_to_multiple

_REDUCTION = 4
"""How much narrower the bottleneck of channel attention is."""

_MULTIPLE = 8
"""Quarters are half as wide as the image and are halved twice more."""

Levels = list[Tensor]
"""Features at full, half and quarter resolution."""


def _conv(cin: int, cout: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, kernel, padding=kernel // 2, bias=False)


def _stack_halves(x: Tensor, dim: int) -> Tensor:
    """Cut an image in two along ``dim`` and stack the halves along the batch, first half first."""
    return torch.cat(x.chunk(2, dim=dim), dim=0)


def _join_halves(x: Tensor, dim: int) -> Tensor:
    """Undo :func:`_stack_halves`."""
    return torch.cat(x.chunk(2, dim=0), dim=dim)


class _ChannelAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // _REDUCTION
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv_du = nn.Sequential(
            _conv(channels, narrow, 1), nn.ReLU(), _conv(narrow, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x * self.conv_du(self.pool(x)))


class _CAB(nn.Module):
    """Channel attention block: two convolutions, weighted per channel, around a skip."""

    def __init__(self, channels: int, act: nn.PReLU) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(channels, channels, 3), act, _conv(channels, channels, 3))
        self.CA = _ChannelAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.CA(self.body(x)) + x)


def _cabs(channels: int, count: int, act: nn.PReLU) -> nn.Sequential:
    return nn.Sequential(*(_CAB(channels, act) for _ in range(count)))


def _scaled(name: str, factor: float, cin: int, cout: int) -> nn.Sequential:
    """Halve (without antialiasing, as published) or double the resolution."""
    scale = nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False)
    return nn.Sequential(OrderedDict({name: nn.Sequential(scale, _conv(cin, cout, 1))}))


def _down(cin: int, cout: int) -> nn.Sequential:
    return _scaled("down", 0.5, cin, cout)


def _up(cin: int, cout: int) -> nn.Sequential:
    return _scaled("up", 2, cin, cout)


class _Encoder(nn.Module):
    """Three levels of features; the second stage adds what the first stage knew at each level."""

    def __init__(self, widths: tuple[int, int, int], act: nn.PReLU, cross_stage: bool) -> None:
        super().__init__()
        self.encoder_level1 = _cabs(widths[0], 2, act)
        self.encoder_level2 = _cabs(widths[1], 2, act)
        self.encoder_level3 = _cabs(widths[2], 2, act)
        self.down12 = _down(widths[0], widths[1])
        self.down23 = _down(widths[1], widths[2])
        if cross_stage:
            for level, width in enumerate(widths, start=1):
                self.add_module(f"csff_enc{level}", _conv(width, width, 1))
                self.add_module(f"csff_dec{level}", _conv(width, width, 1))

    def _level(self, level: int, x: Tensor, earlier: tuple[Levels, Levels] | None) -> Tensor:
        features = self.get_submodule(f"encoder_level{level}")(x)
        if earlier is not None:
            encoded, decoded = (levels[level - 1] for levels in earlier)
            features = features + self.get_submodule(f"csff_enc{level}")(encoded)
            features = features + self.get_submodule(f"csff_dec{level}")(decoded)
        return cast(Tensor, features)

    def forward(self, x: Tensor, earlier: tuple[Levels, Levels] | None = None) -> Levels:
        first = self._level(1, x, earlier)
        second = self._level(2, self.down12(first), earlier)
        return [first, second, self._level(3, self.down23(second), earlier)]


class _Decoder(nn.Module):
    def __init__(self, widths: tuple[int, int, int], act: nn.PReLU) -> None:
        super().__init__()
        self.decoder_level1 = _cabs(widths[0], 2, act)
        self.decoder_level2 = _cabs(widths[1], 2, act)
        self.decoder_level3 = _cabs(widths[2], 2, act)
        self.skip_attn1 = _CAB(widths[0], act)
        self.skip_attn2 = _CAB(widths[1], act)
        self.up21 = _up(widths[1], widths[0])
        self.up32 = _up(widths[2], widths[1])

    def forward(self, encoded: Levels) -> Levels:
        third = self.decoder_level3(encoded[2])
        second = self.decoder_level2(self.up32(third) + self.skip_attn2(encoded[1]))
        first = self.decoder_level1(self.up21(second) + self.skip_attn1(encoded[0]))
        return [first, second, third]


class _SAM(nn.Module):
    """Supervised attention: an image of this stage, and features gated by that image."""

    def __init__(self, channels: int, bands: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels, 1)
        self.conv2 = _conv(channels, bands, 1)
        self.conv3 = _conv(bands, channels, 1)

    def forward(self, features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        restored = self.conv2(features) + image
        gated = self.conv1(features) * torch.sigmoid(self.conv3(restored)) + features
        return gated, restored


class _ORB(nn.Module):
    """Original-resolution block: channel attention blocks and a convolution around a skip."""

    def __init__(self, channels: int, blocks: int, act: nn.PReLU) -> None:
        super().__init__()
        self.body = _cabs(channels, blocks, act).append(_conv(channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.body(x) + x)


class _ORSNet(nn.Module):
    """The third stage at full resolution, fed with every level of the second."""

    def __init__(
        self, widths: tuple[int, int, int], channels: int, blocks: int, act: nn.PReLU
    ) -> None:
        super().__init__()
        for level in (1, 2, 3):
            self.add_module(f"orb{level}", _ORB(channels, blocks, act))
        for side in ("enc", "dec"):
            self.add_module(f"up_{side}1", _up(widths[1], widths[0]))
            two = nn.Sequential(_up(widths[2], widths[1]), _up(widths[1], widths[0]))
            self.add_module(f"up_{side}2", two)
            for level in (1, 2, 3):
                self.add_module(f"conv_{side}{level}", _conv(widths[0], channels, 1))

    def _from(self, side: str, level: int, levels: Levels) -> Tensor:
        features = levels[level - 1]
        if level > 1:
            features = self.get_submodule(f"up_{side}{level - 1}")(features)
        return cast(Tensor, self.get_submodule(f"conv_{side}{level}")(features))

    def forward(self, x: Tensor, encoded: Levels, decoded: Levels) -> Tensor:
        for level in (1, 2, 3):
            x = self.get_submodule(f"orb{level}")(x)
            x = x + self._from("enc", level, encoded) + self._from("dec", level, decoded)
        return x


class MemoryNet(nn.Module):
    """Cloudy image in, clear image out, both in [0, 1]; any size.

    Parameters
    ----------
    bands
        Bands of the image.
    width
        Channels at full resolution, a multiple of 4.
    growth
        Channels added by each of the two halvings, a multiple of 4.
    extra
        Channels that the third stage has on top of ``width``, a multiple of 4.
    blocks
        Channel attention blocks in each of the third stage's three blocks.

    Notes
    -----
    The defaults are the published sizes: 3.64 million parameters. One scalar PReLU is shared by all
    channel attention blocks and has as many names in the state dict.
    """

    def __init__(
        self, bands: int, width: int = 40, growth: int = 20, extra: int = 16, blocks: int = 8
    ) -> None:
        super().__init__()
        act = nn.PReLU()
        widths = (width, width + growth, width + 2 * growth)
        self.shallow_feat1 = nn.Sequential(_conv(bands, width, 3), _CAB(width, act))
        self.shallow_feat2 = nn.Sequential(_conv(bands, width, 3), _CAB(width, act))
        self.shallow_feat3 = nn.Sequential(_conv(bands, width, 3), _CAB(width, act))
        self.stage1_encoder = _Encoder(widths, act, cross_stage=False)
        self.stage1_decoder = _Decoder(widths, act)
        self.stage2_encoder = _Encoder(widths, act, cross_stage=True)
        self.stage2_decoder = _Decoder(widths, act)
        self.stage3_orsnet = _ORSNet(widths, width + extra, blocks, act)
        self.sam12 = _SAM(width, bands)
        self.sam23 = _SAM(width, bands)
        self.concat12 = _conv(2 * width, width, 3)
        self.concat23 = _conv(2 * width, width + extra, 3)
        self.tail = _conv(width + extra, bands, 3)

    def stages(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the images of all stages, which training compares with the clear image.

        Parameters
        ----------
        y
            (N, C, H, W), cloudy, in [0, 1].

        Returns
        -------
        tuple of Tensor
            Third (final), second and first stage, each (N, C, H, W) and unclamped.
        """
        rows, cols = y.shape[-2:]
        images = self._stages(pad_to_multiple(y, _MULTIPLE))
        third, second, first = (image[..., :rows, :cols] for image in images)
        return third, second, first

    def _stages(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        halves = _stack_halves(y, dim=2)
        quarters = self.stage1_encoder(self.shallow_feat1(_stack_halves(halves, dim=3)))
        encoded = [_join_halves(level, dim=3) for level in quarters]
        decoded = self.stage1_decoder(encoded)
        features, first = self.sam12(decoded[0], halves)

        features = self.concat12(torch.cat([self.shallow_feat2(halves), features], dim=1))
        by_half = self.stage2_encoder(features, (encoded, decoded))
        encoded = [_join_halves(level, dim=2) for level in by_half]
        decoded = self.stage2_decoder(encoded)
        features, second = self.sam23(decoded[0], y)

        features = self.concat23(torch.cat([self.shallow_feat3(y), features], dim=1))
        third = self.tail(self.stage3_orsnet(features, encoded, decoded)) + y
        return third, second, _join_halves(first, dim=2)

    def forward(self, y: Tensor) -> Tensor:
        """(N, C, H, W), cloudy, to the clear image of that shape, both in [0, 1]."""
        return self.stages(y)[0].clamp(0.0, 1.0)
