"""Farmland: land cut into fields, each with a crop, its rows, tramlines and headlands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sample_scenes import spectra
from sample_scenes.canvas import Canvas, Float32, Label
from sample_scenes.spectra import Spectrum


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """How a field looks.

    Attributes
    ----------
    canopy, ground
        Reflectance of the plants and of what is between them.
    covered
        Share of the ground under plants, 0..1.
    rows, period_m
        Contrast of the rows and their distance.
    streak, mottle
        Contrast of marks along the working direction; of patches.
    tramlines
        Whether the sprayer left pairs of wheel tracks.
    """

    canopy: Spectrum
    ground: Spectrum
    covered: float
    rows: float
    period_m: float
    streak: float
    mottle: float
    tramlines: bool
    label: Label


CROPS = (
    Crop(spectra.YOUNG_CROP, spectra.BROWN_SOIL, 0.93, 0.03, 2.0, 0.03, 0.06, True, Label.CROP),
    Crop(spectra.DENSE_CROP, spectra.DARK_SOIL, 0.95, 0.03, 2.2, 0.02, 0.05, True, Label.CROP),
    Crop(spectra.BLUISH_CROP, spectra.BROWN_SOIL, 0.86, 0.10, 2.4, 0.03, 0.06, False, Label.CROP),
    Crop(spectra.LUSH, spectra.DRY_GRASS, 0.82, 0.00, 3.0, 0.05, 0.20, False, Label.CROP),
    Crop(spectra.GRASS, spectra.DRY_GRASS, 0.62, 0.00, 3.0, 0.08, 0.25, False, Label.CROP),
    Crop(spectra.RAPESEED, spectra.YOUNG_CROP, 0.72, 0.02, 2.0, 0.03, 0.16, True, Label.CROP),
    Crop(spectra.DENSE_CROP, spectra.BROWN_SOIL, 0.60, 0.30, 3.0, 0.04, 0.06, False, Label.CROP),
    Crop(spectra.RIPE, spectra.STRAW, 0.70, 0.04, 2.0, 0.05, 0.14, True, Label.RIPE),
    Crop(spectra.STRAW, spectra.PALE_SOIL, 0.55, 0.16, 5.5, 0.08, 0.10, False, Label.RIPE),
    Crop(spectra.DRY_GRASS, spectra.BROWN_SOIL, 0.02, 0.03, 2.5, 0.05, 0.03, False, Label.SOIL),
    Crop(spectra.STRAW, spectra.PALE_SOIL, 0.06, 0.04, 3.0, 0.06, 0.05, False, Label.SOIL),
    Crop(spectra.YOUNG_CROP, spectra.DARK_SOIL, 0.04, 0.03, 3.0, 0.04, 0.03, False, Label.SOIL),
)


@dataclass(frozen=True, slots=True, eq=False)
class Estate:
    """Land cut in one direction: a rotated, slightly warped frame.

    Attributes
    ----------
    u, v
        (H, W) float32, metres along the two directions of the estate's boundaries.
    fields
        (u0, u1, v0, v1) of each field, metres.
    angle
        Radians from x to u.
    """

    u: Float32
    v: Float32
    fields: list[tuple[float, float, float, float]]
    angle: float


def _cut(
    rng: np.random.Generator, box: tuple[float, float, float, float], largest_m: float
) -> list[tuple[float, float, float, float]]:
    """Halve a box unevenly until no side is longer than about ``largest_m``."""
    u0, u1, v0, v1 = box
    wide, tall = u1 - u0, v1 - v0
    if max(wide, tall * 1.5) < largest_m * rng.uniform(0.75, 1.3):
        return [box]
    share = rng.uniform(0.34, 0.66)
    if wide > tall * 1.25:
        middle = u0 + share * wide
        parts = [(u0, middle, v0, v1), (middle, u1, v0, v1)]
    else:
        middle = v0 + share * tall
        parts = [(u0, u1, v0, middle), (u0, u1, middle, v1)]
    return [leaf for part in parts for leaf in _cut(rng, part, largest_m)]


def divide(canvas: Canvas, angle: float, largest_m: float) -> Estate:
    """Cut the whole picture into fields whose boundaries run at an angle."""
    rows, cols = (np.arange(n, dtype=np.float32) * canvas.gsd_m for n in canvas.shape)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    bend = 14.0 * np.sin(rows / 210.0)[:, None] + 11.0 * np.sin(cols / 170.0 + 1.0)[None, :]
    u = cols * cos + rows[:, None] * sin + bend
    v = rows[:, None] * cos - cols * sin + 0.6 * bend
    box = (float(u.min()), float(u.max()), float(v.min()), float(v.max()))
    return Estate(
        u.astype(np.float32), v.astype(np.float32), _cut(canvas.rng, box, largest_m), angle
    )


def field_windows(
    estate: Estate, region: NDArray[np.bool_]
) -> list[tuple[tuple[float, float, float, float], tuple[slice, slice]]]:
    """Find the windows of the fields of an estate that show inside a region."""
    found = []
    for box in estate.fields:
        inside = (estate.u >= box[0]) & (estate.u < box[1])
        inside &= (estate.v >= box[2]) & (estate.v < box[3]) & region
        rows, cols = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        if rows.size:
            window = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
            found.append((box, window))
    return found


def _rows(
    canvas: Canvas, crop: Crop, along: Float32, across: Float32, offset: int
) -> tuple[Float32, Float32]:
    """Contrast of rows and streaks, and depth of tramlines 0..1, for every pixel."""
    period = np.float32(2 * np.pi / crop.period_m)
    streak = canvas.grain[
        (along / 5.0).astype(np.int32) + offset & 255, (across / 1.0).astype(np.int32) & 255
    ]
    # One pass of a machine is a little darker than the next.
    passes = canvas.grain[offset, (across / 6.0).astype(np.int32) & 255]
    marks = crop.rows * np.sin(across * period) + crop.streak * (0.2 * streak + 0.8 * passes)
    if not crop.tramlines:
        return marks.astype(np.float32), np.zeros_like(marks)
    beat = np.abs(np.mod(across, 18.0) - 9.0)
    return marks.astype(np.float32), np.clip(1.3 - np.abs(beat - 1.0) / 0.4, 0.0, 1.0)


def paint_field(
    canvas: Canvas,
    estate: Estate,
    box: tuple[float, float, float, float],
    window: tuple[slice, slice],
    region: NDArray[np.bool_],
    crop: Crop,
) -> None:
    """Grow a crop in one field, leaving a grassy margin round it."""
    u, v = estate.u[window], estate.v[window]
    ends = np.minimum(u - box[0], box[1] - u)
    sides = np.minimum(v - box[2], box[3] - v)
    along, across = (u, v - box[2]) if box[1] - box[0] > box[3] - box[2] else (v, u - box[0])
    near_end = ends if along is u else sides
    headland = near_end < 11.0
    along, across = np.where(headland, across, along), np.where(headland, near_end, across)
    offset = int(canvas.rng.integers(256))
    marks, wheel = _rows(canvas, crop, along, across, offset)
    patches = 0.6 * canvas.broad[window] + 0.4 * canvas.mid[window]
    covered = crop.covered + marks + crop.mottle * patches - 0.75 * crop.covered * wheel
    covered = np.clip(covered, 0.0, 1.0).astype(np.float32)
    tone = 1 + 0.05 * canvas.rng.standard_normal() + 0.035 * canvas.mid[window]
    tone = tone + 0.009 * canvas.fine[window] + 0.4 * marks * (crop.covered < 0.1)
    mixed = crop.ground[:, None, None] + covered * (crop.canopy - crop.ground)[:, None, None]
    margin = np.minimum(ends, sides) - 1.2 - 0.5 * canvas.mid[window]
    inside = np.clip(margin / 0.8, 0.0, 1.0) * region[window]
    area = canvas.albedo[(slice(None), *window)]
    area += (inside * (mixed * tone - area)).astype(np.float32)
    canvas.label[window][inside > 0.5] = crop.label
