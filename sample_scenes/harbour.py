"""A small harbour town: sea, quay, piers, boats, warehouses, containers, streets and roofs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sample_scenes import spectra
from sample_scenes.canvas import Canvas, Label, cover, fractal, paint, rectangle
from sample_scenes.paths import paint_beside, pixels_beside, smooth_path
from sample_scenes.structures import boat, building, car, flat, on_roof, tree

SHORE_M = 128.0
"""x of the quay's edge: the sea lies to the left of it, metres."""


def _sea(canvas: Canvas) -> None:
    """Fill the picture with water: swell, wind streaks, sand showing at the beach."""
    rows = np.arange(canvas.shape[0], dtype=np.float32)[:, None]
    cols = np.arange(canvas.shape[1], dtype=np.float32)[None, :]
    swell = np.sin((0.31 * rows + 0.55 * cols) + 1.5 * canvas.mid)
    ripples = fractal(canvas.rng, canvas.shape, 5.0, 2.2)
    tone = 1 + 0.05 * canvas.broad + 0.03 * swell + 0.035 * ripples
    canvas.albedo[:] = spectra.SEA[:, None, None] * tone
    canvas.label[:] = Label.WATER


def _land(canvas: Canvas) -> None:
    """Raise the town: concrete apron at the quay, beach and rocks at the lower end."""
    rows, cols = np.indices(canvas.shape).astype(np.float32) * np.float32(canvas.gsd_m)
    whole = (slice(0, canvas.shape[0]), slice(0, canvas.shape[1]))
    beach = 26.0 * np.clip((rows - 196.0) / 40.0, 0, 1) + 2.0 * canvas.mid
    beach = np.where(rows > 196.0, beach, 0.0)
    inset = (cols - SHORE_M + beach).astype(np.float32)
    shallow = np.clip(1 + (inset + 0.5) / 14.0, 0, 1) * np.clip((rows - 190.0) / 14.0, 0, 1)
    paint(canvas, whole, shallow.astype(np.float32) * 0.85, spectra.SHALLOW * 1.3)
    foam = np.exp(-(((inset + 1.5 + canvas.mid) / 0.9) ** 2)) * (rows > 198.0)
    paint(canvas, whole, (0.5 * foam).astype(np.float32), spectra.PAINT)
    sand = spectra.SAND[:, None, None] * (1 + 0.04 * canvas.mid + 0.03 * canvas.fine)
    paint(canvas, whole, cover(canvas, inset), sand.astype(np.float32), Label.LAND)
    apron = np.where(rows < 196.0, cols - SHORE_M, -9.0)
    joints = np.minimum(np.mod(rows, 6.0), np.mod(cols, 6.0)) < 0.4
    stained = 1 + 0.05 * canvas.mid + 0.03 * canvas.fine - 0.10 * joints
    concrete = (spectra.CONCRETE[:, None, None] * 0.8 * stained).astype(np.float32)
    paint(canvas, whole, cover(canvas, apron.astype(np.float32)), concrete)
    canvas.height[(cols > SHORE_M) & (rows < 196.0)] = 2.0
    grass = cover(canvas, (inset - 36.0 - canvas.mid).astype(np.float32))
    dry = np.clip(0.4 + 0.25 * canvas.mid, 0, 1)
    green = spectra.GRASS[:, None, None] * (1 - dry) + spectra.DRY_GRASS[:, None, None] * dry
    paint(canvas, whole, (grass * (rows > 196.0)).astype(np.float32), green.astype(np.float32))


def _pier(canvas: Canvas, y: float, length: float, width: float, *, timber: bool) -> None:
    """Run a pier out from the quay, with boats moored on both sides."""
    rng = canvas.rng
    patch = rectangle(canvas, (SHORE_M - length / 2, y), (length, width), 0.0)
    assert patch is not None
    planks = np.sin(patch.along * 4.2) if timber else np.zeros_like(patch.along)
    colour = spectra.TIMBER * 1.3 if timber else spectra.CONCRETE * 0.9
    tone = 1 + 0.06 * planks + 0.05 * canvas.fine[patch.window]
    share = cover(canvas, patch.inset)
    paint(
        canvas, patch.window, share, (colour[:, None, None] * tone).astype(np.float32), Label.ROAD
    )
    canvas.height[patch.window][share > 0.5] = 2.0
    for along in np.arange(9.0, length - 3.0, 5.2):
        for side in (-1, 1):
            if rng.random() < 0.72:
                size = float(rng.uniform(6.5, 11.5))
                at = SHORE_M - along, y + side * (width / 2 + 0.6 + size / 2)
                boat(canvas, *at, side * np.pi / 2 + rng.normal(0, 0.04), size)


def _breakwater(canvas: Canvas) -> None:
    """Pile rocks into a curved wall that shelters the harbour."""
    path = smooth_path([(128, 192), (92, 196), (52, 180), (24, 146), (16, 108)])
    beside = pixels_beside(canvas, path, 8.0)
    at = (beside.rows, beside.cols)
    inset = (4.6 - np.abs(beside.across) + 0.7 * canvas.fine[at]).astype(np.float32)
    inset = np.minimum(inset, path.length_m - 1 - beside.along).astype(np.float32)
    rocks = spectra.ROCK[:, None] * (1 + 0.12 * canvas.lumps[at] + 0.08 * canvas.fine[at])
    paint_beside(canvas, beside, inset, rocks.astype(np.float32), Label.LAND)
    cap = np.minimum(1.3 - np.abs(beside.across), inset).astype(np.float32)
    paint_beside(canvas, beside, cap, spectra.CONCRETE)
    solid = inset > 0
    pile = np.clip(inset, 0, 3) + 0.25 * canvas.lumps[at]
    canvas.height[at[0][solid], at[1][solid]] = pile[solid]
    canvas.relief[at[0][solid], at[1][solid]] = 0.7 * pile[solid]


def _containers(canvas: Canvas) -> None:
    """Stack containers on the apron in rows."""
    rng = canvas.rng
    colours = (spectra.BLUE_SHEET, spectra.TERRACOTTA, spectra.GREEN_SHEET, spectra.RUST_SHEET,
               spectra.GREY_SHEET, spectra.ORANGE_TILE)  # fmt: skip
    for bank in range(2):
        for line in range(9):
            for slot in range(3):
                if rng.random() < 0.85:
                    at = (SHORE_M + 11 + 6.6 * slot, 12 + 34 * bank + 2.75 * line)
                    colour = colours[rng.integers(len(colours))] * np.float32(rng.uniform(0.7, 1.1))
                    top = 2.0 + 2.6 * float(rng.integers(1, 4))
                    building(canvas, at, (6.1, 2.4), 0.0, colour, eaves_m=top, pitch=0.0)


def _warehouses(canvas: Canvas) -> None:
    """Build sheds behind the apron and a paved yard with parked cars."""
    sheds = (
        (86, 46, 20, spectra.GREY_SHEET, 0.22), (112, 46, 22, spectra.RUST_SHEET, 0.3),
        (140, 44, 24, spectra.BLUE_SHEET, 0.25), (170, 40, 20, spectra.WHITE_SHEET * 0.8, 0.2),
    )  # fmt: skip
    for y, length, width, roof, pitch in sheds:
        at = (SHORE_M + 14 + length / 2, float(y))
        building(canvas, at, (length, width), 0.0, roof, eaves_m=8.0, pitch=pitch, ribs=0.07)
        for light in np.arange(-length / 2 + 5, length / 2 - 3, 7.0):
            on_roof(canvas, at, 0.0, (light, -width / 4), (1.2, width / 3), spectra.PAINT * 0.8)


def _streets(canvas: Canvas) -> list[tuple[float, float, float]]:
    """Tar the streets (x, y0, y1 of those that run up and down) with lines and pavements."""
    upright = [(196.0, -5.0, 260.0), (246.0, -5.0, 260.0)]
    level = [72.0, 155.0, 208.0]
    for grow, colour in ((2.2, spectra.CONCRETE * 0.85), (0.0, spectra.ASPHALT)):
        for x, y0, y1 in upright:
            flat(
                canvas, (x, (y0 + y1) / 2), (y1 - y0, 7.0 + 2 * grow), np.pi / 2, colour, Label.ROAD
            )
        for y in level:
            flat(canvas, (248.0, y), (104.0, 6.0 + 2 * grow), 0.0, colour, Label.ROAD)
    for x, y0, y1 in upright:
        for y in np.arange(y0, y1, 9.0):
            if min(abs(y - other) for other in level) > 6:
                flat(canvas, (x, float(y)), (3.0, 0.3), np.pi / 2, spectra.PAINT)
            if canvas.rng.random() < 0.6:
                side = canvas.rng.choice([-2.4, 2.4])
                car(canvas, x + side, y + canvas.rng.uniform(-2, 2), np.pi / 2 * np.sign(side))
    return upright


def _terrace(canvas: Canvas, x: float, y0: float, y1: float, court: float) -> None:
    """Build a row of houses along a street from y0 to y1; trees at ``court`` metres from it."""
    rng, y = canvas.rng, y0
    while y < y1:
        front = float(rng.uniform(7.5, 12.5))
        at = (x + rng.normal(0, 0.4), y + front / 2)
        is_flat = rng.random() < 0.18
        tiles = spectra.VILLAGE_ROOFS[rng.integers(len(spectra.VILLAGE_ROOFS))]
        roof = (spectra.FELT if is_flat else tiles) * np.float32(rng.uniform(0.8, 1.2))
        size = (front, float(rng.uniform(10, 12)))
        eaves, pitch = float(rng.uniform(6, 10)), 0.0 if is_flat else 0.6
        building(canvas, at, size, np.pi / 2, roof, eaves_m=eaves, pitch=pitch)
        on_roof(canvas, at, np.pi / 2, (front * 0.3, 1.0), (0.9, 0.9), spectra.ROCK, 1.2)
        y += front + (0.2 if rng.random() < 0.75 else 4.5)
        if rng.random() < 0.6:
            size_m, height_m = rng.uniform(1.5, 3.0), rng.uniform(4, 9)
            tree(canvas, x + court, y, size_m, height_m, spectra.BROADLEAF)


def _town(canvas: Canvas) -> None:
    """Fill the blocks between the streets with terraced houses round green courts."""
    for x0, x1 in ((202.5, 239.5), (252.5, 302.0)):
        for y0, y1 in ((-8.0, 66.0), (78.0, 149.0), (161.0, 202.0), (214.0, 262.0)):
            centre = ((x0 + x1) / 2, (y0 + y1) / 2)
            flat(canvas, centre, (x1 - x0, y1 - y0), 0.0, spectra.GRASS, Label.PARCEL, 0.08)
            _terrace(canvas, x0 + 6, y0 + 1.0, y1 - 8, 9.0)
            _terrace(canvas, x1 - 6, y0 + 1.0, y1 - 8, -9.0)


def draw_harbour(canvas: Canvas) -> None:
    """Draw the harbour, about 300 x 250 m, from the sea bed up."""
    _sea(canvas)
    _land(canvas)
    _breakwater(canvas)
    _pier(canvas, 62.0, 66.0, 3.2, timber=True)
    _pier(canvas, 98.0, 72.0, 3.2, timber=True)
    _pier(canvas, 138.0, 58.0, 7.0, timber=False)
    boat(canvas, 40.0, 30.0, 2.7, 24.0)
    boat(canvas, SHORE_M - 6.5, 27.0, np.pi / 2, 34.0)
    _containers(canvas)
    _warehouses(canvas)
    _streets(canvas)
    _town(canvas)
    rng = canvas.rng
    for y in np.arange(84.0, 180.0, 2.9):
        if rng.random() < 0.5:
            car(canvas, SHORE_M + 8, float(y), rng.normal(0, 0.05))
    for _ in range(24):
        tree(canvas, rng.uniform(150, 190), rng.uniform(214, 250), rng.uniform(1.5, 3.5),
             rng.uniform(4, 9), spectra.OLIVE_LEAF)  # fmt: skip


def rotated_footprint(shape: tuple[int, int], angle: float, share: float) -> NDArray[np.bool_]:
    """Find where a rotated rectangle covers a frame: (H, W) bool, True inside.

    Parameters
    ----------
    angle
        Radians.
    share
        Size of the rectangle relative to the frame along each axis.
    """
    rows, cols = np.indices(shape) + 0.5
    y, x = rows - shape[0] / 2, cols - shape[1] / 2
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside: NDArray[np.bool_] = np.abs(along) < share * shape[1] / 2
    inside &= np.abs(across) < share * shape[0] / 2
    return inside
