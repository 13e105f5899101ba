"""Sums and least numbers of cells of k x k pixels; at the far edge they may have fewer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def cell_least(plane: NDArray[Any], k: int) -> NDArray[Any]:
    """Smallest number of k x k cells of an (H, W) array; far edge cells may be partial."""
    return _reduced(plane, k, np.minimum)


def cell_sums(plane: NDArray[Any], k: int) -> NDArray[Any]:
    """Sum k x k cells of an (H, W) array; far edge cells may be partial. Exact for integers."""
    return _reduced(plane, k, np.add, np.float64 if plane.dtype.kind == "f" else np.int64)


def _reduced(plane: NDArray[Any], k: int, join: np.ufunc, dtype: Any = None) -> NDArray[Any]:
    """Rows of each cell joined, then columns; `numpy.ufunc.reduceat` takes 10 times as long."""
    rows: NDArray[Any] = plane[::k].astype(dtype or plane.dtype)
    for offset in range(1, k):
        part = plane[offset::k]
        join(rows[: len(part)], part, out=rows[: len(part)])
    cells = rows[:, ::k].copy()
    for offset in range(1, k):
        part = rows[:, offset::k]
        join(cells[:, : part.shape[1]], part, out=cells[:, : part.shape[1]])
    return cells
