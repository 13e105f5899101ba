"""Tests of many scenes in one call: where each goes, and what one that fails does to the others."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from decr.config import DecloudConfig
from decr.errors import ClusterError, ConfigError, SceneError, SchedulerError
from decr.pipeline import many
from decr.pipeline.many import Outcome, declouds_many, plans_many, targets
from tests.pipeline.scenes import cloudy_pixels, write_scene

FAST = ("--detector", "threshold", "--tile", 64, "--overlap", 16, "--steps", 2)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["declouds", *(str(a) for a in arguments)])


@pytest.fixture
def scenes(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "in"
    folder.mkdir()
    good = [write_scene(folder / f"{n}.tif", cloudy_pixels(90, 120, seed=n)) for n in (1, 2)]
    (folder / "bad.tif").write_text("no raster")
    return [good[0], folder / "bad.tif", good[1]]


def test_names_come_from_the_scenes() -> None:
    scenes = ["a/x.tif", "/vsizip/d.zip/y.TIF", "https://host/z.tif?key=a/b.c", "w.vrt"]
    assert [path.name for path in targets(scenes, Path("o"))] == [
        "x.tif",
        "y.tif",
        "z.tif",
        "w.tif",
    ]
    with pytest.raises(ConfigError, match=r"a/x\.tif and b/x\.vrt would both become o/x\.tif"):
        targets(["a/x.tif", "b/x.vrt"], Path("o"))


def test_one_that_fails_does_not_stop_the_rest(scenes: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    result = run(*scenes, "-o", out, "--json", "-q", *FAST)
    assert result.exit_code == 1
    done = [json.loads(line)["out"] for line in result.stdout.splitlines()]
    assert done == [str(out / "1.tif"), str(out / "2.tif")]
    errors = [line for line in result.stderr.splitlines() if "warning" not in line]
    assert len(errors) == 2
    assert "bad.tif" in errors[0]
    assert errors[1] == "decr: 1 of 3 scenes failed, see above"
    assert sorted(path.name for path in out.iterdir()) == ["1.tif", "2.tif"]


@pytest.mark.parametrize(("error", "begun"), [(SchedulerError, 1), (ClusterError, 3)])
def test_scenes_wait_for_no_scheduler_that_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[ClusterError], begun: int
) -> None:
    tried = []

    def fails(scene: str, *_: object, **__: object) -> None:
        tried.append(scene)
        raise error("here: the scheduler has not answered for 20 s")

    (tmp_path / "b.tif").write_bytes(b"done before")
    monkeypatch.setattr(many, "declouds", fails)
    outcomes = list(declouds_many(["a", "b", "c", "d"], tmp_path))
    assert tried == ["a", "c", "d"][:begun]
    assert [outcome.scene for outcome in outcomes if outcome.error is None] == ["b"]
    said = {outcome.error for outcome in outcomes if outcome.scene != "b"}
    assert said == {"here: the scheduler has not answered for 20 s"}


def test_the_same_call_goes_on_and_gives_what_single_calls_give(
    scenes: list[Path], tmp_path: Path
) -> None:
    good, out = [scenes[0], scenes[2]], tmp_path / "out"
    single = [tmp_path / f"single{n}.tif" for n in (1, 2)]
    for scene, target in zip(good, single, strict=True):
        assert run(scene, "-o", target, *FAST).exit_code == 0
    out.mkdir()
    first = run(good[0], "-o", f"{out}/", *FAST)
    assert first.exit_code == 0, first.stderr
    stamp = (out / "1.tif").stat().st_mtime_ns
    second = run(*good, "-o", out, *FAST)
    assert second.exit_code == 0, second.stderr
    assert "1.tif exists already and is left as it is" in second.stderr
    assert "[2/2]" in second.stderr
    assert (out / "1.tif").stat().st_mtime_ns == stamp
    for n, target in zip((1, 2), single, strict=True):
        assert (out / f"{n}.tif").read_bytes() == target.read_bytes()
    assert run(*good, "-o", out, "--overwrite", *FAST).exit_code == 0
    assert (out / "1.tif").stat().st_mtime_ns != stamp


def test_a_scene_killed_before_it_was_tidied_up_is_finished(
    scenes: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, call = tmp_path / "out", (scenes[0], "-o", f"{tmp_path / 'out'}/", "--json", "-q", *FAST)
    out.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr("decr.pipeline.declouds.discard", lambda path: None)
        assert run(*call).exit_code == 0
    stamp = (out / "1.tif").stat().st_mtime_ns
    assert (out / "1.tif.decr-work").exists()
    second = run(*call)
    assert json.loads(second.stdout)["out"] == str(out / "1.tif")
    assert (out / "1.tif").stat().st_mtime_ns == stamp
    assert not (out / "1.tif.decr-work").exists()


def test_a_finished_scene_with_work_of_another_run_is_left_as_it_is(
    scenes: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr("decr.pipeline.declouds.discard", lambda path: None)
        assert run(scenes[0], "-o", f"{out}/", *FAST).exit_code == 0
    before = (out / "1.tif").read_bytes()
    again = run(scenes[0], "-o", f"{out}/", "--seed", 3, *FAST)
    assert again.exit_code == 0, again.stderr
    assert "1.tif exists already and is left as it is" in again.stderr
    assert (out / "1.tif").read_bytes() == before


def test_reports_replace_no_files_of_others(scenes: list[Path], tmp_path: Path) -> None:
    out, reports, names = tmp_path / "out", tmp_path / "reports", ["1.html", "1.json", "index.html"]
    options = ("--report", reports, *FAST)
    reports.mkdir()
    for foreign in (reports / name for name in names):
        foreign.write_text('{"mine": 1}')
        result = run(scenes[0], "-o", f"{out}/", *options)
        assert result.exit_code == 1
        said = (
            "exists already and is no report of this decr; remove it, or give another folder for "
            "reports"
        )
        assert result.stderr.splitlines()[-1] == f"decr: {foreign}: {said}"
        assert foreign.read_text() == '{"mine": 1}'
        foreign.unlink()
    for _ in range(2):  # its own it does replace
        result = run(scenes[0], "-o", f"{out}/", "--overwrite", *options)
        assert result.exit_code == 0, result.stderr
        assert sorted(file.name for file in reports.iterdir()) == names


def test_a_report_never_replaces_what_is_read(scenes: list[Path], tmp_path: Path) -> None:
    area = tmp_path / "clear.json"
    area.write_text('{"type": "Point", "coordinates": [0, 0]}')
    options = ("--aoi", area, "--report", tmp_path, *FAST)
    result = run(scenes[0], "-o", tmp_path / "clear.tif", *options)
    assert result.exit_code == 1
    assert "clear.json: exists already and is no report of this decr" in result.stderr
    assert area.read_text().startswith('{"type"')


def test_inputs_are_never_overwritten(scenes: list[Path]) -> None:
    good = [scenes[0], scenes[2]]
    before = [path.read_bytes() for path in good]
    result = run(*good, "-o", good[0].parent, "--overwrite", *FAST)
    assert result.exit_code == 1
    assert result.stderr.count("is the input itself") == 2
    assert [path.read_bytes() for path in good] == before


def test_two_scenes_of_one_name_are_refused_before_anything_is_done(
    scenes: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run(scenes[0], scenes[2], scenes[0], "-o", out, *FAST)
    assert result.exit_code == 1
    assert "would both become" in result.stderr
    assert not out.exists()


def test_a_file_as_the_output_of_several_scenes_is_refused(
    scenes: list[Path], tmp_path: Path
) -> None:
    """One who names a mosaic would get a folder of that name, after all the work."""
    out = tmp_path / "clear.tif"
    for more in ((), ("--dry-run",)):
        result = run(scenes[0], scenes[2], "-o", out, *more, *FAST)
        assert result.exit_code == 2
        assert "clear.tif would be a folder, for each of 2 scenes" in result.stderr
        assert not out.exists()
    meant = run(scenes[0], scenes[2], "-o", f"{out}/", "--dry-run", "-q", *FAST)
    assert meant.exit_code == 0, meant.stderr


def test_a_dry_run_plans_all(scenes: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(scenes[0], scenes[2], "-o", out, "--dry-run", "-q", *FAST)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("1.tif") == result.stdout.count("2.tif") == 1
    assert not out.exists()


def test_a_dry_run_goes_on_after_a_scene_that_fails(scenes: list[Path], tmp_path: Path) -> None:
    result = run(*scenes, "-o", tmp_path / "out", "--dry-run", "-q", *FAST)
    assert result.exit_code == 1
    assert result.stdout.count("1.tif") == result.stdout.count("2.tif") == 1
    bad, end = result.stderr.splitlines()
    assert "bad.tif" in bad
    assert end == "decr: 1 of 3 scenes failed, see above"
    itself = run(scenes[0], "-o", scenes[0], "--dry-run", "-q", *FAST)
    assert itself.exit_code == 1
    assert "is the input itself" in itself.stderr


def test_a_dry_run_refuses_and_passes_over_what_the_run_does(
    scenes: list[Path], tmp_path: Path
) -> None:
    one, _, two = scenes
    itself = run(one, two, "-o", one.parent, "--dry-run", "-q", *FAST)
    assert itself.exit_code == 1
    assert itself.stderr.count("is the input itself") == 2
    assert not itself.stdout
    out = tmp_path / "out"
    out.mkdir()
    (out / "1.tif").write_text("finished")
    (out / "2.tif.msk").write_text("of another file")
    beside = run(one, two, "-o", out, "--dry-run", "-q", *FAST)
    assert beside.exit_code == 1
    assert "1.tif exists already and is left as it is" in beside.stderr
    assert "2.tif.msk: would be taken for a part" in beside.stderr
    assert not beside.stdout
    again = run(one, two, "-o", out, "--dry-run", "-q", "--overwrite", *FAST)
    assert again.exit_code == 0, again.stderr
    assert again.stdout.count("1.tif") == again.stdout.count("2.tif") == 1
    maps = run("1.tif", "1_error.tif", "-o", out, "--dry-run", "-q", "--error-map")
    assert "both an output and another's map" in maps.stderr


def test_a_dry_run_refuses_a_work_folder_on_another_disk(
    scenes: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    work = tmp_path / "o.tif.decr-work"
    work.symlink_to(tmp_path / "disk")
    stat = Path.stat

    def on_its_own(path: Path, **how: bool) -> os.stat_result:
        found = stat(path, **how)
        return os.stat_result((*found[:2], found.st_dev + (path == work), *found[3:]))

    monkeypatch.setattr(Path, "stat", on_its_own)
    for more in (), ("--dry-run",):
        result = run(scenes[0], "-o", tmp_path / "o.tif", "-q", *more, *FAST)
        assert result.exit_code == 1
        assert "o.tif.decr-work lies on another disk" in result.stderr


def test_plans_of_scenes_are_outcomes_of_which_nothing_is_written(
    scenes: list[Path], tmp_path: Path
) -> None:
    out, config = tmp_path / "out", DecloudConfig(detector="threshold", tile_px=64, overlap_px=16)
    out.mkdir()
    (out / "1.tif").write_text("finished")
    done, bad, planned = plans_many([str(path) for path in scenes], out, config)
    assert done == Outcome(str(scenes[0]), out / "1.tif")
    assert (bad.plan, bad.out) == (None, out / "bad.tif")
    assert bad.error is not None
    assert "bad.tif" in bad.error
    assert (planned.result, planned.error) == (None, None)
    assert planned.plan is not None
    assert planned.plan.restore > 0
    assert [path.name for path in out.iterdir()] == ["1.tif"]
    with pytest.raises(SceneError, match=r"bad\.tif"):
        list(plans_many([str(scenes[1])], out, config))


def test_a_dry_run_refuses_folders_that_cannot_be_written(
    scenes: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scenes[0]
    for out in (f"{one}/", f"{one}/sub/deep/", "s3://bucket/out/"):
        result = run(one, "-o", out, "--dry-run", "-q", *FAST)
        assert result.exit_code == 1, out
        assert not result.stdout
        assert "Not a directory" in result.stderr or "files of this machine" in result.stderr
    sealed = tmp_path / "sealed"
    sealed.mkdir()

    def refused(dir: Path) -> None:
        assert dir == sealed
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("decr.files.tempfile.TemporaryFile", refused)
    for out in (f"{sealed}/x.tif", f"{sealed}/", f"{sealed}/sub/"):
        result = run(one, "-o", out, "--dry-run", "-q", *FAST)
        assert result.exit_code == 1
        assert f"{out.removesuffix('/x.tif').rstrip('/')}: cannot write there" in result.stderr
    assert not [*sealed.iterdir()]


def test_what_was_written_into_a_folder_of_scenes_is_no_scene(
    scenes: list[Path], tmp_path: Path
) -> None:
    scenes[1].unlink()
    folder = scenes[0].parent
    for _ in range(2):
        result = run(folder, "-o", folder / "clear", "-q", *FAST)
        assert result.exit_code == 0, result.stderr
        assert sorted(file.name for file in (folder / "clear").iterdir()) == ["1.tif", "2.tif"]
    assert "1.tif exists already and is left as it is" in result.stderr
    scenes[2].unlink()
    single = run(folder, "-o", folder / "o", "-q", "--overwrite", *FAST)
    assert "both become" in single.stderr  # scenes of another call are scenes


def test_a_name_that_the_system_refuses_fails_alone(scenes: list[Path], tmp_path: Path) -> None:
    long = tmp_path / f"{300 * 'x'}.tif"
    result = run(long, scenes[0], "-o", tmp_path / "out", "-q", *FAST)
    assert result.exit_code == 1
    assert "x.tif: cannot be a file's name" in result.stderr
    assert (tmp_path / "out" / "1.tif").exists()
    out = tmp_path / "o.tif"
    alone = run(long, "-o", out)
    assert "x.tif cannot be opened" in alone.stderr
    detector = run(scenes[0], "-o", out, "--detector", long)
    assert "x.tif: neither a detector's bundle file" in detector.stderr
    assert alone.exit_code == detector.exit_code == 1


@pytest.mark.parametrize("size", [242, 247, 251])
def test_a_name_with_no_room_for_others_beside_it_fails_alone(
    scenes: list[Path], tmp_path: Path, size: int
) -> None:
    long = scenes[0].rename(scenes[0].with_name(f"{size * 'x'}.tif"))
    result = run(long, scenes[2], "-o", tmp_path / "out", "-q", *FAST)
    assert result.exit_code == 1
    assert "x.tif: cannot be a file's name" in result.stderr
    assert "shorter" in result.stderr
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["2.tif"]
    for more in (), ("--dry-run",):
        alone = run(scenes[2], "-o", tmp_path / long.name, "-q", *FAST, *more)
        assert (alone.exit_code, alone.exception.__class__) == (1, SystemExit)
        assert "x.tif: cannot be a file's name" in alone.stderr
