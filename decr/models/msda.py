"""MSDA-CR, a reference model: a 3 x 6 grid of style-modulated dense blocks, and its discriminator.

Source: the reference model "mdsa" of Sui et al., TGRS 2024, after Yu et al., GRSL 2022. Parameter
names are the published ones, so published checkpoints load without a map; tensors that the
published network carries but never uses are carried here too and say so.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

_ROWS, _COLUMNS = 3, 6
_DENSE_LAYERS = 4


def _conv(cin: int, cout: int, kernel: int = 3, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel // 2)
    return nn.Conv2d(cin, cout, kernel, padding=padding, dilation=dilation)


class _DenseLayer(nn.Module):
    """Append ``growth`` new channels to the input."""

    def __init__(self, cin: int, growth: int) -> None:
        super().__init__()
        self.conv = _conv(cin, growth)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, F.relu(self.conv(x))], dim=1)


def _dense(channels: int, growth: int) -> nn.Sequential:
    return nn.Sequential(
        *(_DenseLayer(channels + k * growth, growth) for k in range(_DENSE_LAYERS))
    )


class _ChannelAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // 4
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.ca = nn.Sequential(
            _conv(channels, narrow, 1), nn.ReLU(), _conv(narrow, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x * self.ca(self.pool(x)))


class _RDB(nn.Module):
    """Dense block whose normalised half is modulated by style maps of its other half."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        half, dense = channels // 2, channels + _DENSE_LAYERS * growth
        self.residual_dense_layers = _dense(channels, growth)
        self.residual_dense_layers_no_style = _dense(channels, growth)
        self.conv_1x1_a = _conv(dense, channels, 1)
        self.conv_1x1_b = _conv(dense, channels, 1)
        self.norm, self.pool = nn.InstanceNorm2d(channels), nn.AdaptiveAvgPool2d(1)
        self.style = nn.Linear(half, 2 * channels)
        # 3x3 despite their names.
        self.conv_1x1_style = _conv(channels, half)
        self.conv_1x1_style_rt = _conv(channels, half)
        for name in ("conv_gamma_t", "conv_beta_t", "conv_gamma_r", "conv_beta_r"):
            self.add_module(name, _conv(half, channels))
        self.conv_att_A = _conv(channels, 1)
        self.conv_att_B = _conv(channels, 1)
        self.conv_1x1_final = _conv(2 * channels, channels, 1)
        self.ca = _ChannelAttention(channels)
        # Never used; published checkpoints have them.
        self.coefficient = nn.Parameter(torch.ones(1, 2))
        self.rt_residual_dense_layers = _dense(channels, growth)
        self.conv_1x1_c = _conv(dense, channels, 1)
        self.conv_a = _conv(channels, channels)
        self.conv_r = _conv(channels, 1)

    def _map(self, name: str, style: Tensor) -> Tensor:
        return cast(Tensor, self.get_submodule(name)(style))

    def _modulated(self, n: Tensor, o: Tensor) -> Tensor:
        """Mix three restylings of ``n`` as two attention maps say."""
        style_r, style_t = F.relu(self.conv_1x1_style(o)), F.relu(self.conv_1x1_style_rt(o))
        statistics = self.style(self.pool(style_r).flatten(1))[:, :, None, None]
        mean, deviation = statistics.chunk(2, dim=1)
        where_r, where_g = torch.sigmoid(self.conv_att_A(n)), torch.sigmoid(self.conv_att_B(n))
        whole = deviation * n + mean
        t = n * (1 + self._map("conv_gamma_t", style_t)) + self._map("conv_beta_t", style_t)
        r = n * (1 + self._map("conv_gamma_r", style_r)) + self._map("conv_beta_r", style_r)
        mixed = t * (1 - where_g) + whole * where_g
        return cast(Tensor, r * where_r + mixed * (1 - where_r))

    def forward(self, x: Tensor) -> Tensor:
        o = self.conv_1x1_a(self.residual_dense_layers(x)) + x
        n = self.norm(x)
        n = self.norm(n + self.conv_1x1_b(self.residual_dense_layers_no_style(n)))
        z = self.conv_1x1_final(torch.cat([o, self._modulated(n, o)], dim=1))
        return cast(Tensor, self.ca(z) + x)


class _Down(nn.Module):
    """Halve the resolution (rounding up) and double the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.conv2 = _conv(channels, 2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))))


class _Up(nn.Module):
    """Return to the resolution of ``like`` and halve the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(channels, channels, 3, stride=2, padding=1)
        self.conv = _conv(channels, channels // 2)

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        up = self.deconv(x, output_size=like.shape[-2:])
        return F.relu(self.conv(F.relu(up)))


class MSDA(nn.Module):
    """Cloudy image in, clear image out, both in [0, 1]; any size from 5 x 5 pixels.

    Parameters
    ----------
    bands
        Bands of the image.
    width
        Channels of the first row, a multiple of 4; the others have twice and four times as many.
    growth
        Channels that each dense layer appends.

    Notes
    -----
    The defaults are the published sizes: 3.91 million parameters, a quarter of which have no
    influence (the published network's deformable convolution is not executed).
    """

    def __init__(self, bands: int, width: int = 16, growth: int = 16) -> None:
        super().__init__()
        self.widths = tuple(width * 2**row for row in range(_ROWS))
        bottom = self.widths[-1]
        self.coefficient = nn.Parameter(torch.ones(_ROWS, _COLUMNS, 2, bottom))
        self.rdb_module = nn.ModuleDict(
            {
                f"{i}_{j}": _RDB(channels, growth)
                for i, channels in enumerate(self.widths)
                for j in range(_COLUMNS - 1)
            }
        )
        self.upsample_module = nn.ModuleDict(
            {f"{i}_{j}": _Up(self.widths[i + 1]) for i in (1, 0) for j in (3, 4, 5)}
        )
        self.downsample_module = nn.ModuleDict(
            {f"{i}_{j}": _Down(self.widths[i]) for i in (0, 1) for j in (0, 1, 2)}
        )
        self.conv_in = _conv(bands, width)
        self.conv_out = _conv(width, bands)
        self.rdb_in = _RDB(width, growth)
        self.rdb_out = _RDB(width, growth)
        self.conv1 = _conv(bottom, bottom)
        for index, dilation in enumerate((2, 4, 8, 16), start=2):
            self.add_module(f"conv{index}_atrous", _conv(bottom, bottom, dilation=dilation))
        self.conv6 = _conv(bottom, bottom)
        # Never used; published checkpoints have them.
        self.offset_conv1 = _conv(bottom, bottom // 2)
        self.offset_conv2 = _conv(bottom // 2, bottom)
        self.upsamle1 = _Up(bottom)
        self.upsamle2 = _Up(bottom // 2)
        self.rdb_2_1 = _RDB(2 * width, growth)
        self.rdb_1_1 = _RDB(width, growth)

    def _mix(self, i: int, j: int, along: Tensor, across: Tensor) -> Tensor:
        """Weigh what comes along the row against what comes from the row above or below."""
        channels = self.widths[i]
        a: Tensor = self.coefficient[i, j, 0, :channels, None, None]
        b: Tensor = self.coefficient[i, j, 1, :channels, None, None]
        return a * along + b * across

    def _grid(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the grid; return the last column, top row first."""
        rdb, down, up = self.rdb_module, self.downsample_module, self.upsample_module
        at = {(0, 0): x}
        for j in (1, 2):
            at[0, j] = rdb[f"0_{j - 1}"](at[0, j - 1])
        for i in (1, 2):
            at[i, 0] = down[f"{i - 1}_0"](at[i - 1, 0])
            for j in (1, 2):
                along, across = (
                    rdb[f"{i}_{j - 1}"](at[i, j - 1]),
                    down[f"{i - 1}_{j}"](at[i - 1, j]),
                )
                at[i, j] = self._mix(i, j, along, across)
        for j in (3, 4, 5):
            at[2, j] = rdb[f"2_{j - 1}"](at[2, j - 1])
            for i in (1, 0):
                along = rdb[f"{i}_{j - 1}"](at[i, j - 1])
                at[i, j] = self._mix(i, j, along, up[f"{i}_{j}"](at[i + 1, j], along))
        return at[0, 5], at[1, 5], at[2, 5]

    def _context(self, x: Tensor) -> Tensor:
        """Widen the view of the coarsest features by dilated convolutions."""
        names = ("conv1", *(f"conv{k}_atrous" for k in (2, 3, 4, 5)), "conv6")
        for name in names:
            x = F.relu(self.get_submodule(name)(x))
        return x

    def _fuse(self, i: int, along: Tensor, across: Tensor) -> Tensor:
        """Weigh by the first column's coefficients, which the grid leaves free."""
        c = self.widths[i]
        weights = self.coefficient[i, 0, 0, :, None, None]
        return weights[:c] * along + weights[c : 2 * c] * across

    def forward(self, y: Tensor) -> Tensor:
        """(N, C, H, W), cloudy, to the clear image of that shape, both in [0, 1]."""
        top, middle, bottom = self._grid(self.rdb_in(self.conv_in(y)))
        top = self.rdb_out(top)
        f = self._fuse(1, middle, self.upsamle1(self._context(bottom), middle))
        f = self._fuse(0, top, self.upsamle2(self.rdb_2_1(f), top))
        return torch.sigmoid(self.conv_out(self.rdb_1_1(f)))


class _SelfAttention(nn.Module):
    """Attention over all pixels, faded in by ``gamma`` (Zhang et al., ICML 2019; unscaled)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.query_conv = _conv(channels, channels // 8, 1)
        self.key_conv = _conv(channels, channels // 8, 1)
        self.value_conv = _conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            conv(x).flatten(2) for conv in (self.query_conv, self.key_conv, self.value_conv)
        )
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        attended: Tensor = (value @ weights.transpose(1, 2)).reshape(x.shape)
        return self.gamma * attended + x


class MSDADiscriminator(nn.Module):
    """Score images for the adversarial loss of MSDA-CR; training only.

    Parameters
    ----------
    bands
        Bands of the image.
    width
        Channels of the first layer, a multiple of 2; the widest layers have four times as many.

    Notes
    -----
    Weights are spectrally normalised: each call in training mode improves the estimate of their
    norms by one power iteration.
    """

    def __init__(self, bands: int, width: int = 64) -> None:
        super().__init__()
        layers = [self._layer(bands, width), self._layer(width, 2 * width)]
        layers += [self._layer(k * width, 4 * width) for k in (2, 4, 4, 4)]
        self.layer1_new, self.layer2, self.layer3, self.layer4, self.layer5, self.layer6 = layers
        self.att = _SelfAttention(4 * width)

    @staticmethod
    def _layer(cin: int, cout: int) -> nn.Sequential:
        conv = spectral_norm(nn.Conv2d(cin, cout, 5, stride=2, padding=2))
        return nn.Sequential(conv, nn.LeakyReLU(0.2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), in [0, 1], to scores, unbounded; higher means more real.

        Their shape is (N, 4 * width * ceil(H / 64) * ceil(W / 64)).
        """
        for layer in (self.layer1_new, self.layer2, self.layer3, self.layer4, self.layer5):
            x = layer(x)
        out: Tensor = self.layer6(self.att(x))
        return out.flatten(1)
