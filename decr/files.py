"""Small files and work folders.

A file is written whole or not at all, and never over one that decr did not make. In a work folder
one process works at a time.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from decr.errors import OutputError


def there(path: str | Path) -> bool:
    """Whether a file or folder can be seen; where `Path.exists` may not look it raises instead."""
    return os.path.exists(path)  # noqa: PTH110


def file_there(path: str | Path) -> bool:
    """As `there`, for a file."""
    return os.path.isfile(path)  # noqa: PTH113


def folder_there(path: str | Path) -> bool:
    """As `there`, for a folder."""
    return os.path.isdir(path)  # noqa: PTH112


def of_pipe(path: str | Path) -> str | None:
    """What to say of a name that leads to a pipe; None of others."""
    try:
        pipe = stat.S_ISFIFO(os.stat(path).st_mode)  # noqa: PTH116 (names may be too long)
    except (OSError, ValueError):
        pipe = f"{path}".startswith("/vsistdin")
    if not pipe:
        return None
    return f"{path} is a pipe, of which nothing is read twice; write it to a file first"


def is_elsewhere(path: str | Path) -> bool:
    """Whether this is an address, or a path of GDAL's that leads elsewhere; no folder here."""
    found = _ELSEWHERE.match(f"{path}/")
    return found is not None and not there(found[1])


_ELSEWHERE = re.compile(r"(/vsi\w+|\w{2,}:)/")


def check_here(out: Path) -> None:
    """Refuse to write to an address, or to a path of GDAL's that leads elsewhere.

    Raises
    ------
    OutputError
        Naming it.
    """
    if is_elsewhere(out):
        raise OutputError(
            f"{out}: outputs are written to files of this machine; name one, and copy it there"
        )


def writable_folder(folder: Path) -> Path:
    """Make a folder, before hours of work go into what it cannot take.

    Raises
    ------
    OutputError
        If it cannot be made or written to.
    """
    check_here(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(folder, error) from error
    check_writable(folder)
    return folder


def check_writable(folder: Path) -> None:
    """Refuse a folder that could not be made or written to; nothing is left there.

    Raises
    ------
    OutputError
        Naming it.
    """
    check_here(folder)
    place = next(place for place in (folder, *folder.parents) if there(place))
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise _not_writable(folder, error) from error


def _not_writable(folder: Path, error: OSError) -> OutputError:
    return OutputError(f"{folder}: cannot write there ({error.strerror}); name another folder")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file by one rename, also beside other calls that write it; its folder is made.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _part_of(path) as part:
        try:
            part.write_bytes(content.encode() if isinstance(content, str) else content)
            part.replace(path)
        except OSError:
            with suppress(OSError):
                part.unlink()
            raise


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """Where a file is written until it is whole, by this process alone.

    What a process that was killed has left there is written over, not that of a living one.
    """
    part = path.with_name(f".{path.name}.part")
    held = _held_file(part)
    try:
        yield path.with_name(f".{path.name}.{os.getpid()}.part") if held is None else part
    finally:
        if held is not None:
            os.close(held)


def _held_file(part: Path) -> int | None:
    """The descriptor of a file that others are kept from while it is open; None if one has it."""
    try:
        file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file), part.stat()):  # or it has been renamed since
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:  # the file system knows no locks, so that nobody takes this file
        with suppress(OSError):
            part.unlink()
    os.close(file)
    return None


def write_report_file(path: Path, content: str | bytes) -> None:
    """As `write_whole`, for a file of a report.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot write the report there ({error.strerror}); name another folder for it"
        ) from error


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; None is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def json_object(path: Path) -> dict[str, Any]:
    """What a JSON file holds by name; empty if it cannot be read or holds something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def journal_lines(journal: Path, cut: bool = True) -> list[dict[str, Any]]:
    """Lines of a journal, which may not be there yet, up to the first that is not whole.

    What a kill or the disk has torn is cut off, also in the file if ``cut``.
    """
    if not journal.exists():
        return []
    data, lines, whole = journal.read_bytes(), [], 0
    for line in data.splitlines(keepends=True):
        try:
            lines.append(json.loads(line if line.endswith(b"\n") else b""))
        except ValueError:
            if cut:
                os.truncate(journal, whole)
            break
        whole += len(line)
    return lines


def check_replaced(path: Path, ours: bool) -> None:
    """Refuse to replace a file of a report's name that is there and is none of ``ours``.

    Raises
    ------
    OutputError
        Naming it.
    """
    if there(path) and not ours:
        raise OutputError(
            f"{path}: exists already and is no report of this decr; remove it, or give another "
            f"folder for reports"
        )


def work_folder(out: Path) -> Path:
    """Where an output is made: beside it, so that its last rename stays on one file system."""
    return Path(f"{out}.decr-work")


LOCK = "lock"
"""File of a work folder that the process at work there holds."""


@contextmanager
def sole_worker(work: Path, out: Path) -> Iterator[None]:
    """Hold a work folder, which is made if need be, against other processes.

    Parameters
    ----------
    out
        What is made there, for messages.

    Raises
    ------
    OutputError
        If the folder cannot be made, lies on another disk than the output, or another process
        holds it.
    """
    check_disk(work, out)
    lock = _locked(work, out)
    _held.add(lock)
    try:
        yield
    finally:
        _held.discard(lock)
        lock.close()


@contextmanager
def scratch_folder(work: Path, out: Path) -> Iterator[None]:
    """As `sole_worker`, for what is only needed on the way: empty at first, gone at the end.

    What a run that was killed has left there is cleared away.
    """
    with sole_worker(work, out):
        empty_work(work)
        try:
            yield
        finally:
            with suppress(OSError):
                empty_work(work)
                (work / LOCK).unlink()  # last: from now on others may begin there
                work.rmdir()


def empty_work(work: Path, keep: Collection[str] = ()) -> None:
    """Delete all that is in a work folder but its lock and what has one of some names."""
    for child in work.iterdir():
        if child.name in keep:
            continue
        if child.is_dir():
            shutil.rmtree(child)
        elif child.name != LOCK:
            child.unlink()


_TRIES = 100
"""How often a work folder may vanish while it is taken: some file systems never make one."""

_held: set[BinaryIO] = set()


def _let_go() -> None:
    """Close locks in a forked child, which would hold them when its parent is killed."""
    for lock in _held:
        lock.close()
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


def check_disk(work: Path, out: Path) -> None:
    """Refuse a work folder that is a link to another disk than the output's.

    Raises
    ------
    OutputError
        For nothing could be renamed from there.
    """
    try:
        elsewhere = work != out and work.stat().st_dev != out.parent.stat().st_dev
    except OSError:  # it is not there yet, or cannot be taken
        return
    if elsewhere:
        raise OutputError(
            f"{out}: {work} lies on another disk, from which the output cannot be renamed; remove "
            f"it, or name an output on that disk"
        )


def _locked(work: Path, out: Path) -> BinaryIO:
    """The open lock of a work folder, held."""
    for _ in range(_TRIES):
        try:
            work.mkdir(exist_ok=True)
            lock = (work / LOCK).open("wb")
        except FileNotFoundError:  # whoever was at work there has just cleared it away
            if not work.parent.is_dir():
                raise OutputError(f"{out}: the folder {work.parent} does not exist") from None
            continue
        except OSError as error:
            remedy = "choose another output folder"
            if error.errno == errno.ENAMETOOLONG:
                remedy = f"{work.name} must fit beside it: choose a shorter name"
            raise OutputError(f"{out}: cannot write there ({error.strerror}); {remedy}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise OutputError(
                f"{out}: another decr is writing this output ({work}); wait for it or stop it"
            ) from error
        try:
            # Or it is the lock of a folder that has gone since it was opened.
            if os.path.samestat(os.fstat(lock.fileno()), (work / LOCK).stat()):
                return lock
        except FileNotFoundError:
            pass
        lock.close()
    raise OutputError(f"{out}: cannot make {work} there; choose another output folder")
