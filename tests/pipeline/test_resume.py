"""Runs that are interrupted or killed, whose work is damaged or another's, and go on."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.shutil import copy as gdal_copy

from decr import pipeline
from decr.config import DecloudConfig
from decr.errors import OutputError, SceneError
from decr.pipeline import restore
from decr.pipeline.declouds import declouds
from decr.pipeline.settle import Settling
from decr.predictor import Restorer
from tests.pipeline.scenes import cloudy_pixels, darker, read, write_scene

FAST: dict[str, Any] = {"detector": "threshold", "tile_px": 64, "overlap_px": 16}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clouds in all of two by two blocks; read by many tests, changed by none."""
    return write_scene(tmp_path_factory.mktemp("scene") / "scene.tif", cloudy_pixels(400, 500))


@pytest.fixture(scope="module")
def whole(scene: Path) -> bytes:
    """What an undisturbed run makes of it."""
    out = scene.with_name("whole.tif")
    declouds(scene, out, DecloudConfig(**FAST), restorer=darker())
    return out.read_bytes()


class _Stop(Exception):
    """Stands for a process that dies."""


@pytest.mark.parametrize("after", [1, 5, 12])  # of 14 batches
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    scene: Path, whole: bytes, tmp_path: Path, after: int
) -> None:
    config, out = DecloudConfig(**FAST), tmp_path / "out.tif"
    plain, calls = darker(), 0

    def dying(tiles: Any, corners: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise _Stop
        return plain.restore(tiles, corners)

    broken = Restorer("darker", "1", plain.bands, None, {}, {}, dying)
    with pytest.raises(_Stop):
        declouds(scene, out, config, restorer=broken)
    assert not out.exists()
    result = declouds(scene, out, config, restorer=darker())
    assert out.read_bytes() == whole
    assert result.resumed
    assert not list(tmp_path.glob("*.decr-work"))


COARSE = DecloudConfig(
    detector="threshold", tile_px=32, overlap_px=8, gsd="model", full=True
)  # cores of 288 px


def test_changes_on_a_coarse_grid_do_not_gather_on_disk(tmp_path: Path) -> None:
    scene, out = write_scene(tmp_path / "s.tif", cloudy_pixels(2900, 300)), tmp_path / "o.tif"
    work, found = Path(f"{out}.decr-work"), dict[str, int]()

    def count(stage: str, done: int, total: int) -> None:
        if (stage, done) in (("restore", total), ("write", 0)):
            found[stage] = len(list(work.glob("change_*.npz")))

    declouds(scene, out, COARSE, restorer=darker(gsd_m=1.0), on_progress=count)
    assert found["restore"] <= 5  # of ten blocks
    assert found["write"] == 0


@pytest.fixture(scope="module")
def three_wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A scene of four rows of three blocks, and what it is restored to on a coarse grid."""
    folder = tmp_path_factory.mktemp("three")
    scene = write_scene(folder / "s.tif", cloudy_pixels(1000, 620))
    declouds(scene, folder / "whole.tif", COARSE, restorer=darker(gsd_m=1.0))
    return scene, (folder / "whole.tif").read_bytes()


@pytest.mark.parametrize("at", [1, 2, 7])
def test_a_run_killed_while_changes_become_patches_goes_on_to_the_same_bytes(
    three_wide: tuple[Path, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    (scene, whole), out = three_wide, tmp_path / "o.tif"
    interpolate, calls = Settling._interpolate, 0

    def dying(self: Settling, index: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise _Stop
        interpolate(self, index)

    with monkeypatch.context() as patched:
        patched.setattr(Settling, "_interpolate", dying)
        with pytest.raises(_Stop):
            declouds(scene, out, COARSE, restorer=darker(gsd_m=1.0))
    assert declouds(scene, out, COARSE, restorer=darker(gsd_m=1.0)).resumed
    assert out.read_bytes() == whole


@pytest.fixture(scope="module")
def coarse_scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A scene each of whose pixels is a cell of the survey, and what it is restored to."""
    folder, place = tmp_path_factory.mktemp("coarse"), Affine(4, 0, 500_000, 0, -4, 4_000_000)
    scene = write_scene(folder / "s.tif", cloudy_pixels(1800, 1030), transform=place)
    declouds(scene, folder / "whole.tif", DecloudConfig(**FAST), restorer=darker())
    return scene, (folder / "whole.tif").read_bytes()


@pytest.mark.parametrize(
    ("stage", "at", "again"),
    [
        ("survey", 1, 0),  # no row of two blocks is finished
        ("survey", 5, 1),  # the last row that is finished leaves something in the next
        ("ground", 7, 64),  # plots, 32 a square: of three squares in a row
    ],
)
def test_finished_rows_of_survey_and_ground_are_not_read_again(
    coarse_scene: tuple[Path, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    at: int,
    again: int,
) -> None:
    (scene, whole), out, rows = coarse_scene, tmp_path / "o.tif", list[int]()
    module, name = {
        "survey": (pipeline.survey, "surveyed_block"),
        "ground": (pipeline.ground, "measured_plots"),
    }[stage]
    real = getattr(module, name)

    def watched(task: Any, tell: Any) -> Any:
        rows.append(task.block.row_index if stage == "survey" else task.plots.row)
        return real(task, tell)

    def stopping(told: str, done: int, total: int) -> None:
        if (told, done) == (stage, at):
            raise _Stop

    monkeypatch.setattr(module, name, watched)
    with pytest.raises(_Stop):
        declouds(scene, out, DecloudConfig(**FAST), restorer=darker(), on_progress=stopping)
    assert rows[0] == 0
    rows.clear()
    declouds(scene, out, DecloudConfig(**FAST), restorer=darker())
    assert rows[0] == again
    assert out.read_bytes() == whole


def test_another_job_does_not_inherit_old_work(scene: Path, whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"

    def dies(tiles: Any, corners: Any) -> Any:
        raise _Stop

    with pytest.raises(_Stop):
        declouds(
            scene,
            out,
            DecloudConfig(**FAST, threshold=0.9),
            restorer=Restorer("x", "1", darker().bands, None, {}, {}, dies),
        )
    declouds(scene, out, DecloudConfig(**FAST), restorer=darker())
    assert out.read_bytes() == whole


def test_a_torn_journal_line_is_ignored(scene: Path, whole: bytes, tmp_path: Path) -> None:
    out, config = tmp_path / "out.tif", DecloudConfig(**FAST)
    real = restore.patches_of

    def dies(job: Any) -> Any:
        journal = job.work.path / "journal.jsonl"
        text = journal.read_text()
        journal.write_text(text + text.splitlines()[-1][:25])
        raise _Stop

    restore.patches_of = dies  # type: ignore[assignment]
    try:
        with pytest.raises(_Stop):
            declouds(scene, out, config, restorer=darker())
    finally:
        restore.patches_of = real
    declouds(scene, out, config, restorer=darker())
    assert out.read_bytes() == whole


def test_a_run_killed_between_rename_and_tidying_is_finished_by_the_next(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, other = tmp_path / "out.tif", DecloudConfig(**FAST, seed=1)
    with monkeypatch.context() as patched:
        patched.setattr("decr.pipeline.declouds.discard", _killed)
        with pytest.raises(KeyboardInterrupt):
            declouds(scene, out, DecloudConfig(**FAST), restorer=darker())
    made, identity = out.read_bytes(), out.stat().st_ino
    result = declouds(scene, out, DecloudConfig(**FAST), restorer=darker())
    assert result.resumed
    assert (out.read_bytes(), out.stat().st_ino) == (made, identity)
    assert list(tmp_path.glob("*.decr-work")) == []
    # What another job left there is somebody's file.
    with monkeypatch.context() as patched:
        patched.setattr("decr.pipeline.declouds.discard", _killed)
        with pytest.raises(KeyboardInterrupt):
            declouds(scene, out, DecloudConfig(**FAST), restorer=darker(), overwrite=True)
    with pytest.raises(OutputError, match="exists already"):
        declouds(scene, out, other, restorer=darker())
    # A run that is refused leaves the work alone: the other one goes on.
    assert declouds(scene, out, DecloudConfig(**FAST), restorer=darker()).resumed
    assert out.read_bytes() == made
    assert list(tmp_path.glob("*.decr-work")) == []


def test_what_was_made_of_another_source_of_a_virtual_scene_is_not_used(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual, out = tmp_path / "scene.vrt", tmp_path / "out.tif"
    source = tmp_path / "source.tif"
    source.write_bytes(scene.read_bytes())
    gdal_copy(source, virtual, driver="VRT")

    def stopped(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr("decr.pipeline.declouds.write_cog", stopped)
            with pytest.raises(KeyboardInterrupt):
                declouds(virtual, out, DecloudConfig(**FAST), restorer=darker())
    write_scene(source, read(scene)[:, ::-1])
    result = declouds(virtual, out, DecloudConfig(**FAST), restorer=darker())
    assert not result.resumed
    declouds(source, tmp_path / "plain.tif", DecloudConfig(**FAST), restorer=darker())
    np.testing.assert_array_equal(read(out), read(tmp_path / "plain.tif"))


def _interrupted(scene: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leave all blocks finished and no output; returns the work folder."""

    def stopped(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("decr.pipeline.declouds.write_cog", stopped)
        with pytest.raises(KeyboardInterrupt):
            declouds(scene, out, DecloudConfig(**FAST), restorer=darker())
    return Path(f"{out}.decr-work")


@pytest.mark.parametrize("left", [b"", b"II*\0" + bytes(4), b"noise"])
def test_a_patch_torn_by_a_kill_is_written_anew(
    scene: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bytes
) -> None:
    out = tmp_path / "o.tif"
    work = _interrupted(scene, out, monkeypatch)
    journal = work / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if json.loads(line)["kind"] == "survey"))
    for patch in list(work.glob("patch_*.tif")):
        patch.unlink()
        patch.with_suffix(".part").write_bytes(left)
    declouds(scene, out, DecloudConfig(**FAST), restorer=darker())
    assert out.read_bytes() == whole


DAMAGED = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(b"\xff\xfe" * 40),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_work_whose_job_is_damaged_is_made_anew(
    scene: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    out = tmp_path / "o.tif"
    work = _interrupted(scene, out, monkeypatch)
    DAMAGED[damage](work / "job.json")
    result = declouds(scene, out, DecloudConfig(**FAST), restorer=darker())
    assert not result.resumed
    assert out.read_bytes() == whole


def test_a_kill_while_work_is_cleared_leaves_nothing_to_go_on_with(
    scene: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "o.tif"
    _interrupted(scene, out, monkeypatch)
    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        if path.suffix == ".tif":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            declouds(scene, out, DecloudConfig(**FAST, seed=1), restorer=darker())
    assert not declouds(scene, out, DecloudConfig(**FAST), restorer=darker()).resumed
    assert out.read_bytes() == whole


def test_a_report_that_could_not_be_written_is_made_by_the_same_call(
    scene: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o.tif"

    def full(*said: object) -> None:
        raise OutputError("no space")

    with pytest.raises(OutputError, match="no space"):
        declouds(scene, out, DecloudConfig(**FAST), restorer=darker(), on_report=full)
    made, told = out.stat().st_mtime_ns, []
    declouds(
        scene,
        out,
        DecloudConfig(**FAST),
        restorer=darker(),
        on_report=lambda *said: told.append(said),
    )
    assert len(told) == 1
    assert out.stat().st_mtime_ns == made
    assert not Path(f"{out}.decr-work").exists()


def _killed(path: Path) -> None:
    raise KeyboardInterrupt


def test_a_disk_that_is_full_at_the_start_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_scene(tmp_path / "scene.tif", cloudy_pixels(90, 120))

    def full(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"o\.tif\.decr-work: .*No space left.*free some space"):
        declouds(scene, tmp_path / "o.tif", DecloudConfig(**FAST), restorer=darker())


def test_a_scene_without_data_leaves_no_work_behind(tmp_path: Path) -> None:
    place = Affine(4, 0, 500_000, 0, -4, 4_000_000)
    pixels = np.zeros((4, 1300, 100), np.uint8)  # two rows of blocks of the survey
    scene = write_scene(tmp_path / "s.tif", pixels, transform=place, nodata=0)
    with pytest.raises(SceneError, match="all pixels are nodata"):
        declouds(
            scene, tmp_path / "o.tif", DecloudConfig(**FAST, dn_range=(0, 9)), restorer=darker()
        )
    assert list(tmp_path.iterdir()) == [scene]
