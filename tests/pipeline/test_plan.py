"""The planned memory: what it depends on, and what it must not depend on."""

from __future__ import annotations

import errno
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from decr.cloud.change import INVALID, ChangeRule
from decr.config import DecloudConfig
from decr.errors import OutputError, SceneError
from decr.geo.grid import Window
from decr.geo.lattice import Blocks, Lattice
from decr.geo.output import write_memory_bytes
from decr.geo.scene import open_scene
from decr.pipeline.change_map import ChangeMap
from decr.pipeline.declouds import declouds
from decr.pipeline.engine import local_engine
from decr.pipeline.first_pass import plan_scene, probed, survey_and_plan
from decr.pipeline.mapped import let_go, on_disk
from decr.pipeline.plan import Plan, described, make_plan, tile_spans
from decr.pipeline.prepare import prepare
from decr.pipeline.room import Load, lying_bytes, planned_memory_mb
from decr.pipeline.survey import Survey
from decr.pipeline.tiles import Float32
from tests.pipeline.resident import resident_bytes
from tests.pipeline.scenes import cloudy_pixels, darker, same, write_scene

LOAD = Load(
    bytes_per_pixel=8, beside=0, channels=4, write_bytes=0, side_by_side=1, batch=4, at_once=1
)
CONFIG = DecloudConfig(detector="threshold", steps=1)


def memory_mb(side: int, write_bytes: int = 0, factor: int = 1) -> float:
    blocks = Blocks(Lattice(side, side, 256, 64), 8)
    return planned_memory_mb(blocks, factor, (), replace(LOAD, write_bytes=write_bytes))


def test_memory_does_not_grow_with_the_scene() -> None:
    assert memory_mb(4096) == memory_mb(300_000)
    assert memory_mb(300) < memory_mb(4096)


def test_each_tile_in_the_making_needs_room() -> None:
    blocks = Blocks(Lattice(4096, 4096, 256, 64), 6)
    loads = (replace(LOAD, side_by_side=lanes) for lanes in (1, 2, 16))
    one, two, many = (planned_memory_mb(blocks, 1, (), load) for load in loads)
    assert many - one == pytest.approx(15 * (two - one))
    assert two - one > 80


def test_memory_is_that_of_the_greedier_of_restoring_and_writing() -> None:
    assert memory_mb(4096, 1_000_000) == memory_mb(4096)
    assert memory_mb(4096, 2_000_000_000) > memory_mb(4096) + 500
    assert memory_mb(4096, factor=2) > memory_mb(4096)


@pytest.mark.parametrize("gsd", ["native", "model"])
def test_work_on_disk_is_what_was_planned(tmp_path: Path, gsd: str) -> None:
    noise = np.random.default_rng(0).integers(1, 2**16, (4, 1300, 900)).astype(np.uint16)
    scene, out = write_scene(tmp_path / "s.tif", noise, tiled=True), tmp_path / "o.tif"
    options: dict[str, Any] = {"detector": "threshold", "tile_px": 32, "overlap_px": 8}
    config, model = DecloudConfig(**options, gsd=gsd, full=True), darker(gsd_m=1.0)
    plans, kept, most = list[Plan](), [0], [0]

    def look(stage: str, done: int, total: int) -> None:
        sizes = {path: _size(path) for path in Path(f"{out}.decr-work").iterdir()}
        kept.append(sum(size for path, size in sizes.items() if path.suffix == ".npz"))
        most.append(sum(sizes.values()))

    declouds(scene, out, config, restorer=model, on_progress=look, on_plan=plans.append)
    (plan,) = plans
    planned = lying_bytes(plan.blocks, plan.factor, plan.work, 4, 1)
    assert 0.5 * planned < max(kept) <= 1.02 * planned  # numpy's and ZIP's headers
    assert max(most) <= plan.disk_mb * 2**20
    assert out.stat().st_size <= plan.disk_mb * 2**20
    assert plan.facts()["disk_mb"] == round(plan.disk_mb)
    assert f"disk      up to {plan.disk_mb:.0f} MB" in described(plan)


def test_bands_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    names = ("nir", "red", "green", "blue")
    scene = write_scene(tmp_path / "s.tif", np.full((4, 70, 80), 900, np.uint16), names=names)
    config = DecloudConfig(detector="threshold", tile_px=64, overlap_px=16)
    with local_engine() as engine:
        _, plan = survey_and_plan(prepare(str(scene), config, same()), engine)
    assert plan.facts()["bands"] == names
    assert described(plan).splitlines()[0] == "bands     nir, red, green, blue"


def _size(path: Path) -> int:
    """In bytes; 0 if it has just gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize(("lanes", "seconds"), [(1, 2.0), (4, 0.5), (1000, 2.0)])
def test_time_is_that_of_tiles_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lanes: int, seconds: float
) -> None:
    clock = [0.0]

    def restore(tiles: Float32, corners: Sequence[tuple[int, int]]) -> Float32:
        clock[0] += 2.0 * math.ceil(len(tiles) / lanes)
        return tiles

    model = replace(same(), restore=restore, side_by_side=lanes)
    scene = write_scene(tmp_path / "s.tif", np.full((4, 400, 300), 1900, np.uint16))
    config = DecloudConfig(detector="threshold", tile_px=64, overlap_px=16, full=True)
    monkeypatch.setattr("decr.pipeline.first_pass.time.perf_counter", lambda: clock[0])
    with local_engine() as engine:
        prepared = prepare(str(scene), config, model)
        plan = probed(prepared, survey_and_plan(prepared, engine)[1])
    assert 4 < plan.restore < 1000
    whole = seconds if lanes > plan.restore else seconds * plan.restore
    assert plan.seconds == pytest.approx(whole)


@pytest.fixture
def surveys(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.uint8]]:
    """Where a survey lies when a plan is made of it."""
    found: list[NDArray[np.uint8]] = []

    def seen(blocks: Blocks, factor: int, change: ChangeMap, *others: Any) -> Plan:
        found.append(change.survey.stored)
        return make_plan(blocks, factor, change, *others)

    monkeypatch.setattr("decr.pipeline.first_pass.make_plan", seen)
    return found


def test_the_survey_of_a_plan_lies_in_a_temporary_file_which_no_kill_leaves(
    tmp_path: Path, surveys: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    allocate, links = os.posix_fallocate, list[int]()

    def seen(file: int, *room: int) -> None:
        links.append(os.fstat(file).st_nlink)
        allocate(file, *room)

    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(os, "posix_fallocate", seen)
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(300, 300))
    assert plan_scene(scene, CONFIG).restore > 0
    assert isinstance(surveys[0], np.memmap)
    assert links == [0]
    with pytest.raises(SceneError, match="all pixels are nodata"):
        plan_scene(write_scene(tmp_path / "none.tif", np.zeros((4, 90, 90), np.uint16), nodata=0))
    assert not list(temporary.iterdir())


def test_where_there_is_no_temporary_folder_memory_holds_the_survey_of_a_plan(
    tmp_path: Path, surveys: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in [...]")

    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(300, 300))
    wanted = plan_scene(scene, CONFIG)
    monkeypatch.setattr(tempfile, "gettempdir", none)
    found = plan_scene(scene, CONFIG)
    assert found.restore == wanted.restore > 0
    assert [type(survey) for survey in surveys] == [np.memmap, np.ndarray]
    assert (surveys[0] == surveys[1]).all()


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's resident sizes")
def test_planning_does_not_keep_the_survey_in_memory(tmp_path: Path) -> None:
    side = 8192
    stored = on_disk(path := tmp_path / "clouds.npy", (side, side), np.uint8)
    change = ChangeMap((side, side), Survey(1, stored, 0, side**2), ChangeRule(0.5, 1, 1), None)
    blocks, most = Blocks(Lattice(side, side, 256, 64), 4), list[int]()
    stored[:] = 0
    assert resident_bytes(path) >= side**2
    let_go(stored)
    make_plan(
        blocks, 1, change, Window(0, 0, side, side), LOAD,
        lambda *_: most.append(resident_bytes(path)),
    )  # fmt: skip
    assert len(most) > 1
    assert max(most) < side**2 // 2


def test_a_survey_that_finds_no_room_says_how_much_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(os, "posix_fallocate", full)
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(300, 300))
    with pytest.raises(OutputError, match=r"/temporary: .* MB \(No space left .* TMPDIR"):
        plan_scene(scene, CONFIG)
    with pytest.raises(OutputError, match=r"work/clouds\.npy: .* MB \(No space left") as told:
        declouds(scene, tmp_path / "o.tif", CONFIG)
    assert "TMPDIR" not in str(told.value)  # which does nothing for it


@pytest.mark.parametrize(
    ("tiled", "height", "grows"), [(True, 1024, False), (False, 1024, True), (False, 64, False)]
)
def test_writing_needs_a_cache_for_wide_and_high_strips_only(
    tmp_path: Path, tiled: bool, height: int, grows: bool
) -> None:
    sizes = []
    for width in (4096, 40_000):
        path = tmp_path / f"{width}.tif"
        shape = {"count": 4, "height": height, "width": width}
        blocks = {"blockxsize": 512, "blockysize": 512} if tiled else {"blockysize": 16}
        with rasterio.open(
            path, "w", "GTiff", **shape, dtype="uint16", tiled=tiled, **blocks, sparse_ok=True
        ) as file:
            file.descriptions = ("blue", "green", "red", "nir")
            file.write(np.ones((4, 1, 1), "uint16"), window=((0, 1), (0, 1)))
        sizes.append(write_memory_bytes(open_scene(path)))
    assert (sizes[1] > sizes[0]) is grows
    # Some strips must fit: those that one row of the output's blocks cuts.
    assert sizes[1] >= (512 * 40_000 * 8 if grows else 0)


@settings(max_examples=200)
@given(data=st.data(), factor=st.integers(1, 3), k=st.integers(1, 9), tile_px=st.integers(4, 40))
def test_tiles_are_decided_as_one_by_one(
    data: st.DataObject, factor: int, k: int, tile_px: int
) -> None:
    height, width = data.draw(st.tuples(st.integers(1, 200), st.integers(1, 200)))
    seed = data.draw(st.integers(0, 2**32))
    rng, cells = np.random.default_rng(seed), (-(-height // k), -(-width // k))
    shares = data.draw(st.sampled_from([(0.97, 0.02, 0.01), (0.1, 0.01, 0.89), (0.0, 0.0, 1.0)]))
    stored = rng.choice(np.array([0, 250, INVALID], np.uint8), cells, p=shares)
    rule = data.draw(st.sampled_from([None, ChangeRule(0.5, 0.0, 0.0), ChangeRule(0.5, 1.0, 2.5)]))
    change = ChangeMap((height, width), Survey(k, stored, 0, 0), rule, None)
    overlap = data.draw(st.integers(0, tile_px // 2))
    lattice = Lattice(-(-height // factor), -(-width // factor), tile_px, overlap)
    blocks, scene = Blocks(lattice, data.draw(st.integers(1, 3))), Window(0, 0, height, width)
    rows, cols = (tile_spans(lattice, axis, factor, scene) for axis in (0, 1))
    weights = np.ones(cells) if rule is None else rule.weights(stored)
    for block in blocks.blocks():
        tiles = blocks.tiles_of(block)
        (top, left), (bottom, right) = tiles[0], tiles[-1]
        valid, restored = change.touched(rows[top : bottom + 1], cols[left : right + 1])
        for (i, j), has, wanted in zip(tiles, valid.flat, restored.flat, strict=True):
            seen = lattice.tile(i, j).scaled(factor).clipped(scene)
            if factor > 1:
                seen = seen.expand(factor, scene)
            own = seen.coarsened(k)
            near = own.expand(1, Window(0, 0, *cells))
            assert has == (stored[own.slices()] != INVALID).any()
            assert wanted == (has and (weights[near.slices()] > 0).any())
