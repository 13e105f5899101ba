"""The largest part of an image without invalid pixels."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_CELLS = 2**20
"""In which the valid inside of an image is looked for, at most."""


def valid_inside(valid: NDArray[np.bool_], least_px: int) -> tuple[slice, slice]:
    """The largest rectangle without invalid pixels whose sides have at least ``least_px``.

    Of equally large ones, the one that ends first, by row, then by column, and the tallest of
    these. Of images beyond `_CELLS` pixels, the largest of whole cells of pixels, then grown up,
    down, left and right. Empty when there is none.
    """
    rows, cols = (np.flatnonzero(valid.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)
    inside = valid[box]
    if inside.all():
        top, bottom, left, right = 0, inside.shape[0], 0, inside.shape[1]
    else:
        k = math.ceil(math.sqrt(inside.size / _CELLS))
        top, bottom, left, right = _grown(
            inside, _largest(_cells(inside, k), max(1, (least_px + 1) // k - 1)), k
        )
    if min(bottom - top, right - left) < max(least_px, 1):
        return slice(0, 0), slice(0, 0)
    return (
        slice(box[0].start + top, box[0].start + bottom),
        slice(box[1].start + left, box[1].start + right),
    )


def _cells(valid: NDArray[np.bool_], k: int) -> NDArray[np.bool_]:
    """Which whole cells of k x k pixels are valid."""
    height, width = (side // k for side in valid.shape)
    cells = valid[: height * k, : width * k].reshape(height, k, width, k)
    return np.asarray(cells.all(axis=(1, 3)))


def _largest(valid: NDArray[np.bool_], least: int) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the largest rectangle of True; zeros if there is none.

    Row by row, with how far True reaches up from each column: a rectangle ends where a column
    reaches less far than those before it, which are kept in a stack.
    """
    best, found = 0, (0, 0, 0, 0)
    reach = np.zeros(valid.shape[1], np.int64)
    for row, here in enumerate(valid):
        reach = np.where(here, reach + 1, 0)
        stack: list[tuple[int, int]] = []  # column from which on, and how far up: rising
        for col, height in enumerate([*reach.tolist(), 0]):
            start = col
            while stack and stack[-1][1] > height:
                start, high = stack.pop()
                if high * (col - start) > best and min(high, col - start) >= least:
                    best, found = high * (col - start), (row + 1 - high, row + 1, start, col)
            if height and (not stack or stack[-1][1] < height):
                stack.append((start, height))
    return found


def _grown(
    valid: NDArray[np.bool_], cells: tuple[int, int, int, int], k: int
) -> tuple[int, int, int, int]:
    """A rectangle of cells in pixels, as much wider as it stays valid."""
    top, bottom, left, right = (edge * k for edge in cells)
    if top == bottom:
        return 0, 0, 0, 0
    while top and valid[top - 1, left:right].all():
        top -= 1
    while bottom < valid.shape[0] and valid[bottom, left:right].all():
        bottom += 1
    while left and valid[top:bottom, left - 1].all():
        left -= 1
    while right < valid.shape[1] and valid[top:bottom, right].all():
        right += 1
    return top, bottom, left, right
