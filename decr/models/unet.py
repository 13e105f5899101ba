"""The ADM-style U-Net that CNP, WA and the compact reference model are sizes of.

Source: Sui et al., TGRS 2024, Table VI; architecture of Dhariwal & Nichol 2021. Parameter names are
the published ones, so published checkpoints load without a map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decr.models.attention import attend
from decr.models.fused import norm_silu


@dataclass(frozen=True, slots=True)
class UNetSize:
    """Everything that distinguishes one U-Net from another.

    Attributes
    ----------
    in_channels, out_channels
        Channels of the concatenated input and of the output.
    width
        Channels of the first level; level ``k`` has ``width * multipliers[k]``.
    multipliers
        One per level; each level but the last halves the resolution once.
    blocks
        Residual blocks per level on the way down (one more on the way up).
    attention_factors
        Down-sampling factors at which residual blocks are followed by attention.
    heads
        Attention heads.
    scale_shift
        Whether the time embedding scales and shifts (CNP) or is added (WA).
    timed
        Whether there is a time embedding at all (the compact reference model has none).
    bilinear
        Whether resolution is doubled bilinearly instead of by the nearest neighbour, as published.
        Repeated pixels leave a grid of 2, 4, 8 px in what the network makes: unseen, but measurable
        where tiles meet.
    """

    in_channels: int
    out_channels: int
    width: int
    multipliers: tuple[int, ...]
    blocks: int = 2
    attention_factors: tuple[int, ...] = ()
    heads: int = 1
    scale_shift: bool = False
    timed: bool = True
    bilinear: bool = False


def time_embedding(t: Tensor, width: int) -> Tensor:
    """(N,) timesteps on the original chain to (N, width) float32; ``width`` is even.

    Cosines come first, then sines, of geometrically spaced frequencies.
    """
    half = width // 2
    frequencies = torch.exp(
        -math.log(10_000.0) * torch.arange(half, dtype=torch.float32, device=t.device) / half
    )
    angles = t.float()[:, None] * frequencies[None]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm of 32 groups as published; of 8 or 4 where a compact width is too narrow for that.

    A group of one channel would erase the brightness of that channel.
    """
    groups = (
        32
        if channels % 32 == 0 and channels >= 64
        else 8
        if channels % 16 == 0 and channels > 16
        else 4
    )
    return nn.GroupNorm(groups, channels, eps=1e-5)


def _zeroed(conv: nn.Conv2d | nn.Conv1d) -> nn.Conv2d | nn.Conv1d:
    """Start a residual branch at zero, so that a new network is the identity."""
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


class ResBlock(nn.Module):
    """Two normalised 3x3 convolutions around the time embedding, with a skip."""

    def __init__(self, cin: int, cout: int, embedding: int, scale_shift: bool) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.in_layers = nn.Sequential(
            group_norm(cin), nn.SiLU(), nn.Conv2d(cin, cout, 3, padding=1)
        )
        if embedding:
            self.emb_layers = nn.Sequential(
                nn.SiLU(), nn.Linear(embedding, 2 * cout if scale_shift else cout)
            )
        self.timed = embedding > 0
        self.out_layers = nn.Sequential(
            group_norm(cout),
            nn.SiLU(),
            nn.Dropout(0.0),
            _zeroed(nn.Conv2d(cout, cout, 3, padding=1)),
        )
        self.skip_connection = nn.Identity() if cin == cout else nn.Conv2d(cin, cout, 1)

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        # SiLU and Dropout(0) in the two sequences only keep the published numbering of names.
        h = self.in_layers[2](norm_silu(x, cast(nn.GroupNorm, self.in_layers[0])))
        modulation = None
        if self.timed:
            assert embedding is not None
            e = self.emb_layers(embedding)
            if self.scale_shift:
                modulation = e
            else:
                h += e.to(h.dtype)[:, :, None, None]
        h = norm_silu(h, cast(nn.GroupNorm, self.out_layers[0]), modulation)
        h = cast(Tensor, self.out_layers[3](h))
        # Adding in place suits gradients too: a convolution's backward needs no output.
        h += self.skip_connection(x)
        return h


class Pointwise(nn.Conv1d):
    """A convolution of one token: its weights, over (N, tokens, channels) as maps lie in memory."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight[:, :, 0], self.bias)


class AttentionBlock(nn.Module):
    """Self-attention over all pixels; heads are split before queries, keys and values."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = group_norm(channels)
        self.qkv = Pointwise(channels, 3 * channels, 1)
        self.proj_out = _zeroed(Pointwise(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        n, c, rows, cols = x.shape
        tokens = self.norm(x).permute(0, 2, 3, 1).reshape(n, rows * cols, c)
        qkv = self.qkv(tokens)
        # The published layout cuts heads first, then queries, keys and values.
        parts = qkv.view(n, rows * cols, self.heads, 3, c // self.heads).transpose(1, 2)
        h = attend(*parts.unbind(3))
        h = self.proj_out(h.transpose(1, 2).reshape(n, rows * cols, c))
        h = cast(Tensor, h.view(n, rows, cols, c).permute(0, 3, 1, 2))
        h += x
        return h


class Downsample(nn.Module):
    """Halve the resolution with a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.op(x))


class Upsample(nn.Module):
    """Double the resolution, by the nearest neighbour or bilinearly, then a convolution."""

    def __init__(self, channels: int, bilinear: bool) -> None:
        super().__init__()
        self.mode = "bilinear" if bilinear else "nearest"
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(F.interpolate(x, scale_factor=2, mode=self.mode)))


class TimedSequence(nn.Sequential):
    """Modules in a row, of which only residual blocks are told the time."""

    def run(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        """Pass ``x`` through every module."""
        for module in self:
            x = module(x, embedding) if isinstance(module, ResBlock) else module(x)
        return x


class UNet(nn.Module):
    """Encoder, middle and decoder with skips, built from a :class:`UNetSize`.

    The sides of the input must be multiples of ``self.multiple``.
    """

    def __init__(self, size: UNetSize) -> None:
        super().__init__()
        self.size = size
        self.multiple = 2 ** (len(size.multipliers) - 1)
        embedding = 4 * size.width if size.timed else 0
        if size.timed:
            self.time_embed = nn.Sequential(
                nn.Linear(size.width, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
            )
        first = TimedSequence(nn.Conv2d(size.in_channels, size.width, 3, padding=1))
        self.input_blocks = nn.ModuleList([first])
        skips, channels = self._build_down(size, embedding)
        self.middle_block = TimedSequence(
            ResBlock(channels, channels, embedding, size.scale_shift),
            AttentionBlock(channels, size.heads),
            ResBlock(channels, channels, embedding, size.scale_shift),
        )
        self.output_blocks = nn.ModuleList()
        channels = self._build_up(size, embedding, skips, channels)
        self.out = nn.Sequential(
            group_norm(channels),
            nn.SiLU(),
            _zeroed(nn.Conv2d(channels, size.out_channels, 3, padding=1)),
        )

    def _build_down(self, size: UNetSize, embedding: int) -> tuple[list[int], int]:
        channels, skips, factor = size.width, [size.width], 1
        for level, multiplier in enumerate(size.multipliers):
            for _ in range(size.blocks):
                cout = size.width * multiplier
                stage = TimedSequence(ResBlock(channels, cout, embedding, size.scale_shift))
                if factor in size.attention_factors:
                    stage.append(AttentionBlock(cout, size.heads))
                self.input_blocks.append(stage)
                channels = cout
                skips.append(channels)
            if level < len(size.multipliers) - 1:
                self.input_blocks.append(TimedSequence(Downsample(channels)))
                skips.append(channels)
                factor *= 2
        return skips, channels

    def _build_up(self, size: UNetSize, embedding: int, skips: list[int], channels: int) -> int:
        factor = self.multiple
        for level in reversed(range(len(size.multipliers))):
            for index in range(size.blocks + 1):
                cout = size.width * size.multipliers[level]
                stage = TimedSequence(
                    ResBlock(channels + skips.pop(), cout, embedding, size.scale_shift)
                )
                if factor in size.attention_factors:
                    stage.append(AttentionBlock(cout, size.heads))
                channels = cout
                if level and index == size.blocks:
                    stage.append(Upsample(channels, size.bilinear))
                    factor //= 2
                self.output_blocks.append(stage)
        return channels

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """Run the network.

        Parameters
        ----------
        x
            (N, in_channels, H, W) with sides that are multiples of ``self.multiple``.
        t
            (N,) integer timesteps on the original chain; None for an untimed network.

        Returns
        -------
        Tensor
            (N, out_channels, H, W), unbounded.
        """
        embedding = None
        if self.size.timed:
            assert t is not None
            embedding = self.time_embed(time_embedding(t, self.size.width))
        skips: list[Tensor] = []
        for stage in self.input_blocks:
            x = cast(TimedSequence, stage).run(x, embedding)
            skips.append(x)
        x = self.middle_block.run(x, embedding)
        for stage in self.output_blocks:
            x = cast(TimedSequence, stage).run(torch.cat([x, skips.pop()], dim=1), embedding)
        return cast(Tensor, self.out[2](norm_silu(x, cast(nn.GroupNorm, self.out[0]))))
