"""Seams: what counts, on which lines, and that shards add up."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from decr.geo.grid import Window
from decr.geo.lattice import Lattice
from decr.pipeline.seams import (
    GREY_LEVELS,
    Gradients,
    Overlaps,
    Squares,
    gradients,
    noted,
    seams_of,
    squares,
)

LATTICE = Lattice(112, 160, 64, 16)


def test_overlaps_compare_each_tile_with_those_above_and_left() -> None:
    overlaps = Overlaps(LATTICE)
    for i, j in LATTICE:
        overlaps.add((i, j), np.full((1, 64, 64), float(i), np.float32))
    # Two rows of three tiles: columns agree, rows differ by 1 in 16 rows of each tile.
    assert LATTICE.shape == (2, 3)
    across = 2 * 2 * 64 * 16
    down = 3 * 16 * 64
    assert overlaps.difference == Squares(across + down, float(down))


def test_a_step_on_a_line_is_seen_and_one_elsewhere_is_not_taken_for_it() -> None:
    window = Window(0, 0, 112, 160)
    everything = np.ones(window.shape, bool)
    noise = np.random.default_rng(0).normal(0, 1, (1, *window.shape))
    on, off = noise.copy(), noise.copy()
    on[:, :, 48:] += 10  # the second tile begins at column 48
    off[:, :, 30:] += 10
    clean, seam, other = (
        gradients(pixels, everything, LATTICE, 1, window) for pixels in (noise, on, off)
    )

    def score(found: Gradients) -> float:
        return found.lines.mean / found.elsewhere.mean

    assert score(clean) == pytest.approx(1, abs=0.15)
    assert score(seam) > 5
    assert score(other) < 1


def test_lines_are_where_tiles_begin_and_end_at_the_scenes_resolution() -> None:
    window = Window(10, 20, 200, 280)
    pixels = np.zeros((1, *window.shape))
    step = 64 * 2 - window.col  # a tile ends at column 64 of the work grid
    pixels[:, :, step:] = 1
    found = gradients(pixels, np.ones(window.shape, bool), LATTICE, 2, window)
    assert found.lines.total == window.height
    assert found.elsewhere.total == 0


def test_only_pairs_of_wholly_restored_pixels_count() -> None:
    window = Window(0, 0, 112, 160)
    changed = np.zeros(window.shape, bool)
    changed[5, 47:49] = True
    pixels = np.arange(112 * 160, dtype=float).reshape(1, 112, 160)
    found = gradients(pixels, changed, LATTICE, 1, window)
    assert found == Gradients(Squares(1, 1.0), Squares())


def test_strips_with_the_row_above_count_each_step_once() -> None:
    rng = np.random.default_rng(0)
    window = Window(10, 20, 90, 120)
    pixels = rng.integers(0, 1000, (2, *window.shape)).astype("uint16")
    changed = rng.random(window.shape) < 0.8
    total, above = Gradients(), None
    for first, stop in ((0, 40), (40, 41), (41, 90)):
        strip = Window(window.row + first, window.col, stop - first, window.width)
        part = pixels[:, first:stop], changed[first:stop]
        total += gradients(*part, LATTICE, 1, strip, above)
        above = part[0][:, -1:], part[1][-1:]
    assert total == gradients(pixels, changed, LATTICE, 1, window)


def test_the_networks_own_grid_is_no_border_of_tiles() -> None:
    window = Window(0, 0, 112, 160)
    everything = np.ones(window.shape, bool)
    noise = np.random.default_rng(0).normal(0, 1, (1, *window.shape))
    gridded = noise.copy()
    gridded[:, ::16] += 2  # every 16 px, on lines and off them
    gridded[:, :, ::16] += 2
    found = gradients(gridded, everything, LATTICE, 1, window)
    assert found.lines.mean / found.elsewhere.mean > 1.8
    assert found.lines.mean / found.grid.mean == pytest.approx(1, abs=0.15)
    seam = gridded.copy()
    seam[:, :, 48:] += 10
    found = gradients(seam, everything, LATTICE, 1, window)
    assert found.lines.mean / found.grid.mean > 3


def test_numbers_that_do_not_count_need_not_be_finite() -> None:
    window = Window(0, 0, 112, 160)
    pixels = np.random.default_rng(0).normal(0, 1, (1, *window.shape)).astype(np.float32)
    counts = np.ones(window.shape, bool)
    counts[40:50], counts[90:92] = False, False
    wanted = gradients(pixels, counts, LATTICE, 1, window)
    pixels[:, 40:50], pixels[:, 90:92] = -np.inf, np.finfo(np.float32).min
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gradients(pixels, counts, LATTICE, 1, window) == wanted


def test_the_scene_is_the_sum_of_its_blocks_through_the_journal() -> None:
    steps = Gradients(Squares(10, 30.0), Squares(100, 200.0), Squares(10, 25.0))
    entries = [
        {"kind": "survey"},
        noted(difference=Squares(4, 1.0)),
        noted(tone=(Squares(2, 8.0), Squares(2, 2.0)), steps=steps),
        noted(difference=Squares(12, 3.0)),
        noted(steps=Gradients(Squares(10, 10.0), Squares(100, 200.0))),
    ]  # fmt: skip
    seams = seams_of(json.loads(json.dumps(entries)))
    assert seams.score == (40 / 20) / (400 / 200)
    assert seams.score_on_grid == (40 / 20) / (25 / 10)
    assert seams.overlap_rms == GREY_LEVELS * 0.5
    assert seams.tone_rms_before == GREY_LEVELS * 2
    assert seams.tone_rms == GREY_LEVELS


def test_nothing_restored_has_no_seams() -> None:
    seams = seams_of([])
    assert (seams.score, seams.score_on_grid) == (None, None)
    assert (seams.overlap_rms, seams.tone_rms) == (None, None)


def test_squares_count_and_sum_and_their_mean_of_none_is_0() -> None:
    assert squares(np.array([[1, 2], [3, 4]], np.uint8)) == Squares(4, 30.0)
    assert Squares().mean == 0
