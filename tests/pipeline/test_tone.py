"""Tiles agree on tone: what is moved, what is not, and that parts settle like the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from decr.geo.lattice import Lattice
from decr.pipeline.seams import Squares
from decr.pipeline.tone import (
    CELLS,
    REACH,
    Index,
    at_full_size,
    cell_means,
    cells_of,
    corrections,
    disagreement,
)

Said = dict[Index, NDArray[np.float32]]


def said_of(lattice: Lattice, field: NDArray[np.float32], offsets: dict[Index, float]) -> Said:
    """What tiles say that each see a field, and add an offset of their own."""
    out: Said = {}
    for index in lattice:
        window = lattice.tile(*index)
        rows, cols = window.slices()
        tile = field[None, rows, cols]
        height, width = tile.shape[1:]
        side = lattice.tile_px
        tile = np.pad(tile, ((0, 0), (0, side - height), (0, side - width)), mode="symmetric")
        out[index] = cell_means(tile + np.float32(offsets.get(index, 0.0)), lattice, index)
    return out


def ground(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, (height, width)).astype(np.float32)


@given(
    st.integers(20, 300),
    st.integers(20, 300),
    st.integers(0, 32),
    st.integers(0, 2**16),
)
@settings(max_examples=30, deadline=None)
def test_tiles_that_agree_are_left_alone(height: int, width: int, overlap: int, seed: int) -> None:
    lattice = Lattice(height, width, 64, overlap)
    said = said_of(lattice, ground(height, width, seed), {})
    added = corrections(said, lattice, list(said))
    # Up to the last bits of a mean: also where the last tile lies off the regular places.
    assert max(float(np.abs(a).max()) for a in added.values()) < 1e-7


def test_one_bright_tile_is_drawn_to_its_neighbours() -> None:
    lattice = Lattice(240, 240, 64, 16)
    assert lattice.shape == (5, 5)
    said = said_of(lattice, ground(240, 240), {(2, 2): 0.4})
    added = corrections(said, lattice, list(said))
    assert added[2, 2].max() < -0.15  # down, all over
    assert added[1, 2].min() > -1e-3  # the neighbour up, if at all
    assert added[1, 2].max() > 0.03
    before, after = disagreement(said, lattice, added)
    assert before.count == after.count > 0
    assert after.total < 0.05 * before.total


def test_a_tile_alone_has_nobody_to_agree_with() -> None:
    lattice = Lattice(64, 64, 64, 16)
    said = said_of(lattice, ground(64, 64), {(0, 0): 0.3})
    added = corrections(said, lattice, [(0, 0)])
    assert not added[0, 0].any()
    assert disagreement(said, lattice, added) == (Squares(), Squares())


@given(st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_a_part_settles_like_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lattice = Lattice(250, 350, 64, 16)
    every = list(lattice)
    offsets = {index: float(rng.uniform(-0.5, 0.5)) for index in every}
    said = said_of(lattice, ground(250, 350, seed), offsets)
    # Some tiles were never restored.
    said = {index: means for index, means in said.items() if rng.random() < 0.8}
    whole = corrections(said, lattice, list(said))
    row, col = sorted(said)[int(rng.integers(len(said)))]
    near = {
        (i, j): means
        for (i, j), means in said.items()
        if abs(i - row) <= REACH and abs(j - col) <= REACH
    }
    alone = corrections(near, lattice, [(row, col)])
    np.testing.assert_array_equal(alone[row, col], whole[row, col])
    assert whole[row, col].any() or len(near) == 1


def test_cells_lie_on_one_grid_and_inside_their_tile() -> None:
    lattice = Lattice(1000, 777, 256, 50)
    side = 256 // CELLS
    for index in lattice:
        tile, cells = lattice.tile(*index), cells_of(lattice, index)
        assert cells.row * side >= tile.row
        assert cells.row_stop * side <= tile.row_stop
        assert cells.col * side >= tile.col
        assert cells.col_stop * side <= tile.col_stop
        assert {cells.height, cells.width} <= {15, 16}


@pytest.mark.parametrize("shape", [(256, 256), (300, 500), (100, 700)])
def test_full_size_interpolates_between_the_centres_of_cells(shape: tuple[int, int]) -> None:
    lattice = Lattice(*shape)
    for index in lattice:
        tile, cells = lattice.tile(*index), cells_of(lattice, index)
        rows = (np.arange(cells.row, cells.row_stop) + 0.5) * 16 - 0.5  # centres, in pixels
        plane = np.broadcast_to(rows[None, :, None] / 4096, (1, cells.height, cells.width))
        fine = at_full_size(plane.astype(np.float64), lattice, index) / 2**15
        assert fine.shape == (1, tile.height, tile.width)
        wanted = np.clip(np.arange(tile.row, tile.row_stop), rows[0], rows[-1]) / 4096
        np.testing.assert_allclose(fine[0, :, 0], wanted, atol=2**-15)


def test_corrections_are_bounded() -> None:
    lattice = Lattice(112, 64, 64, 16)
    said = said_of(lattice, ground(112, 64), {(0, 0): 2.0, (1, 0): -2.0})
    added = corrections(said, lattice, list(said))
    assert max(float(np.abs(a).max()) for a in added.values()) == 0.5
