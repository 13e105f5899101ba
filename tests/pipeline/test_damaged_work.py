"""Damaged work of an interrupted run is told once and made anew, to the same bytes."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from decr.config import DecloudConfig
from decr.errors import DecrWarning, OutputError, SceneError
from decr.pipeline import first_pass
from decr.pipeline.declouds import declouds
from decr.pipeline.journal import readable, work_dir
from decr.pipeline.settle import Settling
from tests.pipeline.scenes import cloudy_pixels, darker, write_scene

FINE = DecloudConfig(detector="threshold", tile_px=64, overlap_px=16)
COARSE = DecloudConfig(detector="threshold", tile_px=32, overlap_px=8, gsd="model", full=True)
DAMAGED: dict[str, Callable[[Path], Any]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(b"\xff\xfe" * 40),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}
Blocks = list[tuple[int, int]]


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
    ],
)
def test_survey_and_ground_are_made_anew_and_blocks_are_not(
    scene: Path, whole: bytes, work: Path, kept: Blocks, name: str, stage: str, at: int, damage: str
) -> None:
    _stopped(scene, work, lambda told, done: (told, done) == (stage, at))
    kept.clear()
    DAMAGED[damage](work / name)
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


@pytest.mark.parametrize("damage", [*DAMAGED, "a byte"])
def test_damage_of_arrays_is_seen(tmp_path: Path, damage: str) -> None:
    with work_dir(tmp_path / "o", {}) as work, warnings.catch_warnings():
        warnings.simplefilter("error")
        work.save("block", 0, 0, {"a": np.arange(24).reshape(2, 12)})
        assert work.is_whole("block", 0, 0)
        file = work.block_file("block", 0, 0, "npz")
        data = file.read_bytes()
        if damage == "a byte":
            file.write_bytes(data.replace(bytes([7, 0, 0, 0]), bytes([9, 0, 0, 0])))
        else:
            DAMAGED[damage](file)
        with pytest.raises(DecrWarning, match=r"block_00000_00000\.npz: finished work cannot be"):
            work.is_whole("block", 0, 0)


def test_what_is_forgotten_stays_so_until_it_is_noted_again(tmp_path: Path) -> None:
    with work_dir(tmp_path / "o", {}) as work:
        for row in range(3):
            work.note("row", row, 0, count=row)
        work.forget(("row", 2, 0), ("row", 1, 0), ("row", 9, 0))
        assert work.done.keys() == {("row", 0, 0)}
    with work_dir(tmp_path / "o", {}) as work:
        assert work.last("row") == {"kind": "row", "row": 0, "col": 0, "count": 0}
        work.note("row", 1, 0, count=5)
    with work_dir(tmp_path / "o", {}) as work:
        assert work.last("row") == {"kind": "row", "row": 1, "col": 0, "count": 5}
        work.forget(*work.done)
    with work_dir(tmp_path / "o", {}) as work:
        assert not work.resumed


def test_work_that_is_only_out_of_reach_is_no_damage(tmp_path: Path) -> None:
    def full(file: Path) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with pytest.raises(OutputError, match="ulimit -n"):
        readable(tmp_path / "clouds.npy", full)
