"""What two acquisitions and their masks say: shift, radiometry, and the facts of each chip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import Polygon

from decr.dataset.acquisitions import Acquisitions
from decr.dataset.chip_rules import (
    BAD_SHIFT,
    LOW_OVERLAP,
    TOO_SMALL,
    ChipFacts,
    Limits,
    optical_thickness,
    rejection,
)
from decr.dataset.match import LinearMatch, fit_match, whole_cell_means
from decr.dataset.register import Shift, View, measure_shift
from decr.dataset.white import full_scale
from decr.errors import warn
from decr.geo.align import KERNEL_PX, LEAST_SHIFT_PX, Aligned, aligned, covered, is_resampled
from decr.geo.grid import Window
from decr.geo.layers import NODATA
from decr.geo.reader import SceneReader, reader
from decr.geo.sources import check_states

Bool = NDArray[np.bool_]

LEAST_CORRELATION = 0.8
"""Of the cells of a band; below, its gain may be a quarter off either way: least squares of the two
directions are as far apart as this and its inverse."""
LEAST_VIEW_PX = 64
"""Side of what both images must cover, less the border that resampling needs."""

_VIEW_PX = 512
_MOST_VIEWS = 36
_BEST_VIEWS = 12
_CHIP_REACH_PX = 8
_SURE = 0.5
_STRIP_PX = 256
_WHITE_QUANTILE = 0.99
_LEAST_WHITE = 0.6


@dataclass(frozen=True, slots=True)
class Masks:
    """Cloud masks of both scenes, each on its own grid: 0 clear, 1 cloudy, 255 no data.

    The cloudy scene's has a second band, for thin cloud, where the detector tells that.
    """

    cloudy: Path
    clear: Path


@dataclass(frozen=True, slots=True)
class PairFacts:
    """What was measured of a pair.

    Attributes
    ----------
    shift
        Of the clear image; None if it could not be told.
    match
        Radiometry; None if too little is clear in both.
    opaque_dn
        DN of opaque cloud, mean of bands.
    reason
        Why the pair is rejected as a whole, or None.
    """

    shift: Shift | None
    match: LinearMatch | None
    opaque_dn: float
    reason: str | None

    @property
    def corrected(self) -> tuple[float, float]:
        """Rows and columns by which the clear image is moved back."""
        if self.shift is None or self.shift.px < LEAST_SHIFT_PX:
            return 0.0, 0.0
        return self.shift.rows, self.shift.cols


@dataclass(frozen=True, slots=True, eq=False)
class OpenPair:
    """Two open acquisitions on the cloudy one's grid. Made by `both`."""

    pair: Acquisitions
    cloudy: SceneReader
    clear: Aligned
    cloudy_mask: Aligned
    clear_mask: Aligned
    area: Polygon
    smooth: bool

    def read(self, window: Window) -> PairPixels:
        """Pixels and masks of a window."""
        dn, _ = self.cloudy.read(window, self.pair.indices(self.pair.cloudy))
        mask = self.cloudy_mask.read(window, range(self.cloudy_mask.dataset.count))
        truth = self.clear.read(window, self.pair.indices(self.pair.clear))
        return PairPixels(
            dn,
            truth,
            mask[0],
            self._clear_clouds(window),
            mask[1] == 1 if len(mask) > 1 else None,
            tuple(i for i, band in enumerate(self.pair.bands) if band != "nir")
            or tuple(range(len(self.pair.bands))),
        )

    def valid(self, window: Window) -> Bool:
        """(H, W) True where both have data; only masks are read."""
        cloudy = self.cloudy_mask.read(window, [0])[0]
        return np.asarray((cloudy != NODATA) & (self._clear_clouds(window) != NODATA))

    def _clear_clouds(self, window: Window) -> NDArray[np.uint8]:
        """(H, W) clouds of the clear image, and where it has no data."""
        wide = window.expand(KERNEL_PX, self.pair.cloudy.grid.window)
        clear_mask = self.clear_mask.read(wide, [0])[0]
        missing = clear_mask == NODATA
        if self.smooth:
            # What was resampled from a pixel without data is no data either.
            missing = ndimage.binary_dilation(missing, np.ones((3, 3)), iterations=KERNEL_PX)
        inside = window.slices(wide)
        return np.asarray(np.where(missing, np.uint8(NODATA), clear_mask)[inside])


@dataclass(frozen=True, slots=True, eq=False)
class PairPixels:
    """A window of both images.

    Attributes
    ----------
    cloudy, clear
        (C, H, W) DN of the shared bands.
    cloudy_mask, clear_mask
        (H, W) uint8: 0 clear, 1 cloudy, 255 no data.
    thin
        (H, W) bool, or None where the detector does not tell.
    visible
        0-based bands in which ground changes least from date to date.
    """

    cloudy: NDArray[Any]
    clear: NDArray[Any]
    cloudy_mask: NDArray[np.uint8]
    clear_mask: NDArray[np.uint8]
    thin: Bool | None
    visible: tuple[int, ...]

    @property
    def clear_in_both(self) -> Bool:
        """(H, W) True where both show the ground."""
        return np.asarray((self.cloudy_mask == 0) & (self.clear_mask == 0))

    @property
    def view(self) -> View:
        """For measuring a shift: means of visible bands."""
        bands = list(self.visible)
        means = [image[bands].mean(axis=0, dtype=np.float32) for image in (self.cloudy, self.clear)]
        return View(means[0], means[1], self.cloudy_mask == 0, self.clear_mask == 0)


@contextmanager
def both(pair: Acquisitions, masks: Masks, shift: tuple[float, float]) -> Iterator[OpenPair]:
    """Open a pair; the clear image is moved by ``shift`` (rows, cols) onto the cloudy one's grid.

    Raises
    ------
    SceneError
        If a file cannot be read, or is replaced meanwhile.
    """
    grid = pair.cloudy.grid
    smooth = is_resampled(pair.clear.grid, grid, shift)
    nodata = pair.clear.nodata[pair.indices(pair.clear)[0]]
    with (
        reader(pair.cloudy) as cloudy,
        aligned(pair.clear.path, grid, shift, smooth, nodata, pair.clear.bands) as clear,
        aligned(str(masks.cloudy), grid, (0.0, 0.0), False, NODATA) as cloudy_mask,
        aligned(str(masks.clear), grid, shift, False, NODATA) as clear_mask,
    ):
        area = covered(pair.clear.grid, grid, shift)
        yield OpenPair(pair, cloudy, clear, cloudy_mask, clear_mask, area, smooth)
    check_states(pair.cloudy.files)  # of one replaced meanwhile parts were read


def ruled_out(pair: Acquisitions) -> str | None:
    """Why a pair is rejected as a whole before a pixel is read; None if it is not."""
    if min(*pair.cloudy.grid.window.shape, *pair.clear.grid.window.shape) < LEAST_VIEW_PX:
        return TOO_SMALL
    return None if _spread(pair, (0.0, 0.0)) else LOW_OVERLAP


def measure_pair(
    pair: Acquisitions, masks: Masks, limits: Limits, opaque_dn: float | None
) -> PairFacts:
    """Measure shift and radiometry of a pair on up to 36 windows spread over what both cover.

    Parameters
    ----------
    opaque_dn
        DN of opaque cloud; None takes the brightest cloudy pixels but one in a hundred, and at
        least 0.6 of the full scale of the bits in use, since all clouds may be thin.
    """
    windows = _spread(pair, (0.0, 0.0))
    with both(pair, masks, (0.0, 0.0)) as opened:
        clear = [float(opened.read(window).clear_in_both.mean()) for window in windows]
        ranked = sorted(range(len(windows)), key=lambda i: (-clear[i], i))[:_BEST_VIEWS]
        views = [opened.read(windows[i]).view for i in sorted(ranked) if clear[i] > 0]
        white = _opaque(opened, windows) if opaque_dn is None else opaque_dn
    reach = int(np.ceil(limits.max_shift_px)) + 2
    shift = measure_shift(views, reach)
    if shift is None or shift.px > limits.max_shift_px:
        return PairFacts(shift, None, white, BAD_SHIFT)
    facts = PairFacts(shift, None, white, None)
    means: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    with both(pair, masks, facts.corrected) as opened:
        for window in _spread(pair, facts.corrected):
            seen = opened.read(window)
            ok = seen.clear_in_both
            means.append((whole_cell_means(seen.clear, ok), whole_cell_means(seen.cloudy, ok)))
    if not means:
        return PairFacts(shift, None, white, LOW_OVERLAP)
    match = fit_match(*(np.concatenate([m[i] for m in means], axis=1) for i in (0, 1)))
    return PairFacts(shift, match, white, None)


def tell_doubtful(facts: Mapping[str, PairFacts], pairs: Mapping[str, Acquisitions]) -> None:
    """Warn of pairs whose radiometry is hardly known, since they look little alike.

    Warns
    -----
    DecrWarning
        If the cells of a band have a correlation below `LEAST_CORRELATION`, or there is no fit.
    """
    doubts = {}
    for name, found in facts.items():
        if found.reason is None and found.match is None:
            doubts[name] = "no gain can be told"
        elif found.match is not None:
            match = found.match
            alike = zip(match.correlation, pairs[name].bands, match.gain, strict=True)
            correlation, band, gain = min(alike)
            if correlation < LEAST_CORRELATION:
                doubts[name] = (
                    f"{band}: correlation {correlation:.2f}, gain {gain:.2f}, but anything from "
                    f"{correlation * gain:.2f} to {gain / correlation:.2f} fits"
                )
    if doubts:
        name, why = next(iter(doubts.items()))
        warn(
            f"{len(doubts)} of {len(facts)} pairs, such as {name} ({why}), look little alike where "
            f"no cloud was found (correlation below {LEAST_CORRELATION:g}), or too little is clear "
            "in both: haze that was not found, harvest, snow or other changes of the ground spread "
            "the numbers, and gains, which decide optical thickness and --match, may be far off; "
            "see acquisitions.json, and give masks with the haze (--detector file:FOLDER), dates "
            "nearer to each other, or no --match"
        )


def chip_windows(opened: OpenPair, size_px: int) -> list[Window]:
    """Chips of the cloudy scene, on a lattice from the first row and column with data in both."""
    grid = opened.pair.cloudy.grid
    top, left = _first_data(opened)
    return [
        Window(row, col, size_px, size_px)
        for row in range(top % size_px, grid.height - size_px + 1, size_px)
        for col in range(left % size_px, grid.width - size_px + 1, size_px)
    ]


def _first_data(opened: OpenPair) -> tuple[int, int]:
    """First row and column, from where both images lie, that have a pixel with data in both."""
    grid = opened.pair.cloudy.grid
    left, top = (max(0, int(np.ceil(v))) for v in opened.area.bounds[:2])
    row, col = None, grid.width
    for start in range(top, grid.height, _STRIP_PX):
        height = min(_STRIP_PX, grid.height - start)
        valid = opened.valid(Window(start, left, height, grid.width - left))
        rows, cols = (np.flatnonzero(valid.any(axis=axis)) for axis in (1, 0))
        if rows.size:
            row = start + int(rows[0]) if row is None else row
            col = min(col, left + int(cols[0]))
        if col == left:
            break
    return (top, left) if row is None else (row, col)


def measure_chip(
    opened: OpenPair, window: Window, facts: PairFacts, limits: Limits
) -> tuple[ChipFacts, PairPixels | None]:
    """Measure a chip, until a limit rejects it.

    Returns
    -------
    tuple of ChipFacts and PairPixels or None
        Pixels, unless they were not read.
    """
    box = shapely.box(window.col, window.row, window.col_stop, window.row_stop)
    found = ChipFacts(float(shapely.intersection(opened.area, box).area / box.area))
    if rejection(found, limits) is not None:
        return found, None
    seen = opened.read(window)
    valid = (seen.cloudy_mask != NODATA) & (seen.clear_mask != NODATA)
    share = float(1.0 - valid.mean())
    found = ChipFacts(found.overlap, share)
    if rejection(found, limits) is not None or not valid.any():
        return found, seen
    cloudy = (seen.cloudy_mask == 1) & valid
    clear_ccp = float(((seen.clear_mask == 1) & valid).sum() / valid.sum())
    truth = seen.clear if facts.match is None else facts.match.apply(seen.clear)
    tau = optical_thickness(seen.cloudy, truth, facts.opaque_dn)
    found = ChipFacts(
        found.overlap,
        share,
        clear_ccp,
        float(cloudy.sum() / valid.sum()),
        float((cloudy & (tau >= limits.opaque_tau)).sum() / valid.sum()),
        float(np.median(tau[cloudy])) if cloudy.any() else None,
    )
    if rejection(found, limits) is not None:
        return found, seen
    left = measure_shift([seen.view], min(_CHIP_REACH_PX, window.height // 4))
    residual = None if left is None or left.correlation < _SURE else left.px
    return replace(found, residual_px=residual), seen


def _spread(pair: Acquisitions, shift: tuple[float, float]) -> list[Window]:
    """Up to `_MOST_VIEWS` windows, evenly over what both images cover."""
    grid = pair.cloudy.grid
    area = covered(pair.clear.grid, grid, shift)
    if area.is_empty:
        return []
    left, top = (max(0, int(np.ceil(v))) for v in area.bounds[:2])
    right, bottom = int(area.bounds[2]), int(area.bounds[3])
    height, width = min(bottom, grid.height) - top, min(right, grid.width) - left
    side = min(_VIEW_PX, height, width)
    if side < LEAST_VIEW_PX:
        return []
    rows, cols = _starts(height, side), _starts(width, side)
    windows = [Window(top + row, left + col, side, side) for row in rows for col in cols]
    return [
        w for w in windows if area.intersects(shapely.box(w.col, w.row, w.col_stop, w.row_stop))
    ]


def _starts(length: int, side: int) -> Sequence[int]:
    count = min(int(_MOST_VIEWS**0.5), -(-length // side))
    return [int(v) for v in np.linspace(0, length - side, count)]


def _opaque(opened: OpenPair, windows: Sequence[Window]) -> float:
    """DN of opaque cloud, by the brightest cloudy pixels of the windows."""
    bright, top = [], 0.0
    for window in windows:
        seen = opened.read(window)
        top = max(top, float(seen.cloudy[:, seen.cloudy_mask != NODATA].max(initial=0)))
        bright.append(seen.cloudy.mean(axis=0)[seen.cloudy_mask == 1][::7])
    cloudy = np.concatenate(bright)
    scale = full_scale(str(opened.pair.cloudy.dtype), top)
    found = float(np.quantile(cloudy, _WHITE_QUANTILE)) if cloudy.size else 0.0
    return max(found, _LEAST_WHITE * scale)
