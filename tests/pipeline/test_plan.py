"""The planned memory: what it depends on, and what it must not depend on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from decr.geo.lattice import Blocks, Lattice
from decr.geo.output import write_memory_bytes
from decr.geo.scene import open_scene
from decr.pipeline.plan import planned_memory_mb


def memory_mb(side: int, write_bytes: int = 0, factor: int = 1) -> float:
    blocks = Blocks(Lattice(side, side, 256, 64), 8)
    return planned_memory_mb(blocks, factor, 8, 4, write_bytes)


def test_memory_does_not_grow_with_the_scene() -> None:
    assert memory_mb(4096) == memory_mb(300_000)
    assert memory_mb(300) < memory_mb(4096)


def test_each_tile_in_the_making_needs_room() -> None:
    blocks = Blocks(Lattice(4096, 4096, 256, 64), 6)
    one, two, many = (planned_memory_mb(blocks, 1, 8, 4, 0, lanes) for lanes in (1, 2, 16))
    assert many - one == pytest.approx(15 * (two - one))
    assert two - one > 80


def test_memory_is_that_of_the_greedier_of_restoring_and_writing() -> None:
    assert memory_mb(4096, 1_000_000) == memory_mb(4096)
    assert memory_mb(4096, 2_000_000_000) > memory_mb(4096) + 500
    assert memory_mb(4096, factor=2) > memory_mb(4096)


@pytest.mark.parametrize(("tiled", "grows"), [(True, False), (False, True)])
def test_writing_needs_a_cache_for_wide_strips_only(
    tmp_path: Path, tiled: bool, grows: bool
) -> None:
    sizes = []
    for width in (4096, 40_000):
        path = tmp_path / f"{width}.tif"
        profile = {"driver": "GTiff", "count": 4, "height": 64, "width": width, "dtype": "uint16"}
        blocks = {"blockxsize": 512, "blockysize": 512} if tiled else {"blockysize": 16}
        with rasterio.open(path, "w", **profile, tiled=tiled, **blocks, sparse_ok=True) as file:
            file.descriptions = ("blue", "green", "red", "nir")
            file.write(np.ones((4, 1, 1), "uint16"), window=((0, 1), (0, 1)))
        sizes.append(write_memory_bytes(open_scene(path)))
    assert (sizes[1] > sizes[0]) is grows
    # Some strips must fit: those that one row of the output's blocks cuts.
    assert sizes[1] >= (0 if tiled else 512 * 40_000 * 8)
