"""Sets appear whole or not at all: interrupted, killed, made twice, or there already."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from decr.dataset.write_pairs import (
    PairOptions,
    simulate_pairs,
)
from decr.errors import OutputError
from tests.dataset.simulated import ground, options
from tests.dataset.test_write_pairs import contents
from tests.pipeline.scenes import read, write_scene

ROOT = Path(__file__).parents[2]


class _Stopped(Exception):
    pass


@pytest.mark.parametrize("after", [0, 1, 7])
def test_a_stopped_run_leaves_no_set_and_goes_on_to_the_same_bytes(
    images: list[Path], tmp_path: Path, after: int
) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if done == after:
            raise _Stopped

    simulate_pairs(images, tmp_path / "whole", options(truth=True))
    out, seen = tmp_path / "cut", []
    with pytest.raises(_Stopped):
        simulate_pairs(images, out, options(truth=True), stop)
    assert not out.exists()
    work = tmp_path / "cut.decr-work"
    before = {f: f.stat().st_mtime_ns for f in work.rglob("*.tif")}
    with (work / "journal.jsonl").open("a") as journal:
        journal.write('{"name": "torn')
    simulate_pairs(images, out, options(truth=True), lambda stage, done, total: seen.append(done))
    assert contents(out) == contents(tmp_path / "whole")
    assert seen == list(range(11))
    # What was finished was not made again.
    for file, stamp in before.items():
        assert (out / file.relative_to(work)).stat().st_mtime_ns == stamp


@pytest.mark.parametrize("seed", [0, 1])
def test_two_processes_do_not_make_one_set(images: list[Path], tmp_path: Path, seed: int) -> None:
    """Neither of the same options nor of others."""
    out, refused = tmp_path / "set", []

    def meanwhile(stage: str, done: int, total: int) -> None:
        if done == 3:
            with pytest.raises(OutputError, match="another decr is writing this output") as error:
                simulate_pairs(images, out, options(seed=seed))
            refused.append(error)

    simulate_pairs(images, out, options(seed=0), meanwhile)
    simulate_pairs(images, tmp_path / "whole", options(seed=0))
    assert len(refused) == 1
    assert contents(out) == contents(tmp_path / "whole")
    assert not (tmp_path / "set.decr-work").exists()


def test_a_killed_process_leaves_whole_files_only(tmp_path: Path) -> None:
    image = write_scene(tmp_path / "big.tif", ground(384, 384))
    code = (
        "import sys; from pathlib import Path; from decr.dataset.write_pairs import *\n"
        "simulate_pairs([Path(sys.argv[1])], Path(sys.argv[2]), PairOptions(size_px=64))"
    )
    out, work = tmp_path / "set", tmp_path / "set.decr-work"
    process = subprocess.Popen([sys.executable, "-c", code, str(image), str(out)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not list(work.rglob("*.tif")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    if not out.exists():
        for file in work.rglob("*.tif"):
            assert read(file).shape == (4, 64, 64)
    entries = simulate_pairs([image], out, PairOptions(size_px=64))
    assert len(entries) == 36
    simulate_pairs([image], tmp_path / "whole", PairOptions(size_px=64))
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("killed_at", ["train", "test"])
def test_a_run_killed_while_it_clears_leaves_nothing_to_go_on_with(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    """The first options again, after a run with others was killed while it cleared their work."""
    real, out = shutil.rmtree, tmp_path / "set"

    def stop(stage: str, done: int, total: int) -> None:
        if done == 8:
            raise _Stopped

    def kill(path: Path) -> None:
        if path.name == killed_at:
            real(path)
            raise _Stopped

    with pytest.raises(_Stopped):
        simulate_pairs(images, out, options(), stop)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", kill)
        with pytest.raises(_Stopped):
            simulate_pairs(images, out, options(seed=5))
    simulate_pairs(images, out, options())
    simulate_pairs(images, tmp_path / "whole", options())
    assert contents(out) == contents(tmp_path / "whole")


DAMAGED = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),  # as a power cut leaves it
    "one byte": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_was_finished_but_is_gone_or_damaged_is_made_again(
    images: list[Path], tmp_path: Path, damage: str
) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if done == 8:
            raise _Stopped

    out = tmp_path / "set"
    with pytest.raises(_Stopped):
        simulate_pairs(images, out, options(), stop)
    DAMAGED[damage](next((tmp_path / "set.decr-work").rglob("*.tif")))
    simulate_pairs(images, out, options())
    simulate_pairs(images, tmp_path / "whole", options())
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("file", ["journal.jsonl", "simulation.json"])
def test_a_damaged_note_of_what_is_finished_stops_no_run(
    images: list[Path], tmp_path: Path, file: str
) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if done == 8:
            raise _Stopped

    out, note = tmp_path / "set", tmp_path / "set.decr-work" / file
    with pytest.raises(_Stopped):
        simulate_pairs(images, out, options(), stop)
    half = note.stat().st_size // 2
    note.write_bytes(note.read_bytes()[:half] + b"\0\xff" + note.read_bytes()[half:])
    simulate_pairs(images, out, options())
    simulate_pairs(images, tmp_path / "whole", options())
    assert contents(out) == contents(tmp_path / "whole")


def test_an_image_edited_in_its_middle_is_another(tmp_path: Path) -> None:
    image = write_scene(tmp_path / "big.tif", ground(1024, 1024))
    few = options(count=1)
    simulate_pairs([image], tmp_path / "set", few)
    with image.open("r+b") as file:
        file.seek(image.stat().st_size // 2)
        file.write(b"\1\2\3")
    with pytest.raises(OutputError, match="not made from these images"):
        simulate_pairs([image], tmp_path / "set", few)


def test_a_finished_set_is_checked_and_left(images: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "set"
    first = simulate_pairs(images, out, options())
    stamps = {f: f.stat().st_mtime_ns for f in out.rglob("*")}
    assert simulate_pairs(images, out, options()) == first
    assert {f: f.stat().st_mtime_ns for f in out.rglob("*")} == stamps
    with pytest.raises(OutputError, match="not made from these images with these options"):
        simulate_pairs(images, out, options(seed=3))
    (out / first[0]["clear"]).write_bytes(b"")
    with pytest.raises(OutputError, match="differs from SHA256SUMS; delete"):
        simulate_pairs(images, out, options())


def test_other_options_begin_anew_and_foreign_folders_are_left(
    images: list[Path], tmp_path: Path
) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if done == 3:
            raise _Stopped

    out = tmp_path / "set"
    with pytest.raises(_Stopped):
        simulate_pairs(images, out, options(), stop)
    simulate_pairs(images, out, options(seed=5))
    simulate_pairs(images, tmp_path / "fresh", options(seed=5))
    assert contents(out) == contents(tmp_path / "fresh")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    assert simulate_pairs(images, foreign, options(count=1))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match="choose another folder"):
        simulate_pairs(images, tmp_path / "mine", options())
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("how", ["link", "lost link", "here", "disk"])
def test_a_folder_that_no_set_can_replace_is_refused_before_any_work(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    out, real = tmp_path / "set", tmp_path / "big"
    if how != "lost link":
        real.mkdir()
    if how.endswith("link"):
        out.symlink_to(real)
    elif how == "here":
        monkeypatch.chdir(real)
        out = Path()
    else:
        out = real
        monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == real)
    there = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match=r"is a link, a mounted disk .* name a folder in it"):
        simulate_pairs(images, out, options(), no_work)
    assert sorted(tmp_path.iterdir()) == there


def no_work(stage: str, done: int, total: int) -> None:
    """Fails if any chip is made."""
    raise AssertionError


@pytest.mark.parametrize("at", ["before the rename", "instead of it", "after it"])
def test_a_run_that_ends_at_the_last_rename_loses_no_chip(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    out, real = tmp_path / "set", Path.replace
    simulate_pairs(images, tmp_path / "whole", options())

    def replace(path: Path, target: Path) -> Path:
        if target != out:
            return real(path, target)
        if at == "instead of it":
            raise OSError(errno.EBUSY, "Device or resource busy")
        if at == "after it":
            real(path, target)
        raise _Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(OutputError if at == "instead of it" else _Stopped):
            simulate_pairs(images, out, options())
    made: list[object] = []
    monkeypatch.setattr("decr.dataset.write_pairs._make", lambda *chip: made.append(chip))
    simulate_pairs(images, out, options())
    assert made == []
    assert contents(out) == contents(tmp_path / "whole")
    assert sorted(p.name for p in out.iterdir()) == sorted(
        p.name for p in (tmp_path / "whole").iterdir()
    )
