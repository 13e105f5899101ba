"""Sums and least numbers of cells of k x k pixels; at the far edge they may have fewer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def cell_least(plane: NDArray[Any], k: int) -> NDArray[Any]:
    """Smallest number of k x k cells of an (H, W) array; far edge cells may be partial."""
    rows: NDArray[Any] = plane[::k].copy()
    for offset in range(1, k):
        part = plane[offset::k]
        np.minimum(rows[: len(part)], part, out=rows[: len(part)])
    cells = rows[:, ::k].copy()
    for offset in range(1, k):
        part = rows[:, offset::k]
        np.minimum(cells[:, : part.shape[1]], part, out=cells[:, : part.shape[1]])
    return cells


def cell_sums(plane: NDArray[Any], k: int) -> NDArray[Any]:
    """Sum k x k cells of an (H, W) array; far edge cells may be partial. Exact for integers."""
    total = np.float64 if plane.dtype.kind == "f" else np.int64
    rows: NDArray[Any] = plane[::k].astype(total)
    for offset in range(1, k):
        part = plane[offset::k]
        rows[: len(part)] += part
    cells = rows[:, ::k].copy()
    for offset in range(1, k):
        part = rows[:, offset::k]
        cells[:, : part.shape[1]] += part
    return cells
