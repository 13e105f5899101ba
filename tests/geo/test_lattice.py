"""Tiles cover, feathers sum exactly, blocks partition: for any size."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decr.errors import ConfigError
from decr.geo.grid import Window
from decr.geo.lattice import FEATHER_SUM, Blocks, Lattice


@st.composite
def lattices(draw: st.DrawFn, longest: int = 120) -> Lattice:
    tile = draw(st.integers(1, 40))
    overlap = draw(st.integers(0, tile // 2))
    return Lattice(draw(st.integers(1, longest)), draw(st.integers(1, longest)), tile, overlap)


@given(lattices())
def test_tiles_start_every_stride_and_the_last_ends_at_the_edge(lattice: Lattice) -> None:
    for axis, size in ((0, lattice.height), (1, lattice.width)):
        starts = lattice.starts(axis)
        assert starts[0] == 0
        steps = np.diff(starts)
        assert (steps > 0).all()
        assert (steps[:-1] == lattice.stride).all()
        assert starts[-1] == max(0, size - lattice.tile_px)
        assert (steps <= lattice.stride).all()


@given(lattices(60))
def test_tiles_cover_and_stay_inside(lattice: Lattice) -> None:
    covered = np.zeros((lattice.height, lattice.width), dtype=int)
    for i, j in lattice:
        covered[lattice.tile(i, j).slices()] += 1
    assert covered.shape == (lattice.height, lattice.width)
    assert covered.min() >= 1
    assert covered.max() <= 9
    rows, cols = lattice.shape
    assert len(list(lattice)) == rows * cols


@given(
    lattices(300)
    | st.builds(Lattice, st.integers(257, 1400), st.just(10), st.just(256), st.integers(0, 128))
)
def test_weights_sum_exactly_and_are_positive(lattice: Lattice) -> None:
    for axis, size in ((0, lattice.height), (1, lattice.width)):
        total = np.zeros(size, dtype=np.int64)
        for start, weight in zip(lattice.starts(axis), lattice.weights(axis), strict=True):
            assert weight.dtype == np.int32
            assert len(weight) == min(size, lattice.tile_px)
            assert weight.min() >= 1
            total[start : start + len(weight)] += weight
        np.testing.assert_array_equal(total, FEATHER_SUM)


@given(lattices(60))
def test_weights_of_tiles_sum_to_the_same_at_every_pixel(lattice: Lattice) -> None:
    total = np.zeros((lattice.height, lattice.width), dtype=np.int64)
    for i, j in lattice:
        total[lattice.tile(i, j).slices()] += lattice.tile_weights(i, j)
    np.testing.assert_array_equal(total, 2**14)


def test_feather_is_a_ramp_over_the_middle_half_of_an_overlap() -> None:
    first, second, *_ = Lattice(1024, 256, 256, 64).weights(0)
    assert (first[:192] == FEATHER_SUM).all()
    ramp = second[:64].astype(int)
    assert (ramp[:16] == 1).all()
    assert (ramp[-16:] == FEATHER_SUM - 1).all()
    steps = np.diff(ramp[15:49])
    assert steps.min() >= 3
    assert steps.max() <= 5
    np.testing.assert_array_equal(first[192:] + second[:64], FEATHER_SUM)
    assert not first.flags.writeable


def test_seams_vanish_where_three_tiles_overlap() -> None:
    # 449 = 192 + 256 + 1: the flush tile starts one pixel after its neighbour.
    lattice = Lattice(449, 449, 256, 64)
    assert lattice.starts(0) == (0, 192, 193)
    total = np.zeros((3, 449), dtype=int)
    for slot, (start, weight) in enumerate(zip(lattice.starts(0), lattice.weights(0), strict=True)):
        total[slot, start : start + 256] = weight
    # No tile appears or ends with a step that the eye could see.
    assert np.abs(np.diff(total, axis=1)).max() <= 8


def test_flush_tile_is_never_doubled() -> None:
    assert Lattice(448, 448).starts(0) == (0, 192)
    assert Lattice(256, 100).starts(0) == (0,)
    assert Lattice(256, 100).tile(0, 0) == Window(0, 0, 256, 100)
    assert Lattice(257, 257).starts(0) == (0, 1)


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0), (-4, 0), (256, -1), (256, 129), (7, 4)])
def test_tiles_of_impossible_sizes_and_overlaps_are_refused(tile: int, overlap: int) -> None:
    with pytest.raises(ConfigError):
        Lattice(100, 100, tile, overlap)


def test_scenes_without_rows_and_blocks_without_tiles_are_refused() -> None:
    with pytest.raises(ConfigError):
        Lattice(0, 100)
    with pytest.raises(ConfigError, match="at least 1"):
        Blocks(Lattice(100, 100), 0)


@settings(deadline=None, max_examples=60)
@given(lattices(90), st.integers(1, 4))
def test_cores_partition_and_own_each_tile_once(lattice: Lattice, strides: int) -> None:
    blocks = Blocks(lattice, strides)
    covered = np.zeros((lattice.height, lattice.width), dtype=int)
    owned: list[tuple[int, int]] = []
    for block in blocks.blocks():
        covered[block.core.slices()] += 1
        tiles = blocks.tiles_of(block)
        assert tiles
        owned += tiles
    np.testing.assert_array_equal(covered, 1)
    assert sorted(owned) == list(lattice)


@settings(deadline=None, max_examples=60)
@given(lattices(90), st.integers(1, 4))
def test_blocks_reach_only_down_and_right_by_the_overlap(lattice: Lattice, strides: int) -> None:
    blocks = Blocks(lattice, strides)
    scene = Window(0, 0, lattice.height, lattice.width)
    for block in blocks.blocks():
        core, reach = block.core, blocks.reach(block)
        for tile in blocks.tiles_of(block):
            assert reach.contains(lattice.tile(*tile))
        assert (reach.row, reach.col) == (core.row, core.col)
        assert scene.contains(reach)
        down, right = reach.row_stop - core.row_stop, reach.col_stop - core.col_stop
        assert down == (0 if core.row_stop == lattice.height else lattice.overlap_px)
        assert right == (0 if core.col_stop == lattice.width else lattice.overlap_px)


@settings(deadline=None, max_examples=60)
@given(lattices(90), st.integers(1, 4))
def test_last_core_absorbs_less_than_a_tile(lattice: Lattice, strides: int) -> None:
    blocks = Blocks(lattice, strides)
    for axis in (0, 1):
        sizes = np.diff(blocks.edges(axis))
        assert (sizes[:-1] == blocks.block_px).all()
        assert 1 <= sizes[-1] < blocks.block_px + lattice.tile_px


def test_huge_lattice_is_quick() -> None:
    lattice = Lattice(200_000, 100_000)
    began = time.perf_counter()
    weights = lattice.weights(0)
    blocks = Blocks(lattice, 8).blocks()
    assert len(weights) == len(lattice.starts(0))
    assert len(blocks) == 131 * 65
    assert time.perf_counter() - began < 5.0
