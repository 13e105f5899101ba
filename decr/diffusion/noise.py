"""Noise as a field over the scene: a pure function of (seed, band, row, column)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_TO_UNIT = 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64 bits so that neighbouring inputs give unrelated outputs (splitmix64)."""
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


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
    with np.errstate(over="ignore"):
        base = _mix(np.array([seed % 2**64], dtype=np.uint64) + _GOLDEN)
        per_band = _mix(base + np.arange(1, bands + 1, dtype=np.uint64) * _GOLDEN)
        rows = np.arange(row, row + height, dtype=np.uint64)
        per_row = _mix(per_band[:, None] ^ (rows * _GOLDEN)[None])
        cols = np.arange(col, col + width, dtype=np.uint64)
        key = _mix(per_row[:, :, None] + (cols * _MIX_1)[None, None])
        first, second = _uniform(_mix(key + _GOLDEN)), _uniform(_mix(key + _GOLDEN * np.uint64(2)))
    normal = np.sqrt(-2.0 * np.log(first)) * np.cos(2.0 * np.pi * second)
    return normal.astype(np.float32)
