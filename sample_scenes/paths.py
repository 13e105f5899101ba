"""Smooth paths (roads, rivers) and where pixels lie along and across them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate, ndimage, spatial

from sample_scenes.canvas import Canvas, Float32, Label
from sample_scenes.spectra import Spectrum

STEP_M = 0.5
"""Distance between the points of a path, metres."""


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A smooth curve, sampled every ``STEP_M``.

    Attributes
    ----------
    points
        (n, 2) x and y, metres.
    tangents
        (n, 2) unit vectors.
    """

    points: NDArray[np.float64]
    tangents: NDArray[np.float64]

    @property
    def length_m(self) -> float:
        """Length, metres."""
        return STEP_M * (len(self.points) - 1)

    def place(self, along_m: float, across_m: float) -> tuple[float, float, float]:
        """Find x, y and direction (radians) of a point beside the path."""
        index = int(np.clip(round(along_m / STEP_M), 0, len(self.points) - 1))
        (x, y), (tx, ty) = self.points[index], self.tangents[index]
        return float(x - ty * across_m), float(y + tx * across_m), float(np.arctan2(ty, tx))


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """The pixels near a path: flat arrays of one length.

    Attributes
    ----------
    rows, cols
        Pixel indices.
    along, across
        float32 metres from the start of the path; to its right (positive) or left.
    """

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    along: Float32
    across: Float32


def smooth_path(corners: Sequence[tuple[float, float]]) -> Path:
    """Draw a natural spline through corners (x, y), metres."""
    knots = np.array(corners, float)
    chord = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(knots, axis=0).T))])
    spline = interpolate.CubicSpline(chord, knots)
    dense = spline(np.linspace(0.0, chord[-1], int(chord[-1] / 0.1) + 2))
    run = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(dense, axis=0).T))])
    at = np.arange(0.0, run[-1], STEP_M)
    points = np.stack([np.interp(at, run, dense[:, axis]) for axis in (0, 1)], axis=1)
    tangents = np.gradient(points, axis=0)
    return Path(points, tangents / np.linalg.norm(tangents, axis=1, keepdims=True))


def pixels_beside(canvas: Canvas, path: Path, reach_m: float) -> Beside:
    """Find all pixels within ``reach_m`` of a path."""
    coarse = 16
    size = [-(-n // coarse) + 2 for n in canvas.shape]
    cells = np.floor(path.points[:, ::-1] / (canvas.gsd_m * coarse)).astype(int) + 1
    near = ((cells >= 0) & (cells < size)).all(axis=1)
    far = np.ones(size, bool)
    far[tuple(cells[near].T)] = False
    wanted = ndimage.distance_transform_edt(far) <= reach_m / (canvas.gsd_m * coarse) + 2
    wanted = np.kron(wanted[1:-1, 1:-1], np.ones((coarse, coarse), bool))
    rows, cols = np.nonzero(wanted[: canvas.shape[0], : canvas.shape[1]])
    at = (np.stack([cols, rows], axis=1) + 0.5) * canvas.gsd_m
    distance, index = spatial.cKDTree(path.points).query(at, distance_upper_bound=reach_m)
    found = np.isfinite(distance)
    rows, cols, index = rows[found], cols[found], index[found]
    delta, tangent = at[found] - path.points[index], path.tangents[index]
    along = index * STEP_M + (delta * tangent).sum(axis=1)
    across = tangent[:, 0] * delta[:, 1] - tangent[:, 1] * delta[:, 0]
    return Beside(rows, cols, along.astype(np.float32), across.astype(np.float32))


def paint_beside(
    canvas: Canvas,
    beside: Beside,
    inset: Float32,
    colour: Spectrum,
    label: Label | None = None,
    strength: float = 1.0,
) -> None:
    """Paint the pixels beside a path that are ``inset`` metres inside a shape (negative: outside).

    The colour is (4,) or (4, n).
    """
    share = np.clip(inset / canvas.gsd_m + 0.5, 0.0, 1.0).astype(np.float32) * np.float32(strength)
    hit = share > 0
    rows, cols = beside.rows[hit], beside.cols[hit]
    colour = colour[:, hit] if colour.ndim == 2 else colour[:, None]
    old = canvas.albedo[:, rows, cols]
    canvas.albedo[:, rows, cols] = old + share[hit] * (colour - old)
    if label is not None:
        solid = share > 0.5
        canvas.label[beside.rows[solid], beside.cols[solid]] = label
