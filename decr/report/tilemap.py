"""A map of the CCP of a scene's tiles: a picture, its scale, and numbers under the pointer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decr.report.document import data_block, number
from decr.report.document import shape as style
from decr.report.pictures import ramp, ramp_layer
from decr.report.values import TileCcp

LONGEST_PX = 512
"""Of the picture; it is drawn without smoothing."""
MOST_READ = 5000
"""Tiles whose numbers are in the page; of more, only the picture is."""

UInt8 = NDArray[np.uint8]


def painted(tiles: Sequence[TileCcp], height: int, width: int) -> tuple[UInt8, NDArray[np.bool_]]:
    """Tiles painted where they lie; where they overlap, the later one is seen.

    Returns
    -------
    tuple of ndarray
        (h, w) uint8, 0..255 for a CCP of 0..1, and (h, w) bool, True where a tile with valid
        pixels lies; no side is longer than `LONGEST_PX`.
    """
    scale = min(1.0, LONGEST_PX / max(height, width))
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    values, shown = np.zeros(shape, np.uint8), np.zeros(shape, np.bool_)
    down, right = shape[0] / height, shape[1] / width
    for tile in tiles:
        rows = _span(tile.row, tile.height, down)
        cols = _span(tile.col, tile.width, right)
        shown[rows, cols] = tile.valid_px > 0
        if tile.valid_px:
            values[rows, cols] = round(255 * tile.cloudy_px / tile.valid_px)
    return values, shown


def layer(tiles: Sequence[TileCcp], height: int, width: int) -> str:
    """The map as a data URI."""
    return ramp_layer(*painted(tiles, height, width))


def figure(tiles: Sequence[TileCcp], height: int, width: int) -> str:
    """The map as a figure with its scale, that tells each tile's numbers; with ``tiles.js``."""
    known = sorted(t.cloudy_px / t.valid_px for t in tiles if t.valid_px)
    median = number(float(np.median(known))) if known else "–"
    most = number(known[-1]) if known else "–"
    summary = (
        f"{len(tiles):,} tiles: median CCP {median}, largest {most}; "
        f"{sum(c >= 0.5 for c in known):,} tiles at 0.5 or above."
    )
    readable = len(tiles) <= MOST_READ
    hint = (
        "Point at a tile, or press arrow keys, to read its numbers."
        if readable
        else f"More than {MOST_READ:,} tiles: single numbers are left out of this page."
    )
    numbers = [[t.row, t.col, t.height, t.width, t.cloudy_px, t.valid_px] for t in tiles]
    packed = {"height": height, "width": width, "tiles": numbers if readable else []}
    rect = (
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect visibility="hidden"/></svg>'
    )
    attributes = ' tabindex="0" role="group" aria-describedby="tile"' if readable else ""
    moving = ' class="screen"' if readable else ""
    return (
        f'<figure class="view" {style(height, width)}><div class="pile tilemap"{attributes} '
        f'aria-label="Map of tile CCP">'
        f'<img class="crisp" src="{layer(tiles, height, width)}" alt="Map of tile CCP. {summary}">'
        f"{rect}</div>"
        f'<figcaption><div class="legend">{scale("CCP", "0", "1")}{_nothing(tiles)}</div>'
        f'{summary} <span id="tile"{moving} aria-live="polite">{hint}</span></figcaption></figure>'
        f"{data_block('tiles', packed) if readable else ''}"
    )


def scale(words: str, low: str, high: str) -> str:
    """A bar with the colours of a map from its least to its greatest value."""
    stops = ",".join(f"rgb({r} {g} {b})" for r, g, b in ramp()[::51])
    return (
        f'<span class="scale">{words} {low}<b style="background:linear-gradient(90deg,{stops})">'
        f"</b>{high}</span>"
    )


def _nothing(tiles: Sequence[TileCcp]) -> str:
    if all(tile.valid_px for tile in tiles):
        return ""
    return '<span><i style="background:var(--faint);border-color:var(--line)"></i>no data</span>'


def _span(first: int, count: int, scale: float) -> slice:
    start = round(first * scale)
    return slice(start, max(start + 1, round((first + count) * scale)))
