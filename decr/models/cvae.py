"""CVAE, a reference model: a transformer sums up the image, convolutions draw what to add to it.

Source: the baseline CVAE of Sui et al., TGRS 2024, after Ding et al., ACCV 2022. Parameter names
are the published ones, so published checkpoints load without a map. As published the decoder knows
3 bands only; with 4 its layers follow the same rule.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decr.models.padding import pad_to_multiple

SIDE = 256
"""Rows and columns of the images inside the network, pixels: positions are learned."""

_PATCH = 16
_TOKENS_PER_SIDE = SIDE // _PATCH
LAYERS, HEADS = 4, 8
_REDUCTION = 4
"""How much narrower the bottleneck of channel attention is."""

_STAGES = (1, 2, 3, 4)
"""Decoder stages that end in a doubling of the resolution, from 16 to 256 pixels."""

Distribution = tuple[Tensor, Tensor]
"""Mean and logarithm of the variance, each (N, latent)."""


class _PatchEmbedding(nn.Module):
    """Image to tokens: one for the mean, one for the variance, then the patches row by row."""

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.position_embeddings = nn.Parameter(torch.randn(1, 2 + _TOKENS_PER_SIDE**2, width))
        self.mu_tokens = nn.Parameter(torch.randn(1, 1, width))
        self.log_var_tokens = nn.Parameter(torch.randn(1, 1, width))
        self.patch_embedding = nn.Conv2d(bands, width, _PATCH, stride=_PATCH)

    def forward(self, y: Tensor) -> Tensor:
        patches = self.patch_embedding(y).flatten(2).transpose(1, 2)
        own = (token.expand(len(y), -1, -1) for token in (self.mu_tokens, self.log_var_tokens))
        return torch.cat([*own, patches], dim=1) + self.position_embeddings


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        # Queries, keys and values are cut first, heads second.
        parts = self.qkv(x).reshape(n, tokens, 3, HEADS, width // HEADS)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        h = F.scaled_dot_product_attention(q, k, v)
        return cast(Tensor, self.out(h.transpose(1, 2).reshape(n, tokens, width)))


class _Layer(nn.Module):
    """Attention and a perceptron, each normalised before and around a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn_norm = nn.LayerNorm(width)
        self.attn = _Attention(width)
        self.mlp_norm = nn.LayerNorm(width)
        fc1, fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.mlp = nn.Sequential(OrderedDict(fc1=fc1, gelu=nn.GELU(), fc2=fc2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.attn_norm(x))
        return cast(Tensor, x + self.mlp(self.mlp_norm(x)))


class _Encoder(nn.Module):
    """Image to a normal distribution of latent vectors."""

    def __init__(self, bands: int, width: int, latent: int) -> None:
        super().__init__()
        self.patch_embedding = _PatchEmbedding(bands, width)
        layers = nn.Sequential(*(_Layer(width) for _ in range(LAYERS)))
        self.encoder = nn.Sequential(OrderedDict(layers=layers, encoder_norm=nn.LayerNorm(width)))
        self.mu = nn.Linear(width, latent)
        self.log_var = nn.Linear(width, latent)

    def forward(self, y: Tensor) -> Distribution:
        tokens = self.encoder(self.patch_embedding(y))
        return self.mu(tokens[:, 0]), self.log_var(tokens[:, 1])


class _ChannelAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // _REDUCTION
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.channel_attn = nn.Sequential(
            nn.Conv2d(channels, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x * self.channel_attn(self.pool(x)))


def _convs(*channels: int) -> nn.Sequential:
    """Convolutions from each number of channels to the next, each with a PReLU per channel."""
    layers: list[nn.Module] = []
    for cin, cout in pairwise(channels):
        layers += [nn.Conv2d(cin, cout, 3, padding=1), nn.PReLU(cout)]
    return nn.Sequential(*layers)


class _Decoder(nn.Module):
    """Latent vector to what is added to the image, which every stage is shown at its resolution."""

    def __init__(self, bands: int, width: int, latent: int) -> None:
        super().__init__()
        self.bands = bands
        self.fc1 = nn.Linear(latent, width)
        self.fc2 = nn.Linear(width, bands * _TOKENS_PER_SIDE**2)
        tiny, small, quarter, half = width // 16, width // 8, width // 4, width // 2
        self.layer1 = _convs(2 * bands, tiny, small, small)
        self.layer2 = _convs(small + bands, half, width)
        self.layer3 = _convs(width + bands, half, quarter)
        self.layer4 = _convs(quarter + bands, small, tiny)
        self.layer5 = _convs(tiny + bands, quarter, half).append(
            nn.Conv2d(half, bands, 3, padding=1)
        )
        for stage, channels in zip(_STAGES, (small, width, quarter, tiny), strict=True):
            up = nn.ConvTranspose2d(channels, channels, 3, 2, padding=1, output_padding=1)
            self.add_module(f"attn_layer{stage}", _ChannelAttention(channels))
            self.add_module(f"up{stage}", up)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        x = self.fc2(self.fc1(z))
        x = x.reshape(len(z), self.bands, _TOKENS_PER_SIDE, _TOKENS_PER_SIDE)
        for stage in _STAGES:
            shown = F.interpolate(y, size=x.shape[-2:], mode="bicubic", align_corners=True)
            x = torch.cat([x, shown], dim=1)
            for name in ("layer", "attn_layer", "up"):
                x = self.get_submodule(f"{name}{stage}")(x)
        return torch.tanh(self.layer5(torch.cat([x, y], dim=1)))


class CVAE(nn.Module):
    """Cloudy image in, clear image out, both in [0, 1]; sides up to 256 pixels.

    Parameters
    ----------
    bands
        Bands of the image.
    width
        Size of the tokens and channels of the widest convolution, a multiple of 64.
    latent
        Numbers that sum up an image, 1 to ``width``.

    Notes
    -----
    The defaults are the published sizes: 15.4 million parameters for 3 bands. The published
    network draws a sample even at inference, from no particular seed; this one draws the most
    likely image.
    """

    def __init__(self, bands: int, width: int = 512, latent: int = 50) -> None:
        super().__init__()
        if width < 64 or width % 64:
            raise ValueError(f"width must be a multiple of 64, not {width}")
        if not 1 <= latent <= width:
            raise ValueError(f"latent must lie in 1..{width}, not {latent}")
        self.encoder = _Encoder(bands, width, latent)
        self.decoder = _Decoder(bands, width, latent)

    def with_distribution(
        self, y: Tensor, noise: Tensor | None = None
    ) -> tuple[Distribution, Tensor]:
        """Return the distribution of latent vectors and the image of one of them; for training.

        Parameters
        ----------
        y
            (N, C, H, W), cloudy, in [0, 1]; H and W at most 256.
        noise
            (N, latent) or (1, latent), standard normal: how many standard deviations the latent
            vector departs from its mean. None takes the mean itself.

        Returns
        -------
        tuple
            Mean and logarithm of the variance, each (N, latent); and the image, (N, C, H, W),
            which lies within 1 of ``y``, not clamped.

        Raises
        ------
        ValueError
            If the image is larger than 256 x 256 pixels.
        """
        rows, cols = y.shape[-2:]
        if rows > SIDE or cols > SIDE:
            raise ValueError(
                f"a CVAE takes images of at most {SIDE} x {SIDE} pixels, not {rows} x {cols}; "
                f"cut them into tiles of {SIDE} pixels"
            )
        padded = pad_to_multiple(y, SIDE)
        mu, log_var = self.encoder(padded)
        z = mu if noise is None else mu + torch.exp(0.5 * log_var) * noise
        change = self.decoder(z, padded)[..., :rows, :cols]
        return (mu, log_var), y + change

    def forward(self, y: Tensor) -> Tensor:
        """(N, C, H, W), cloudy, to the clear image of that shape, both in [0, 1].

        Raises
        ------
        ValueError
            If the image is larger than 256 x 256 pixels.
        """
        return self.with_distribution(y)[1].clamp(0.0, 1.0)
