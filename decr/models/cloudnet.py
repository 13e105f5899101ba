"""Cloud-Net, a learned cloud detector: image in, probability of cloud per pixel out.

Source: Mohajerani & Saeedi, IGARSS 2019, re-implemented from a description of the architecture.
Names of parameters are our own; ``state_dict_from_keras`` reads arrays of the published layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from decr.errors import BundleError
from decr.models.padding import pad_to_multiple

_MULTIPLE = 32
_LEVELS = 5
"""Levels with a skip: four contracting blocks and the improved block."""


class _ConvNorm(nn.Module):
    """Convolution, batch normalisation with Keras' constants, ReLU."""

    def __init__(self, cin: int, cout: int, kernel: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(cout, eps=1e-3, momentum=0.01)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.dropout(self.conv(x))))


class _Contract(nn.Module):
    """Double the channels, beside a shortcut that keeps the input as its first half."""

    def __init__(self, cin: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.main1 = _ConvNorm(cin, 2 * cin, 3)
        self.main2 = _ConvNorm(2 * cin, 2 * cin, 3, dropout)
        self.side = _ConvNorm(cin, cin, 1)

    def forward(self, x: Tensor) -> Tensor:
        side = torch.cat([x, self.side(x)], dim=1)
        return F.relu(self.main2(self.main1(x)) + side)


class _ImprovedContract(nn.Module):
    """A contracting block with a third convolution and a second shortcut around it."""

    def __init__(self, cin: int) -> None:
        super().__init__()
        self.main1 = _ConvNorm(cin, 2 * cin, 3)
        self.main2 = _ConvNorm(2 * cin, 2 * cin, 3)
        self.main3 = _ConvNorm(2 * cin, 2 * cin, 3)
        self.side = _ConvNorm(cin, cin, 1)
        self.extra = _ConvNorm(2 * cin, 2 * cin, 1)

    def forward(self, x: Tensor) -> Tensor:
        side = torch.cat([x, self.side(x)], dim=1)
        middle = self.main2(self.main1(x))
        return F.relu(self.main3(middle) + side + self.extra(middle))


class _Expand(nn.Module):
    """Double the resolution, halve the channels, and take up the contracting features."""

    def __init__(self, cout: int, convolutions: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2 * cout, cout, 2, stride=2)
        self.main = nn.Sequential(
            *(_ConvNorm(cout if k else 2 * cout, cout, 3) for k in range(convolutions))
        )

    def forward(self, x: Tensor, features: list[Tensor]) -> Tensor:
        """``features``: contracting outputs down to this level, shallowest first."""
        up, here = self.up(x), features[-1]
        main = self.main(torch.cat([up, _gathered(features)], dim=1))
        return F.relu(main + here + up)


def _gathered(features: list[Tensor]) -> Tensor:
    """Add up all levels, the shallower ones pooled and repeated to the deepest one's shape."""
    total = features[-1]
    if len(features) == 1:
        return total
    for depth, shallow in enumerate(reversed(features[:-1]), start=1):
        times = 2**depth
        total = total + F.max_pool2d(shallow, times).repeat(1, times, 1, 1)
    return F.relu(total)


class CloudNet(nn.Module):
    """Probability of cloud from an image in [0, 1]; any size.

    Parameters
    ----------
    bands
        Bands of the image.
    width
        Channels of the first convolution; level ``k`` has ``width * 2**k``.
    darkest
        Whether the image's bands come twice: the means of cells of a finer image, then their
        darkest values. Not published: shadows of trees and houses are black where the air is clear.

    Notes
    -----
    The defaults are the published sizes: 36.4 million parameters. The number of parameters goes
    with the square of ``width``.
    """

    def __init__(self, bands: int, width: int = 16, darkest: bool = False) -> None:
        super().__init__()
        self.darkest = bool(darkest)
        self.stem = nn.Conv2d((1 + self.darkest) * bands, width, 3, padding=1)
        blocks: list[nn.Module] = [_Contract(width * 2**k) for k in range(_LEVELS - 1)]
        self.contract = nn.ModuleList([*blocks, _ImprovedContract(width * 2 ** (_LEVELS - 1))])
        self.bridge = _Contract(width * 2**_LEVELS, dropout=0.15)
        self.expand = nn.ModuleList(
            _Expand(width * 2**level, 3 if level == _LEVELS else 2)
            for level in range(_LEVELS, 0, -1)
        )
        self.head = nn.Conv2d(2 * width, 1, 1)

    def logits(self, x: Tensor) -> Tensor:
        """Return the log odds of cloud, for training.

        Parameters
        ----------
        x
            (N, C, H, W), in [0, 1]; C is twice the bands if it sees the ``darkest``, too.

        Returns
        -------
        Tensor
            (N, 1, H, W), unbounded.
        """
        rows, cols = x.shape[-2:]
        x = F.relu(self.stem(pad_to_multiple(x, _MULTIPLE)))
        features: list[Tensor] = []
        for block in self.contract:
            features.append(block(x))
            x = F.max_pool2d(features[-1], 2)
        x = self.bridge(x)
        for block in self.expand:
            x = block(x, features)
            features.pop()
        return cast(Tensor, self.head(x))[..., :rows, :cols]

    def forward(self, x: Tensor) -> Tensor:
        """As `logits`, to the probability of cloud, (N, 1, H, W), in (0, 1)."""
        return torch.sigmoid(self.logits(x))


def _normalised_layers() -> Iterator[str]:
    """Prefixes of the convolutions with batch normalisation, in Keras' order of construction."""
    for k in range(_LEVELS - 1):
        yield from (f"contract.{k}.{part}" for part in ("main1", "main2", "side"))
    improved = ("main1", "main2", "main3", "side", "extra")
    yield from (f"contract.{_LEVELS - 1}.{part}" for part in improved)
    yield from (f"bridge.{part}" for part in ("main1", "main2", "side"))
    for step in range(_LEVELS):
        yield from (f"expand.{step}.main.{k}" for k in range(3 if step == 0 else 2))


def keras_names() -> dict[str, str]:
    """Map each Keras array ("layer/leaf") to the name of our parameter or buffer.

    Layers are those of the published network numbered in order of construction: ``conv2d_1..33``,
    ``batch_normalization_1..31``, ``conv2d_transpose_1..5``; 200 arrays, whatever the width.
    """
    leaves = {"kernel": "weight", "bias": "bias"}
    norm_leaves = {
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    }
    normalised = list(_normalised_layers())
    convs = ["stem", *(f"{prefix}.conv" for prefix in normalised), "head"]
    names: dict[str, str] = {}
    for number, prefix in enumerate(convs, start=1):
        names |= {f"conv2d_{number}/{k}": f"{prefix}.{ours}" for k, ours in leaves.items()}
    for number, prefix in enumerate(normalised, start=1):
        layer = f"batch_normalization_{number}"
        names |= {f"{layer}/{k}": f"{prefix}.norm.{ours}" for k, ours in norm_leaves.items()}
    for step in range(_LEVELS):
        layer = f"conv2d_transpose_{step + 1}"
        names |= {f"{layer}/{k}": f"expand.{step}.up.{ours}" for k, ours in leaves.items()}
    return names


def state_dict_from_keras(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    """Convert arrays of a Keras Cloud-Net to the state dict of :class:`CloudNet`.

    Parameters
    ----------
    arrays
        Keyed as in :func:`keras_names`. Kernels are (kh, kw, in, out), those of transposed
        convolutions (kh, kw, out, in).

    Returns
    -------
    dict of str to Tensor
        Ready for strict loading, float32.

    Raises
    ------
    BundleError
        If an array is missing or one is not known.
    """
    names = keras_names()
    if missing := sorted(names.keys() - arrays.keys()):
        raise BundleError(
            f"not a Cloud-Net: {len(missing)} of {len(names)} arrays are missing, "
            f"first {missing[0]!r}; export every layer of the Keras model"
        )
    if unknown := sorted(arrays.keys() - names.keys()):
        raise BundleError(
            f"not a Cloud-Net: {len(unknown)} arrays are unknown, first {unknown[0]!r}; "
            f"number the layers in order of construction, conv2d_1 to conv2d_33"
        )
    state: dict[str, Tensor] = {}
    for key, name in names.items():
        array = np.asarray(arrays[key], dtype=np.float32)
        if key.endswith("/kernel"):
            # Both layouts need the same turn: torch swaps in and out for transposed ones, too.
            array = array.transpose(3, 2, 0, 1)
        state[name] = torch.from_numpy(np.array(array, order="C"))
        if name.endswith("running_var"):
            counter = name.removesuffix("running_var") + "num_batches_tracked"
            state[counter] = torch.zeros((), dtype=torch.long)
    return state
