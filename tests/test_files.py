"""Folders in which only one process works."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from decr.errors import OutputError
from decr.files import (
    LOCK,
    scratch_folder,
    sole_worker,
    writable_folder,
    write_report_file,
    write_whole,
)


def test_addresses_are_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for address in ("s3://bucket/reports", "gs://bucket", "/vsigs/bucket/reports"):
        with pytest.raises(OutputError, match="files of this machine; name one, and copy it"):
            writable_folder(Path(address))
    assert not list(tmp_path.iterdir())
    Path("ab:").mkdir()  # an odd name, but there
    assert writable_folder(Path("ab:/c")).is_dir()


def test_a_report_is_written_whole_into_a_folder_that_is_made_or_refused(tmp_path: Path) -> None:
    write_report_file(tmp_path / "no" / "t.parquet", b"all")
    assert (tmp_path / "no" / "t.parquet").read_bytes() == b"all"
    with pytest.raises(
        OutputError, match=r"y/t\.parquet: cannot write the report there \(Not a dir"
    ):
        write_report_file(tmp_path / "no" / "t.parquet" / "y" / "t.parquet", b"all")
    assert list(tmp_path.iterdir()) == [tmp_path / "no"]
    assert list((tmp_path / "no").iterdir()) == [tmp_path / "no" / "t.parquet"]


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    work, out = tmp_path / "w", tmp_path / "o"
    with sole_worker(work, out), pytest.raises(OutputError, match="another decr"):  # noqa: SIM117
        with sole_worker(work, out):
            raise AssertionError
    with sole_worker(work, out):
        pass


def test_a_scratch_folder_is_empty_at_first_and_gone_at_the_end(tmp_path: Path) -> None:
    work, out = tmp_path / "w", tmp_path / "o"
    (work / "old").mkdir(parents=True)
    (work / "left").write_text("of a run that was killed")
    with scratch_folder(work, out):
        assert [file.name for file in work.iterdir()] == [LOCK]
        (work / "mine").write_text("")
        with pytest.raises(OutputError, match="another decr"), scratch_folder(work, out):
            raise AssertionError
        assert (work / "mine").exists()
    assert not work.exists()


def test_the_lock_of_a_folder_that_has_gone_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may clear the folder away, and a third begin, between opening and locking."""
    work, out = tmp_path / "w", tmp_path / "o"
    flock, calls = __import__("fcntl").flock, []

    def late(lock: object, how: int) -> None:
        calls.append(how)
        if len(calls) == 1:
            shutil.rmtree(work)
        flock(lock, how)

    monkeypatch.setattr("fcntl.flock", late)
    with sole_worker(work, out):
        assert len(calls) == 2
        assert (work / LOCK).exists()
        monkeypatch.undo()
        with pytest.raises(OutputError, match="another decr"), sole_worker(work, out):
            raise AssertionError


def test_why_a_folder_cannot_be_held(tmp_path: Path) -> None:
    long = tmp_path / ("n" * 250)
    with (
        pytest.raises(OutputError, match="choose a shorter name"),
        sole_worker(tmp_path / f"{long.name}.decr-work", long),
    ):
        raise AssertionError
    gone = tmp_path / "no" / "w"
    with pytest.raises(OutputError, match="does not exist"), sole_worker(gone, tmp_path / "o"):
        raise AssertionError


def test_a_work_folder_on_another_disk_is_refused_before_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, work, out = tmp_path / "disk", tmp_path / "o.tif.decr-work", tmp_path / "o.tif"
    elsewhere.mkdir()
    work.symlink_to(elsewhere)
    stat = Path.stat

    def on_its_own(path: Path, **how: bool) -> os.stat_result:
        found = stat(path, **how)
        other = found.st_dev + (path in (work, elsewhere))
        return os.stat_result((*found[:2], other, *found[3:]))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", on_its_own)
        with (
            pytest.raises(OutputError, match=r"o\.tif: .*o\.tif\.decr-work lies on another disk"),
            sole_worker(work, out),
        ):
            raise AssertionError
        with sole_worker(elsewhere, elsewhere):  # a folder that is worked in, renamed nowhere
            (elsewhere / LOCK).unlink()
    assert list(elsewhere.iterdir()) == []
    with sole_worker(work, out):  # a link on one disk
        assert (elsewhere / LOCK).exists()


def test_a_forked_child_does_not_hold_what_its_killed_parent_held(tmp_path: Path) -> None:
    """Processes that draw samples outlive a training that is killed by seconds."""
    work, out = tmp_path / "w", tmp_path / "o"
    said, said_end = os.pipe()
    parent = os.fork()
    if not parent:
        with sole_worker(work, out):
            if not os.fork():
                time.sleep(20)
                os._exit(0)
            os.write(said_end, b"!")
            time.sleep(20)
        os._exit(0)
    assert os.read(said, 1) == b"!"
    with pytest.raises(OutputError, match="another decr"), sole_worker(work, out):
        raise AssertionError
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    with sole_worker(work, out):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_a_file_system_that_makes_no_folder_is_told() -> None:
    out = Path("/proc/out.tif")  # says that its folders do not exist, which they do
    with pytest.raises(OutputError, match=r"out\.tif: cannot make .*choose another output folder"):
        writing(out)


def writing(out: Path) -> None:
    with sole_worker(out.with_name("out.tif.decr-work"), out):
        pass


def test_what_a_killed_process_left_of_a_file_is_written_over(tmp_path: Path) -> None:
    """It was called after the process, so that no later one found it."""
    started, said = os.pipe()
    killed = os.fork()
    if not killed:
        os.close(started)
        replace = Path.replace
        Path.replace = lambda *_: (os.write(said, b"!"), time.sleep(20))  # type: ignore[assignment]
        write_whole(tmp_path / "t.json", "a long text of the one that is killed")
        Path.replace = replace  # type: ignore[method-assign]
        os._exit(0)
    assert os.read(started, 1) == b"!"
    os.kill(killed, signal.SIGKILL)
    os.waitpid(killed, 0)
    assert len(list(tmp_path.iterdir())) == 1
    write_whole(tmp_path / "t.json", "whole")
    assert [file.name for file in tmp_path.iterdir()] == ["t.json"]
    assert (tmp_path / "t.json").read_text() == "whole"


def test_what_a_living_process_writes_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, replace, contents = tmp_path / "t.json", Path.replace, []

    def meanwhile(part: Path, target: Path) -> None:
        monkeypatch.undo()
        write_whole(out, "the other's")
        contents.append(out.read_text())
        replace(part, target)

    monkeypatch.setattr(Path, "replace", meanwhile)
    write_whole(out, "the one's")
    assert contents == ["the other's"]
    assert out.read_text() == "the one's"
    assert list(tmp_path.iterdir()) == [out]


def test_a_part_that_cannot_be_taken_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / ".t.json.part").symlink_to(tmp_path / "precious")
    write_whole(tmp_path / "t.json", "whole")
    assert (tmp_path / "t.json").read_text() == "whole"
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_file_is_written_where_nothing_can_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    write_whole(tmp_path / "t.json", "whole")
    assert [file.name for file in tmp_path.iterdir()] == ["t.json"]
