"""How bright clear ground is around a tile, and how far that moves what a model made under clouds.

A tile under a wide cloud does not tell how bright the ground below it is: models guess, and err by
a level more than by texture. The scene knows more: ground nearby that no cloud hides. Plots are
squares of a quarter of a tile's side; each has the mean of its pixels that the run leaves as they
are. What they say, and how far they differ among themselves, is weighed against how far models err.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decr.geo.gdal import COARSE_CACHE_BYTES, gdal_environment
from decr.geo.grid import Window
from decr.geo.reader import reader
from decr.geo.scene import Scene
from decr.pipeline.change_map import ChangeMap
from decr.pipeline.engine import Engine, Tell, in_order
from decr.pipeline.journal import WorkDir
from decr.pipeline.mapped import flushed, let_go, on_disk
from decr.pipeline.memory import give_back
from decr.pipeline.plan import Plan
from decr.pipeline.tiles import Float32
from decr.progress import Counted
from decr.radiometry import Radiometry

Float64 = NDArray[np.float64]
LEVELS_FILE = "ground.npy"
_ROW = "ground_row"
"""Of entries in the journal: the first plots of a row of squares."""
PLOTS_PER_TILE = 4
REACH = 32
"""How many plots away ground still counts: 2048 px of the work grid."""
_FADE = 4.0
"""Plots at which ground counts half as much as in the tile itself."""
_KNOWS, _GUESSES, _GUESS_SHARE = 0.02, 0.25, 0.2
"""A model's level under clouds errs by a deviation of 0.02 unit where it knows, and by 0.25 where
it guesses, which is every fifth time: it is trusted more than the embedded models deserve, since
what is drawn to the ground without need is harmed. docs/levels.md has what comes of it."""
_STRAYS, _DIFFERS, _DIFFER_SHARE = 0.05, 0.4, 0.1
"""Hidden ground strays from that around it by 0.05 unit more than plots do among themselves, and
more the farther these lie; every tenth time it is other ground (a lake, a forest), by 0.4."""
_INDEPENDENT = 2
"""Of the bands' errors: bands are wrong together."""
_SMALL_CELLS = 16.0
"""A cloud over so few cells hides ground whose level strays twice as much as that of plots."""
_LARGEST = 1.4
"""Of a shift, unit: with what a model changes (2) and a correction of tone (0.5) less than 4, so
that sums stay within 32 bits."""
_CLEAR = 62
"""Of a stored probability (`decr.cloud.change`): a quarter. What may be haze is not clear."""
_SQUARE_CELLS = 512
"""Cells of the survey along a side of what is read at a time, or one plot if that has more."""


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Levels of ground that is left as it is, on a grid of plots anchored at pixel (0, 0).

    Attributes
    ----------
    plot_px
        Scene pixels along a side of a plot.
    levels
        (C + 1, h, w) float32, may be a memory map: mean of each of the model's bands, unit, and
        last the share of the plot's pixels that it is the mean of. Known around tiles to restore.
    """

    plot_px: int
    levels: Float32

    def around(self, window: Window) -> tuple[Float64, Float64] | None:
        """What ground around a window of the scene says of the ground in it.

        Returns
        -------
        tuple or None
            (C,) mean, unit, of the plots up to `REACH` away, near ones counting more, and (C,)
            variance about it of ground such as this. None if there is no ground in reach.
        """
        row, col = (
            (first + size / 2) / self.plot_px
            for first, size in ((window.row, window.height), (window.col, window.width))
        )
        centre = Window(int(row), int(col), 1, 1)
        inside = centre.expand(REACH, Window(0, 0, *self.levels.shape[1:]))
        plots = np.asarray(self.levels[:, *inside.slices()], np.float64)
        down = np.arange(inside.row, inside.row_stop) + 0.5 - row
        right = np.arange(inside.col, inside.col_stop) + 0.5 - col
        far = (down[:, None] ** 2 + right**2) / _FADE**2
        weight = plots[-1] / (1.0 + far)
        total = weight.sum()
        if total == 0.0:
            return None
        mean: Float64 = (plots[:-1] * weight).sum(axis=(1, 2)) / total
        spread = ((plots[:-1] - mean[:, None, None]) ** 2 * weight).sum(axis=(1, 2)) / total
        alike = (weight**2).sum() / total**2  # one over the number of plots that count
        if alike >= 1.0:
            return None  # a single plot tells nothing of how far plots differ
        away = (np.sqrt(far) * weight).sum() / total
        strays = _STRAYS**2 * (1.0 + away)
        return mean, spread / (1.0 - alike) * (1.0 + alike) + strays


def shift_towards(
    ground: Ground, window: Window, seen: Float32, said: Float32, depths: Float32
) -> Float32:
    """What to add to a tile so that its level is the likeliest, given the ground around it.

    Parameters
    ----------
    window
        The tile in the scene.
    seen, said
        (C, h, w) means of cells, unit: of the tile before, and of what the model changed.
    depths
        (h, w) in [0, 1]: how deep in a cloud each cell lies. At a cloud's edge a model sees ground.

    Returns
    -------
    ndarray
        (C, h, w), unit; 0 at the edges of clouds and beyond, and in a tile that the model left as
        it was. Else the model's level and that of the ground around are weighed, see `_trust`.
    """
    cells = float(depths.sum(dtype=np.float64))
    around = ground.around(window) if cells > 0 and said.any() else None
    if around is None:
        return np.zeros_like(said)
    mean, variance = around
    own = ((seen.astype(np.float64) + said) * depths).sum(axis=(1, 2)) / cells
    variance = variance * (1.0 + _SMALL_CELLS / cells)
    shift = np.clip(_trust(mean - own, variance) * (mean - own), -_LARGEST, _LARGEST)
    return np.asarray(shift[:, None, None] * depths, np.float32)


def _trust(difference: Float64, variance: Float64) -> Float64:
    """(C,) weights in [0, 1] of the ground against the model, from how far their levels differ.

    The posterior mean, where the model knows or guesses, and the ground is alike or other: four
    cases, in each of which both are normal about the truth.
    """
    model = np.array([_KNOWS, _KNOWS, _GUESSES, _GUESSES])[:, None] ** 2
    ground = variance + np.array([0.0, _DIFFERS, 0.0, _DIFFERS])[:, None] ** 2
    guess, other = _GUESS_SHARE, _DIFFER_SHARE
    share = np.outer([1.0 - guess, guess], [1.0 - other, other]).ravel()
    spread = model + ground
    likely = (-0.5 * (np.log(spread) + difference**2 / spread)).mean(axis=1)
    likely = likely * min(_INDEPENDENT, len(difference)) + np.log(share)
    odds = np.exp(likely - likely.max())[:, None]
    trust: Float64 = (odds * model / spread).sum(axis=0) / odds.sum()
    return trust


@dataclass(frozen=True, slots=True, eq=False)
class GroundTask:
    """A square of plots to read, in whatever process.

    Attributes
    ----------
    plots
        On the grid of plots.
    k, cells_per_plot
        Scene pixels per cell of the survey, and cells along a plot.
    clear
        (h, w) bool of the cells under the plots: left as they are, and with valid pixels.
    """

    scene: Scene
    feed: tuple[int, ...]
    radiometry: Radiometry
    plots: Window
    k: int
    cells_per_plot: int
    clear: NDArray[np.bool_]


def measured_plots(task: GroundTask, _: Tell) -> Float32:
    """(C + 1, h, w) float32 levels of a square of plots, as `Ground` has them."""
    n = task.cells_per_plot
    origin = task.plots.scaled(n)
    cells = Window(origin.row, origin.col, *task.clear.shape)
    with gdal_environment(COARSE_CACHE_BYTES), reader(task.scene) as source:
        mean, count = source.read_coarse(cells, task.k, task.feed)
    unit = task.radiometry.encode(mean)
    count = np.where(task.clear, count, 0)
    found = np.zeros((len(unit) + 1, *task.plots.shape))
    edges = [np.arange(0, size, n) for size in count.shape]

    def by_plot(values: NDArray[np.generic]) -> Float64:
        rows = np.add.reduceat(values.astype(np.float64), edges[0], axis=0)
        sums: Float64 = np.add.reduceat(rows, edges[1], axis=1)
        return sums

    number = by_plot(count)
    for plane, band in zip(found, unit, strict=False):
        plane[:] = by_plot(band * count) / np.maximum(number, 1)
    found[-1] = number / (n * task.k) ** 2
    give_back()
    return found.astype(np.float32)


def measure_ground(
    scene: Scene,
    feed: tuple[int, ...],
    radiometry: Radiometry,
    change: ChangeMap,
    plan: Plan,
    engine: Engine,
    work: WorkDir,
    told: Counted,
) -> Ground:
    """Read the ground around all tiles to restore, square by square.

    Parameters
    ----------
    feed, radiometry
        Scene bands for the model's, and the range of those.
    work
        Holds the levels in a memory map, `LEVELS_FILE`, and notes rows of squares, so that whoever
        was killed goes on after them.
    told
        Told of squares read, and of all squares there are; those without clear ground are not read.

    Raises
    ------
    OutputError
        If there is no room for the levels.
    SceneError
        If the scene cannot be read.
    """
    k = change.survey.k
    n = max(1, round(plan.blocks.lattice.tile_px * plan.factor / (PLOTS_PER_TILE * k)))
    rows, cols = (-(-side // n) for side in change.survey.stored.shape)
    shape = (len(feed) + 1, rows, cols)
    finished = work.last(_ROW)
    levels = on_disk(work.path / LEVELS_FILE, shape, np.float32, finished is not None)
    squares = list(_squares_near(plan, n * k, max(1, _SQUARE_CELLS // n), rows, cols))
    todo = [square for square in squares if finished is None or square.row > finished["row"]]
    tasks = (
        GroundTask(scene, feed, radiometry, square, k, n, clear)
        for square in todo
        if (clear := _clear_cells(change, square.scaled(n))).any()
    )
    results = in_order(engine, measured_plots, tasks, lambda _: None)
    top = 0 if finished is None else finished["rows"][1]
    last: Window | None = None
    for done, (task, found) in enumerate(results, start=len(squares) - len(todo) + 1):
        if last is not None and task.plots.row > last.row:
            flushed(levels)
            work.note_rows(_ROW, last.row, levels, slice(top, last.row_stop))
            top = last.row_stop
        last = task.plots
        levels[:, *task.plots.slices()] = found
        let_go(levels)
        told(done, len(squares))
    told(len(squares), len(squares))
    flushed(levels)
    return Ground(n * k, levels)


def _squares_near(plan: Plan, plot_px: int, side: int, rows: int, cols: int) -> Iterator[Window]:
    """Squares of ``side`` plots within reach of a tile to restore, row by row."""
    near = np.zeros((-(-rows // side), -(-cols // side)), np.bool_)
    for block in plan.work:
        for tile in block.tiles:
            plots = plan.blocks.lattice.tile(*tile).scaled(plan.factor).coarsened(plot_px)
            first = (max(0, plots.row - REACH), max(0, plots.col - REACH))
            near[
                first[0] // side : (plots.row_stop + REACH) // side + 1,
                first[1] // side : (plots.col_stop + REACH) // side + 1,
            ] = True
    whole = Window(0, 0, rows, cols)
    for i, j in np.argwhere(near).tolist():
        yield Window(i * side, j * side, side, side).clipped(whole)


def _clear_cells(change: ChangeMap, cells: Window) -> NDArray[np.bool_]:
    """Cells under a window, cut to the scene, that hold data and are left as they are."""
    inside = cells.clipped(Window(0, 0, *change.survey.stored.shape))
    stored = np.asarray(change.survey.stored[inside.slices()])
    let_go(change.survey.stored)
    return np.asarray((change.cell_weights(inside) == 0) & (stored <= _CLEAR))
