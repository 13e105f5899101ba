"""Meadowbrook: a river valley with fields, woods, roads, a village and farms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sample_scenes import spectra
from sample_scenes.canvas import Canvas, Float32, Label, cover, paint, rectangle
from sample_scenes.fields import CROPS, divide, field_windows, paint_field
from sample_scenes.paths import Beside, Path, paint_beside, pixels_beside, smooth_path
from sample_scenes.structures import building, car, flat, on_roof, tree

RIVER = [(770, -60), (705, 110), (775, 255), (700, 385), (565, 460), (515, 600), (400, 690),
         (325, 800), (362, 920), (290, 1090)]  # fmt: skip
MAIN_ROAD = [(-50, 165), (190, 215), (400, 300), (640, 442), (840, 556), (1080, 645)]
VILLAGE_STREET = [(846, 558), (874, 430), (858, 300), (898, 150), (925, -50)]
LANES = [
    [(862, 352), (950, 326), (1080, 322)],
    [(884, 205), (960, 214), (1080, 180)],
    [(402, 300), (325, 440), (180, 560), (95, 700), (60, 1080)],
    [(842, 558), (800, 720), (850, 880), (826, 1080)],
]
TRACKS = [
    [(212, 534), (275, 625), (262, 740), (150, 860), (70, 892)],
    [(803, 665), (690, 700), (600, 640), (556, 560)],
    [(190, 215), (260, 120), (285, -40)],
    [(874, 430), (960, 455), (1080, 452)],
]
WOODS = [(610, 890, 122), (70, 55, 112), (480, 130, 50), (990, 560, 52), (205, 985, 62)]
PONDS = [(975, 900, 30), (150, 395, 17)]
FARMS = [(146, 520, -0.72), (856, 742, 1.62), (349, 226, 0.41)]


def _base(canvas: Canvas) -> None:
    """Cover everything with rough grass."""
    dry = np.clip(0.35 + 0.2 * canvas.broad + 0.12 * canvas.mid, 0, 1)
    colour = spectra.GRASS[:, None, None] + dry * (spectra.DRY_GRASS - spectra.GRASS)[:, None, None]
    canvas.albedo[:] = colour * (1 + 0.04 * canvas.mid + 0.02 * canvas.fine)


def _farmland(canvas: Canvas, river: Path) -> None:
    """Lay fields on both banks, each bank in its own direction, with hedges between some."""
    rows, cols = np.indices((canvas.shape[0] // 16, canvas.shape[1] // 16)) * 16 * canvas.gsd_m
    nearest = np.abs(rows[..., None] - river.points[None, None, ::20, 1]).argmin(-1)
    west = cols < river.points[::20, 0][nearest]
    west = np.kron(west, np.ones((16, 16), bool))
    for region, angle, largest in ((west, 0.30, 190.0), (~west, -0.42, 165.0)):
        estate = divide(canvas, angle, largest)
        order: list[int] = []
        for box, window in field_windows(estate, region):
            # A shuffled deck, dealt again when empty: all crops occur, neighbours rarely agree.
            order = order or [int(n) for n in canvas.rng.permutation(len(CROPS))]
            paint_field(canvas, estate, box, window, region, CROPS[order.pop()])
            for axis, low in ((estate.u, box[0]), (estate.v, box[2])):
                if canvas.rng.random() < 0.28:
                    edge = (np.abs(axis[window] - low) < 0.4) & region[window]
                    other = estate.v if axis is estate.u else estate.u
                    span = (box[2], box[3]) if axis is estate.u else (box[0], box[1])
                    edge &= (other[window] > span[0]) & (other[window] < span[1])
                    _hedge(canvas, window, edge)


def _hedge(canvas: Canvas, window: tuple[slice, slice], edge: NDArray[np.bool_]) -> None:
    """Plant bushes and a few trees along a line of pixels."""
    rows, cols = np.nonzero(edge)
    rng = canvas.rng
    for index in rng.permutation(rows.size)[: int(rows.size * 0.32)]:
        x = (cols[index] + window[1].start + rng.normal(0, 0.8)) * canvas.gsd_m
        y = (rows[index] + window[0].start + rng.normal(0, 0.8)) * canvas.gsd_m
        if rng.random() < 0.035:
            tree(canvas, x, y, rng.uniform(2.5, 4.5), rng.uniform(7, 12), spectra.BROADLEAF)
        else:
            tree(canvas, x, y, rng.uniform(0.9, 1.7), rng.uniform(1.6, 3.0), spectra.OLIVE_LEAF)


def _clear_ground(canvas: Canvas, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> None:
    """Fell what stands on some pixels."""
    canvas.height[rows, cols] = 0
    canvas.relief[rows, cols] = 0


def _water(canvas: Canvas, river: Path) -> None:
    """Let the river run, with banks, and dig the ponds."""
    beside = pixels_beside(canvas, river, 26.0)
    at = (beside.rows, beside.cols)
    width = 8.5 + 2.0 * np.sin(beside.along / 63.0) + 1.2 * canvas.mid[at] + 1.2 * canvas.broad[at]
    inset = (width - np.abs(beside.across)).astype(np.float32)
    _clear_ground(canvas, beside.rows[inset > -7], beside.cols[inset > -7])
    wild = spectra.LUSH[:, None] * (0.86 + 0.10 * canvas.mid[at] + 0.05 * canvas.fine[at])
    paint_beside(canvas, beside, (inset + 7.0 + canvas.mid[at]).astype(np.float32),
                 wild.astype(np.float32), Label.LAND)  # fmt: skip
    # Sand lies where the bank is low.
    beach = np.clip(canvas.broad[at] * 1.2 - 0.2, 0, 1.6).astype(np.float32)
    paint_beside(canvas, beside, inset + beach, spectra.SAND)
    _fill(canvas, beside, inset)
    for x, y, radius in PONDS:
        patch = rectangle(canvas, (x, y), (2.6 * radius, 2.6 * radius), 0.4)
        assert patch is not None
        ring = np.hypot(patch.along, 1.4 * patch.across)
        inside = (radius - ring + 2.5 * canvas.mid[patch.window]).astype(np.float32)
        paint(canvas, patch.window, cover(canvas, inside + 4.0), spectra.LUSH * 0.85, Label.LAND)
        depth = np.clip(inside / 4.0, 0, 1)[None]
        colour = spectra.SHALLOW[:, None, None] * (1 - depth) + spectra.RIVER[:, None, None] * depth
        colour = (colour * (1 + 0.03 * canvas.broad[patch.window])).astype(np.float32)
        paint(canvas, patch.window, cover(canvas, inside), colour, Label.WATER)
        for cleared in (canvas.height, canvas.relief):
            cleared[patch.window][inside > -4] = 0


def _fill(canvas: Canvas, beside: Beside, inset: Float32) -> None:
    """Fill the river bed: shallow and brownish at the banks, dark in the middle."""
    at = (beside.rows, beside.cols)
    depth = np.clip(inset / 4.0 + 0.25 * canvas.mid[at], 0, 1)
    colour = spectra.SHALLOW[:, None] * (1 - depth) + spectra.RIVER[:, None] * depth
    colour = colour * (1 + 0.025 * canvas.mid[at] + 0.015 * canvas.fine[at])
    paint_beside(canvas, beside, inset, colour.astype(np.float32), Label.WATER)


def _woods(canvas: Canvas) -> None:
    """Grow woods with ragged edges: crown by crown, conifers in stands."""
    for x, y, radius in WOODS:
        patch = rectangle(canvas, (x, y), (2.8 * radius, 2.8 * radius), 0.0)
        assert patch is not None
        shape = radius - np.hypot(patch.along, 1.25 * patch.across)
        inset = (shape + 0.28 * radius * canvas.broad[patch.window]).astype(np.float32)
        inset[canvas.label[patch.window] == Label.WATER] = -1
        floor = spectra.FOREST_FLOOR[:, None, None] * (1 + 0.2 * canvas.mid[patch.window])
        paint(canvas, patch.window, cover(canvas, inset), floor.astype(np.float32), Label.WOOD)
    rng, spacing = canvas.rng, 3.7
    stand = np.roll(canvas.broad, (311, 173), (0, 1))
    size = [int(n * canvas.gsd_m / spacing) for n in canvas.shape]
    grid = np.stack(np.meshgrid(np.arange(size[1]), np.arange(size[0])), -1).reshape(-1, 2)
    spots = (grid + rng.uniform(0, 1, grid.shape)) * spacing
    for x, y in spots[rng.permutation(len(spots))]:
        if canvas.label_at(x, y) != Label.WOOD:
            continue
        species = float(stand[int(y / canvas.gsd_m), int(x / canvas.gsd_m)]) + rng.normal(0, 0.25)
        if species > 0.75:
            tree(canvas, x, y, rng.uniform(1.5, 2.3), rng.uniform(12, 17), spectra.CONIFER)
        else:
            leaves = spectra.OLIVE_LEAF if rng.random() < 0.3 else spectra.BROADLEAF
            tree(canvas, x, y, rng.gamma(9, 0.32), rng.uniform(9, 16), leaves)


def _road(canvas: Canvas, path: Path, width: float, *, lanes: bool) -> None:
    """Build a tarred road; with ``lanes`` it has centre and edge lines. It bridges water."""
    beside = pixels_beside(canvas, path, width / 2 + 6)
    at = (beside.rows, beside.cols)
    wet = canvas.label[at] == Label.WATER
    inset = (width / 2 - np.abs(beside.across)).astype(np.float32)
    _clear_ground(canvas, beside.rows[inset > -2.5], beside.cols[inset > -2.5])
    verge = spectra.DRY_GRASS[:, None] * (1 + 0.08 * canvas.mid[at])
    ragged = (inset + 2.2 + 0.6 * canvas.mid[at]).astype(np.float32)
    paint_beside(canvas, beside, np.where(wet, -9, ragged), verge.astype(np.float32), Label.LAND)
    paint_beside(canvas, beside, np.where(wet, inset + 1.2, inset + 0.5), spectra.GRAVEL)
    wheel = np.cos(2 * np.pi * np.abs(beside.across) / (width / 2))
    old = canvas.grain[(beside.along / 40).astype(int) & 255, 0]
    tone = 1 - 0.05 * wheel + 0.05 * old + 0.03 * canvas.mid[at] + 0.02 * canvas.fine[at]
    surface = spectra.ASPHALT if lanes else spectra.OLD_ASPHALT
    paint_beside(canvas, beside, inset, (surface[:, None] * tone).astype(np.float32), Label.ROAD)
    if lanes:
        dash = np.minimum(3.0 - np.mod(beside.along, 9.0), 0.12 - np.abs(beside.across))
        for line in (dash, 0.11 - np.abs(inset - 0.35)):
            paint_beside(canvas, beside, line.astype(np.float32), spectra.PAINT, strength=0.9)
    parapet = wet & (np.abs(inset + 0.7) < 0.6)
    canvas.albedo[:, at[0][parapet], at[1][parapet]] = spectra.CONCRETE[:, None]
    deck = wet & (inset > -1.2)
    canvas.height[at[0][deck], at[1][deck]] = 3.0 + parapet[deck]
    canvas.label[at[0][deck], at[1][deck]] = Label.ROAD


def _track(canvas: Canvas, path: Path) -> None:
    """Wear two wheel ruts into the ground, grass between them."""
    beside = pixels_beside(canvas, path, 5.0)
    at = (beside.rows, beside.cols)
    wander = (beside.across + 0.35 * np.sin(beside.along / 9.0)).astype(np.float32)
    _clear_ground(canvas, *at)
    grass = spectra.DRY_GRASS[:, None] * (1 + 0.08 * canvas.mid[at])
    paint_beside(canvas, beside, 2.4 - np.abs(wander) + 0.4 * canvas.mid[at],
                 grass.astype(np.float32), Label.LAND)  # fmt: skip
    rut = (0.55 - np.abs(np.abs(wander) - 0.9)).astype(np.float32)
    paint_beside(canvas, beside, rut, spectra.PALE_SOIL, strength=0.9)


@dataclass(frozen=True, slots=True)
class Plot:
    """One house plot beside a street; the street runs along its front.

    Attributes
    ----------
    path
        The street.
    along, side
        Metres along it to the plot's centre; +1 right, -1 left of it.
    depth
        Away from the street, metres.
    """

    path: Path
    along: float
    side: int
    depth: float

    @property
    def angle(self) -> float:
        """Direction of the street, radians."""
        return self.path.place(self.along, 0.0)[2]

    def at(self, forward: float, back: float) -> tuple[float, float]:
        """Find the point metres forward along the street and back from it, from the centre."""
        across = self.side * (self.depth / 2 + 3.4 + back)
        x, y, angle = self.path.place(self.along, across)
        return x + forward * float(np.cos(angle)), y + forward * float(np.sin(angle))


def _claim(canvas: Canvas, plot: Plot) -> bool:
    """Clear a plot and lay its lawn, unless a road, water or wood is in the way."""
    patch = rectangle(canvas, plot.at(0, 0), (27, plot.depth), plot.angle)
    if patch is None:
        return False
    within = canvas.label[patch.window][patch.inset > 1.0]
    if np.isin(within, (Label.ROAD, Label.WATER, Label.WOOD)).any():
        return False
    for cleared in (canvas.height, canvas.relief):
        cleared[patch.window][patch.inset > -0.5] = 0
    lawn = spectra.GRASS + canvas.rng.uniform(0, 0.5) * (spectra.DRY_GRASS - spectra.GRASS)
    flat(canvas, plot.at(0, 0), (27.0, plot.depth), plot.angle, lawn, Label.PARCEL, 0.06)
    return True


def _garden(canvas: Canvas, plot: Plot) -> None:
    """Add a vegetable bed, a pool to some, a hedge and trees."""
    rng, depth = canvas.rng, plot.depth
    if rng.random() < 0.5:
        bed = plot.at(rng.uniform(-6, 6), depth * 0.33)
        flat(canvas, bed, (9, 6), plot.angle, spectra.BROWN_SOIL)
    if rng.random() < 0.14:
        pool = plot.at(rng.uniform(-4, 4), depth * 0.2)
        flat(canvas, pool, (9.5, 6.0), plot.angle, spectra.CONCRETE)
        flat(canvas, pool, (7.5, 4.0), plot.angle, spectra.POOL)
    for edge in np.arange(-depth / 2 + 4, depth / 2, 1.1):
        if rng.random() < 0.55:
            spot = plot.at(12.3, edge)
            tree(canvas, *spot, rng.uniform(0.7, 1.1), 1.8, spectra.OLIVE_LEAF)
    for _ in range(rng.integers(2, 7)):
        spot = plot.at(rng.uniform(-11, 11), rng.uniform(-0.02, 0.48) * depth)
        if canvas.label_at(*spot) == Label.PARCEL:
            tree(canvas, *spot, rng.uniform(1.3, 3.3), rng.uniform(3, 9), spectra.BROADLEAF)


def _settle(canvas: Canvas, plot: Plot) -> None:
    """Build on a plot: drive, house, sometimes a car and a shed, then the garden."""
    if not _claim(canvas, plot):
        return
    rng, front, angle = canvas.rng, -plot.depth / 2, plot.angle
    drive = float(rng.choice([-8.5, 8.5]))
    paving = (spectra.GRAVEL, spectra.CONCRETE, spectra.OLD_ASPHALT)[rng.integers(3)]
    flat(canvas, plot.at(drive, front + 6), (3.4, 14), angle + np.pi / 2, paving)
    _house(canvas, plot.at(rng.uniform(-1.5, 1.5), front + 11), angle)
    if rng.random() < 0.7:
        car(canvas, *plot.at(drive, front + rng.uniform(3, 10)), angle + np.pi / 2)
    if rng.random() < 0.6:
        shed = spectra.SHED_ROOFS[rng.integers(len(spectra.SHED_ROOFS))]
        back = plot.at(-drive, plot.depth * 0.3)
        building(canvas, back, (5.5, 3.8), angle, shed, eaves_m=2.3, pitch=0.25)
    _garden(canvas, plot)


def _house(canvas: Canvas, centre: tuple[float, float], angle: float) -> None:
    """Build a dwelling: main roof, sometimes a wing, solar panels, a chimney."""
    rng = canvas.rng
    roof = spectra.VILLAGE_ROOFS[rng.integers(len(spectra.VILLAGE_ROOFS))]
    roof = (roof * rng.uniform(0.85, 1.15)).astype(np.float32)
    turned = angle + rng.choice([0.0, np.pi / 2], p=[0.7, 0.3]) + rng.normal(0, 0.03)
    length, width = rng.uniform(10, 14), rng.uniform(7.5, 9.5)
    hipped = bool(rng.random() < 0.35)
    building(canvas, centre, (length, width), turned, roof, eaves_m=4.8, hipped=hipped)
    if rng.random() < 0.4:
        reach = width / 2 + 1.5
        wing = (centre[0] - np.sin(turned) * reach, centre[1] + np.cos(turned) * reach)
        building(canvas, wing, (6.5, 5.5), turned + np.pi / 2, roof, eaves_m=3.6)
    if rng.random() < 0.35:
        on_roof(canvas, centre, turned, (0, width * 0.24), (length * 0.6, 2.6), spectra.SOLAR)
    on_roof(canvas, centre, turned, (length * 0.28, 0.7), (0.9, 0.8), spectra.DARK_TILE, 1.1)


class Yard(NamedTuple):
    """One building of a farm: shift along and across, size, turned by a right angle or not."""

    along: float
    across: float
    length: float
    width: float
    turned: bool


BARNS = (Yard(-20, -16, 34, 15, False), Yard(20, -15, 26, 12, False), Yard(-27, 15, 24, 11, True),
         Yard(17, 19, 30, 13, False))  # fmt: skip


def _farm(canvas: Canvas, x: float, y: float, angle: float) -> None:
    """Build a farm: a yard, barns, a house, silos, bales and trees around."""
    rng = canvas.rng
    cos, sin = np.cos(angle), np.sin(angle)

    def at(along: float, across: float) -> tuple[float, float]:
        return float(x + along * cos - across * sin), float(y + along * sin + across * cos)

    patch = rectangle(canvas, (x, y), (96, 74), angle)
    assert patch is not None
    for cleared in (canvas.height, canvas.relief):
        cleared[patch.window][patch.inset > 0] = 0
    flat(canvas, (x, y), (94, 72), angle, spectra.GRASS, Label.PARCEL, 0.08)
    flat(canvas, (x, y), (84, 54), angle, spectra.GRAVEL * 0.85, Label.PARCEL, 0.10)
    flat(canvas, at(-2, 1), (40, 18), angle, spectra.CONCRETE * 0.85, None, 0.05)
    for barn, sheet in zip(BARNS, rng.permutation(len(spectra.SHED_ROOFS)), strict=False):
        turned = angle + (np.pi / 2 if barn.turned else 0.0)
        building(canvas, at(barn.along, barn.across), (barn.length, barn.width), turned,
                 spectra.SHED_ROOFS[sheet], eaves_m=5.5, pitch=0.32, ribs=0.06)  # fmt: skip
    _house(canvas, at(38, 2), angle)
    for index in range(3):
        tree(canvas, *at(-4 + 6 * index, -29), 2.6, 11.0, spectra.WHITE_SHEET)
    for index in range(12):
        spot = at(-38 + 3.0 * (index % 6), -29 - 2.0 * (index // 6))
        flat(canvas, spot, (2.6, 1.5), angle, spectra.STRAW * 1.1)
    for _ in range(26):
        edge = rng.uniform(-46, 46), rng.choice([-35.0, 35.0]) + rng.normal(0, 1.2)
        tree(canvas, *at(*edge), rng.uniform(1.8, 3.6), rng.uniform(5, 11), spectra.BROADLEAF)
    for _ in range(4):
        car(canvas, *at(rng.uniform(-15, 12), rng.uniform(-4, 6)), angle + rng.uniform(0, 3))


def _roadside(canvas: Canvas, path: Path, offset: float, gap: float, share: float) -> None:
    """Plant a broken row of trees along one side of a path, not on roads, roofs or water."""
    rng = canvas.rng
    for along in np.arange(4.0, path.length_m, gap):
        x, y, _ = path.place(along + rng.normal(0, 1.0), offset + rng.normal(0, 0.6))
        taken = (-1, Label.ROAD, Label.ROOF, Label.WATER, Label.PARCEL)
        if canvas.label_at(x, y) not in taken and rng.random() < share:
            tree(canvas, x, y, rng.uniform(1.6, 3.8), rng.uniform(5, 12), spectra.BROADLEAF)


def _traffic(canvas: Canvas, path: Path, gap: float) -> None:
    """Send cars along a road, each on its own side."""
    along = 10.0
    while along < path.length_m:
        side = canvas.rng.choice([-1.75, 1.75])
        car(canvas, *path.place(along, side))
        along += canvas.rng.exponential(gap) + 8


def draw_meadowbrook(canvas: Canvas) -> None:
    """Draw the whole valley, 1024 x 1024 m, from the ground up."""
    _base(canvas)
    river = smooth_path(RIVER)
    _farmland(canvas, river)
    _water(canvas, river)
    _woods(canvas)
    main, street = smooth_path(MAIN_ROAD), smooth_path(VILLAGE_STREET)
    lanes = [smooth_path(corners) for corners in LANES]
    for corners in TRACKS:
        _track(canvas, smooth_path(corners))
    for lane in (*lanes, street):
        _road(canvas, lane, 5.0, lanes=False)
    _road(canvas, main, 8.0, lanes=True)
    for x, y, angle in FARMS:
        _farm(canvas, x, y, angle)
    for path, start, stop in ((street, 70, 580), (lanes[0], 18, 215), (lanes[1], 20, 190)):
        for side in (-1, 1):
            for along in np.arange(start, stop, 26.0):
                if canvas.rng.random() < 0.9:
                    _settle(canvas, Plot(path, float(along), side, 38.0))
    for bank in (-15.0, 14.0):
        _roadside(canvas, river, bank, 5.0, 0.45)
    _roadside(canvas, main, 8.5, 11.0, 0.6)
    _roadside(canvas, lanes[2], -5.5, 9.0, 0.7)
    _traffic(canvas, main, 55.0)
    _traffic(canvas, street, 90.0)
