"""Noise as a field over the scene: a pure function of (seed, band, row, column)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_TWICE = np.uint64(0x3C6EF372FE94F82A)
_TO_UNIT = 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64 bits so that neighbouring inputs give unrelated outputs (splitmix64)."""
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


def _band_keys(seed: int, bands: int) -> NDArray[np.uint64]:
    """Where the noise of each band begins."""
    with np.errstate(over="ignore"):
        base = _mix(np.array([seed % 2**64], dtype=np.uint64) + _GOLDEN)
        return _mix(base + np.arange(1, bands + 1, dtype=np.uint64) * _GOLDEN)


def _uniform(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Map 64 random bits to (0, 1]; never 0, whose logarithm does not exist."""
    return ((bits >> np.uint64(11)).astype(np.float64) + 1.0) * _TO_UNIT


def noise_window(
    seed: int, row: int, col: int, bands: int, height: int, width: int
) -> NDArray[np.float32]:
    """Standard normal noise under a window, the same however the scene was cut.

    Parameters
    ----------
    seed
        Any integer; its lowest 64 bits are used.
    row, col
        Top left corner on the grid the model works on.
    bands, height, width
        Shape of the window.

    Returns
    -------
    ndarray
        (bands, height, width), float32.

    Notes
    -----
    A stateless hash and Box-Muller. Jumping ahead in a generator's stream would not do: NumPy's
    normals reject some draws, so streams slip against each other.

    Examples
    --------
    >>> whole = noise_window(7, 0, 0, 1, 8, 8)
    >>> bool((whole[:, 2:5, 3:8] == noise_window(7, 2, 3, 1, 3, 5)).all())
    True
    """
    per_band = _band_keys(seed, bands)
    with np.errstate(over="ignore"):
        rows = np.arange(row, row + height, dtype=np.uint64)
        per_row = _mix(per_band[:, None] ^ (rows * _GOLDEN)[None])
        cols = np.arange(col, col + width, dtype=np.uint64)
        key = _mix(per_row[:, :, None] + (cols * _MIX_1)[None, None])
        first, second = _uniform(_mix(key + _GOLDEN)), _uniform(_mix(key + _TWICE))
    normal = np.sqrt(-2.0 * np.log(first)) * np.cos(2.0 * np.pi * second)
    return normal.astype(np.float32)


def noise_field(
    seed: int, bands: int, device: torch.device
) -> Callable[[Tensor, int, int], Tensor]:
    """Noise as :func:`noise_window`, made on a device, where it takes no time worth mentioning.

    There its logarithm and cosine may differ from NumPy's in the last bit.

    Returns
    -------
    Callable
        (corners, height, width) to (N, bands, height, width) float32; ``corners`` (N, 2) int64 on
        the device are the row and column of each window's top left. Only kernels of the device
        run, and the same ones whatever the corners.

    Examples
    --------
    >>> field = noise_field(7, 1, torch.device("cpu"))
    >>> made = field(torch.tensor([[2, 3]]), 3, 5).numpy()[0]
    >>> bool(np.allclose(made, noise_window(7, 2, 3, 1, 3, 5), atol=1e-6))
    True
    """
    per_band = torch.from_numpy(_band_keys(seed, bands).view(np.int64)).to(device)[None, :, None]

    def under(corners: Tensor, height: int, width: int) -> Tensor:
        # Torch multiplies and adds whole numbers modulo 2**64 whatever their sign.
        rows = corners[:, :1] + torch.arange(height, device=device)
        cols = corners[:, 1:] + torch.arange(width, device=device)
        per_row = _mixed(per_band ^ (rows * _signed(_GOLDEN))[:, None])
        key = _mixed(per_row[..., None] + (cols * _signed(_MIX_1))[:, None, None])
        first = _fraction(_mixed(key + _signed(_GOLDEN)))
        second = _fraction(_mixed(key + _signed(_TWICE)))
        normal = torch.sqrt(-2.0 * torch.log(first)) * torch.cos(2.0 * math.pi * second)
        return normal.float()

    return under


def _signed(value: np.uint64) -> int:
    """The same 64 bits as a whole number of Python that torch takes for int64."""
    return int(value.astype(np.int64))


def _shifted(z: Tensor, bits: int) -> Tensor:
    """A shift to the right that brings in zeros, which torch's of signed numbers does not."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mixed(z: Tensor) -> Tensor:
    """`_mix` on a tensor of int64."""
    z = (z ^ _shifted(z, 30)) * _signed(_MIX_1)
    z = (z ^ _shifted(z, 27)) * _signed(_MIX_2)
    return z ^ _shifted(z, 31)


def _fraction(bits: Tensor) -> Tensor:
    """`_uniform` on a tensor of int64."""
    return (_shifted(bits, 11).double() + 1.0) * _TO_UNIT
