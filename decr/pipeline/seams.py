"""How visible tile borders are: neighbours' disagreement, and gradients on the lattice's lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr.geo.grid import Window
from decr.geo.lattice import Axis, Lattice

Float32 = NDArray[np.float32]
GREY_LEVELS = 127.5
"""Grey levels of 8 bits per unit: [-1, 1] spans 255 of them."""

GRID_PX = 16
"""Period of what U-Nets leave in their output by halving and doubling resolution four times.

One of six levels does so five times: every second line of this grid is then one of its own, too.
Lines of the lattice lie on this grid, and pixels there differ a little more than others do all over
the scene. To see the borders of tiles alone, lines are compared with the rest of the grid.
"""


@dataclass(frozen=True, slots=True)
class Squares:
    """A mean of squares in the making: how many numbers, and the sum of their squares."""

    count: int = 0
    total: float = 0.0

    def __add__(self, other: Squares) -> Squares:
        return Squares(self.count + other.count, self.total + other.total)

    @property
    def mean(self) -> float:
        """The mean square; 0 of nothing."""
        return self.total / self.count if self.count else 0.0


def squares(values: NDArray[Any]) -> Squares:
    """The squares of all values."""
    flat = values.astype(np.float64).ravel()
    return Squares(flat.size, float(flat @ flat))


class Overlaps:
    """Compares each restored tile with those above and left of it, before they are blended.

    Tiles must come row by row; two rows of them are kept.
    """

    def __init__(self, lattice: Lattice) -> None:
        self._lattice, self._tiles = lattice, dict[tuple[int, int], Float32]()
        self.difference = Squares()

    def add(self, index: tuple[int, int], tile: Float32) -> None:
        """Take a restored tile (C, tile_px, tile_px), unit."""
        i, j = index
        own = self._lattice.tile(i, j)
        for before in ((i - 1, j), (i, j - 1)):
            other = self._tiles.get(before)
            window = self._lattice.tile(*before) if other is not None else own
            shared = own.intersection(window)
            if other is not None and shared is not None:
                mine, theirs = tile[:, *shared.slices(own)], other[:, *shared.slices(window)]
                self.difference += squares(mine - theirs)
        self._tiles[index] = tile
        self._tiles.pop((i - 2, j), None)


@dataclass(frozen=True, slots=True)
class Gradients:
    """Squared differences of neighbouring pixels, across lines of the lattice and elsewhere.

    ``grid`` are those elsewhere that lie on the networks' grid of `GRID_PX`.
    """

    lines: Squares = Squares()
    elsewhere: Squares = Squares()
    grid: Squares = Squares()

    def __add__(self, other: Gradients) -> Gradients:
        return Gradients(
            self.lines + other.lines, self.elsewhere + other.elsewhere, self.grid + other.grid
        )


def gradients(
    pixels: NDArray[np.generic],
    changed: NDArray[np.bool_],
    lattice: Lattice,
    factor: int,
    window: Window,
    above: tuple[NDArray[np.generic], NDArray[np.bool_]] | None = None,
) -> Gradients:
    """Gradients of restored pixels, on and off the lines where a tile begins or ends.

    Parameters
    ----------
    pixels
        (C, H, W) restored DN under ``window``.
    changed
        (H, W), True where a pixel is wholly the model's; other pixels do not count.
    factor
        Scene pixels per pixel of the lattice.
    above
        The same of the one row above, if the steps from there are to count too.
    """
    period = GRID_PX * factor
    found = _steps(pixels, changed, 1, window.col, _lines(lattice, 1, factor), period)
    row = window.row
    if above is not None:
        pixels = np.concatenate([above[0], pixels], axis=1)
        changed = np.concatenate([above[1], changed])
        row -= 1
    return found + _steps(pixels, changed, 0, row, _lines(lattice, 0, factor), period)


def _steps(
    pixels: NDArray[np.generic],
    changed: NDArray[np.bool_],
    axis: Axis,
    first: int,
    lines: NDArray[np.int64],
    period: int,
) -> Gradients:
    """Differences along an axis on which the first pixel lies at ``first``."""
    at = np.arange(first + 1, first + changed.shape[axis])
    on = np.isin(at, lines)
    grid = ~on & (at % period == 0)
    both = np.delete(changed, 0, axis) & np.delete(changed, -1, axis)
    along, total = 1 - axis, np.zeros(len(on))
    for band in pixels:  # sums along the lines first: there are few of those
        with np.errstate(invalid="ignore", over="ignore"):  # of pixels that do not count
            step = np.diff(band.astype(np.float32), axis=axis)
            energy = np.square(step, out=step)
        total += np.where(both, energy, 0).sum(axis=along, dtype=np.float64)
    count = both.sum(axis=along) * len(pixels)
    return Gradients(
        *(Squares(int(count[at].sum()), float(total[at].sum())) for at in (on, ~on, grid))
    )


def _lines(lattice: Lattice, axis: Axis, factor: int) -> NDArray[np.int64]:
    """First pixel after each line, at full resolution."""
    starts = np.asarray(lattice.starts(axis), np.int64)
    return np.concatenate([starts, starts + lattice.tile_px]) * factor


@dataclass(frozen=True, slots=True)
class Seams:
    """What tile borders were, and what is left of them in a restored scene.

    Attributes
    ----------
    score
        Mean squared difference of neighbouring pixels across lines of the lattice, over that
        elsewhere, where pixels are wholly restored; 1 means that lines do not show. None if no
        such pixels lie on both.
    score_on_grid
        The same over the differences on the networks' own grid alone (`GRID_PX`), on which lines
        lie: the score of the borders of tiles without that of the networks' texture.
    overlap_rms
        Root mean square disagreement of neighbouring tiles where they overlap, before anything is
        done about it, in grey levels of 8 bits; within blocks. None if no tiles overlap.
    tone_rms_before, tone_rms
        The same for means of cells of a sixteenth of a tile, before and after their tones were
        settled; that is what shows from afar.
    """

    score: float | None
    score_on_grid: float | None
    overlap_rms: float | None
    tone_rms_before: float | None
    tone_rms: float | None


def noted(
    *,
    difference: Squares | None = None,
    tone: tuple[Squares, Squares] | None = None,
    steps: Gradients | None = None,
) -> dict[str, Any]:
    """What a block adds to the seams, for its journal entry."""
    parts = {
        "overlap": [difference] if difference is not None else [],
        "tone": list(tone) if tone is not None else [],
        "steps": [steps.lines, steps.elsewhere, steps.grid] if steps is not None else [],
    }
    return {name: [[s.count, s.total] for s in found] for name, found in parts.items() if found}


def seams_of(entries: Iterable[Mapping[str, Any]]) -> Seams:
    """The seams of a scene from the journal entries of its blocks."""
    sums = {"overlap": [Squares()], "tone": [Squares()] * 2, "steps": [Squares()] * 3}
    for entry in entries:
        for name, found in sums.items():
            if name in entry:
                parts = [Squares(*pair) for pair in entry[name]]
                sums[name] = [a + b for a, b in zip(found, parts, strict=True)]
    lines, elsewhere, grid = sums["steps"]
    (overlap,), (before, after) = sums["overlap"], sums["tone"]
    scores = _ratio(lines, elsewhere), _ratio(lines, grid)
    return Seams(*scores, _grey(overlap), _grey(before), _grey(after))


def _ratio(lines: Squares, others: Squares) -> float | None:
    return lines.mean / others.mean if lines.count and others.total else None


def _grey(difference: Squares) -> float | None:
    return GREY_LEVELS * sqrt(difference.mean) if difference.count else None
