"""Damaged work of an interrupted run is told once and made anew, to the same bytes."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError

from decr.config import DecloudConfig
from decr.errors import DecrWarning, OutputError, SceneError
from decr.lost_work import loss_said
from decr.pipeline import first_pass
from decr.pipeline.declouds import declouds
from decr.pipeline.mapped import on_disk
from decr.pipeline.settle import Settling
from tests.pipeline.damage import DAMAGED
from tests.pipeline.scenes import cloudy_pixels, darker, write_scene

FINE = DecloudConfig(detector="threshold", tile_px=64, overlap_px=16)
COARSE = DecloudConfig(detector="threshold", tile_px=32, overlap_px=8, gsd="model", full=True)
PATCHES: dict[str, Callable[[Path], Any]] = {
    "gone": Path.unlink,
    "empty": DAMAGED["empty"],
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a bit": lambda path: path.write_bytes(_flipped(path.read_bytes())),
    "another": lambda path: path.write_bytes(path.with_name("patch_00001_00001.tif").read_bytes()),
}
RASTERS = {**DAMAGED, "a bit": lambda path: path.write_bytes(_flipped(path.read_bytes(), 2131))}
Blocks = list[tuple[int, int]]


def _flipped(data: bytes, at: int | None = None) -> bytes:
    """Pixels of a patch with another bit in their midst, which its compression lets pass.

    Or in a byte of one's own: that of a raster in rows that are finished first.
    """
    middle = 3 * len(data) // 4 if at is None else at
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


class _Stop(Exception):
    """Stands for a process that dies."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Surveyed in two rows of blocks, restored in four rows of two; changed by no test."""
    folder, place = tmp_path_factory.mktemp("scene"), Affine(4, 0, 500_000, 0, -4, 4_000_000)
    return write_scene(folder / "s.tif", cloudy_pixels(1100, 500), transform=place)


@pytest.fixture(scope="module")
def whole(scene: Path) -> bytes:
    """What an undisturbed run makes of it."""
    return _restored(scene, scene.with_name("whole.tif"))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "o.tif.decr-work"


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Blocks:
    """Blocks that have been restored, in their order."""
    found, keep = Blocks(), Settling.keep

    def watched(self: Settling, block: Any, result: Any) -> None:
        found.append(block.index)
        keep(self, block, result)

    monkeypatch.setattr(Settling, "keep", watched)
    return found


def _restored(scene: Path, out: Path, config: DecloudConfig = FINE, **more: Any) -> bytes:
    model = darker() if config == FINE else darker(gsd_m=1.0)
    declouds(scene, out, config, restorer=model, **more)
    return out.read_bytes()


def _stopped(
    scene: Path, work: Path, when: Callable[[str, int], bool], config: DecloudConfig = FINE
) -> None:
    """Leave what is finished when progress is told."""

    def stop(stage: str, done: int, total: int) -> None:
        if when(stage, done):
            raise _Stop

    with pytest.raises(_Stop):
        _restored(scene, work.with_suffix(""), config, on_progress=stop)


def _goes_on(scene: Path, work: Path, config: DecloudConfig = FINE) -> tuple[bytes, list[str]]:
    """Output of a run that goes on, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DecrWarning)
        made = _restored(scene, work.with_suffix(""), config)
    return made, [str(w.message) for w in caught if issubclass(w.category, DecrWarning)]


@pytest.mark.parametrize(
    ("name", "stage", "at", "damage"),
    [
        ("clouds.npy", "survey", 2, "empty"),
        ("clouds.npy", "write", 0, "gone"),
        ("clouds.npy", "write", 0, "torn"),
        ("ground.npy", "ground", 2, "noise"),
        ("ground.npy", "write", 0, "torn"),
        ("clouds.npy", "write", 0, "zeros"),
        ("ground.npy", "write", 0, "zeros"),
        ("clouds.npy", "survey", 2, "a bit"),
        ("ground.npy", "ground", 2, "a bit"),
    ],
)
def test_survey_and_ground_are_made_anew_and_blocks_are_not(
    scene: Path, whole: bytes, work: Path, kept: Blocks, name: str, stage: str, at: int, damage: str
) -> None:
    _stopped(scene, work, lambda told, done: (told, done) == (stage, at))
    kept.clear()
    RASTERS[damage](work / name)
    made, (said,) = _goes_on(scene, work)
    assert made == whole
    assert bool(kept) == (stage != "write")
    assert said.startswith(f"{work / name}: finished work cannot be read (")
    assert said.endswith("); it is made anew")
    assert said.count(name) == 1
    assert "\n" not in said


def test_a_survey_that_is_made_anew_and_fails_costs_no_block(
    scene: Path, whole: bytes, work: Path, kept: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the half-made one taken for finished, whatever the run was killed by."""
    _stopped(scene, work, lambda stage, done: stage == "write")
    (work / "clouds.npy").unlink()
    for error in (SceneError("out of reach"), _Stop()):

        def failing(*_: object, why: Exception = error, **__: object) -> None:
            np.save(work / "clouds.npy", np.zeros((550, 250), np.uint8))
            raise why

        with monkeypatch.context() as patched:
            patched.setattr(first_pass, "survey_scene", failing)
            with pytest.raises(type(error)), warnings.catch_warnings(action="ignore"):
                _restored(scene, work.with_suffix(""))
    kept.clear()
    assert _goes_on(scene, work) == (whole, [])
    assert kept == []


@pytest.mark.parametrize("damage", ["gone", "torn"])
def test_a_damaged_block_is_restored_anew(
    scene: Path, whole: bytes, work: Path, kept: Blocks, damage: str
) -> None:
    _stopped(scene, work, lambda stage, done: (work / "block_00001_00000.npz").exists())
    first = [*kept]
    kept.clear()
    file = work / "block_00001_00000.npz"
    DAMAGED[damage](file)
    made, (said,) = _goes_on(scene, work)
    assert made == whole
    assert said.startswith(f"{file}: finished work cannot be read (")
    assert set(first) & set(kept) == {(1, 0)}


def test_a_damaged_change_is_made_anew_of_blocks_that_were_dropped(
    tmp_path: Path, work: Path, kept: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(1120, 300))  # four blocks
    whole = _restored(scene, tmp_path / "whole.tif", COARSE)

    def dying(self: Settling, index: object) -> None:
        raise _Stop

    with monkeypatch.context() as patched:
        patched.setattr(Settling, "_interpolate", dying)
        _stopped(scene, work, lambda *_: False, COARSE)
    kept.clear()
    assert not (work / "block_00000_00000.npz").exists()
    change = work / "change_00000_00000.npz"
    DAMAGED["torn"](change)
    made, (said,) = _goes_on(scene, work, COARSE)
    assert made == whole
    assert said.startswith(f"{change}: finished work cannot be read (")
    assert kept[:2] == [(0, 0), (1, 0)]
    assert (2, 0) not in kept


@pytest.mark.parametrize("damage", PATCHES)
def test_a_damaged_patch_is_made_anew_of_the_blocks_around_it(
    scene: Path, whole: bytes, work: Path, kept: Blocks, damage: str
) -> None:
    _stopped(scene, work, lambda stage, done: stage == "write")
    kept.clear()
    patch = work / "patch_00002_00001.tif"
    PATCHES[damage](patch)
    made, (said,) = _goes_on(scene, work)
    assert made == whole
    assert said.startswith(f"{patch}: finished work cannot be read (")
    assert said.endswith("); it is made anew")
    assert kept == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_patches_of_an_output_that_is_there_are_not_read(
    scene: Path, whole: bytes, work: Path, kept: Blocks
) -> None:
    _stopped(scene, work, lambda stage, done: (stage, done) == ("write", 1))
    kept.clear()
    PATCHES["half"](work / "patch_00002_00001.tif")
    assert _goes_on(scene, work) == (whole, [])
    assert kept == []


def test_a_patch_that_is_only_out_of_reach_is_no_damage(
    scene: Path, whole: bytes, work: Path, kept: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stopped(scene, work, lambda stage, done: stage == "write")
    kept.clear()
    opened = rasterio.open

    def full(file: Any, *more: Any, **named: Any) -> Any:
        if "patch_" in str(file):
            raise RasterioIOError(f"{file}: {os.strerror(errno.EMFILE)}")
        return opened(file, *more, **named)

    with monkeypatch.context() as patched:
        patched.setattr(rasterio, "open", full)
        with pytest.raises(OutputError, match="ulimit -n"):
            _restored(scene, work.with_suffix(""))
    assert _goes_on(scene, work) == (whole, [])
    assert kept == []


def test_a_damaged_patch_of_a_coarse_grid_is_made_anew_of_changes_that_were_dropped(
    tmp_path: Path, work: Path, kept: Blocks
) -> None:
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(1120, 300))  # four blocks
    whole = _restored(scene, tmp_path / "whole.tif", COARSE)
    _stopped(scene, work, lambda stage, done: stage == "write", COARSE)
    kept.clear()
    assert not list(work.glob("*.npz"))
    patch = work / "patch_00000_00000.tif"
    PATCHES["half"](patch)
    made, (said,) = _goes_on(scene, work, COARSE)
    assert made == whole
    assert said.startswith(f"{patch}: finished work cannot be read (")
    assert kept == [(0, 0), (1, 0), (2, 0)]


def test_a_report_goes_without_a_picture_of_w_that_is_damaged(
    scene: Path, whole: bytes, work: Path, kept: Blocks
) -> None:
    out, reports = work.with_suffix(""), []

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "write":
            raise _Stop

    def weighed(tiles: NDArray[np.float32], corners: Any) -> Any:
        return darker().restore(tiles, corners), np.full_like(tiles[:, 0], 0.5)

    model = replace(darker(), restore_weighed=weighed)
    with pytest.raises(_Stop):
        declouds(scene, out, FINE, restorer=model, on_report=lambda *_: None, on_progress=stop)
    kept.clear()
    for row in (1, 2):
        file = work / f"weights_0000{row}_00000.npz"
        file.write_bytes(bytes(file.stat().st_size))
    with pytest.warns(DecrWarning) as caught:
        declouds(
            scene, out, FINE, restorer=model, on_report=lambda _, report: reports.append(report)
        )
    (said,) = [str(w.message) for w in caught]
    assert said == (
        f"{work / 'weights_00001_00000.npz'}: finished work cannot be read (File is not a zip "
        "file); the report goes without its picture of W"
    )
    assert (out.read_bytes(), kept) == (whole, [])
    assert [report.allocation for report in reports] == [None]


def test_zeros_in_place_of_an_array_are_called_damage_and_no_pickle(
    scene: Path, whole: bytes, work: Path
) -> None:
    _stopped(scene, work, lambda stage, done: stage == "write")
    clouds = work / "clouds.npy"
    clouds.write_bytes(bytes(clouds.stat().st_size))
    with pytest.raises(OutputError, match=r"cannot be read \(it is damaged\); delete the folder"):
        on_disk(clouds, (2, 2), np.uint8, begun=True)
    told = f"{clouds}: finished work cannot be read (it is damaged); it is made anew"
    assert _goes_on(scene, work) == (whole, [told])


@pytest.mark.parametrize("job", [None, "", "{"])
def test_no_way_to_keep_work_is_told_where_nothing_can_keep_it(
    tmp_path: Path, job: str | None
) -> None:
    file = tmp_path / "job.json"
    if job is not None:
        file.write_text(job)
    assert loss_said(file, {"seed": 1}, 3, "parts").endswith("its job.json is damaged or missing")
