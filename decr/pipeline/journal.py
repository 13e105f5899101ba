"""The work directory beside the output: finished blocks, a journal, and a guard against mixing.

Kill the process at any time: what the journal names is whole on disk, the rest is done again.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, TypeVar
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError

import numpy as np
from numpy.typing import NDArray

from decr.errors import OutputError
from decr.files import (
    LOCK,
    empty_work,
    file_sha256,
    journal_lines,
    sole_worker,
    work_folder,
    write_whole,
)
from decr.geo.opening import REFUSALS, first_line, of_limit, unlinked
from decr.geo.whole import sum_of
from decr.lost_work import loss_said
from decr.pipeline.words import warn

T = TypeVar("T")
Key = tuple[str, int, int]
Done = Mapping[Key, Mapping[str, Any]]
"""Entries of a journal by kind, row and column."""
OUTPUT = "output"
"""What the journal calls the output, beside which other files may be made."""
_JOB, _JOURNAL = "job.json", "journal.jsonl"
_OF_FILES = (OSError, EOFError, KeyError, BadZipFile)
_OF_HEADERS = (
    ValueError,
    TypeError,
    OverflowError,
    SyntaxError,
    TokenError,
    RuntimeError,
    ZlibError,
)
"""What numpy and zipfile raise besides where a bit in a header is another."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say what to do when work cannot be kept, usually for want of space."""
    try:
        yield
    except REFUSALS as error:
        remedy = of_limit(str(error)) or "free some space"
        raise OutputError(
            f"{path}: cannot write finished work ({first_line(error)}); {remedy} and run the "
            f"same command again: what is finished is kept"
        ) from unlinked(error)


@contextmanager
def still_whole(file: Path, work: Path) -> Iterator[None]:
    """Say what to do when finished work cannot be read: a damaged disk, or somebody tidied up."""
    try:
        yield
    except (*_OF_FILES, *_OF_HEADERS) as error:
        limited = of_limit(str(error))
        remedy = (
            f"{limited}, and run the same command again: what is finished is kept"
            if limited
            else f"delete the folder {work} and run the same command again, from the beginning"
        )
        raise OutputError(
            f"{file}: finished work cannot be read ({_said(error)}); {remedy}"
        ) from error


def _said(error: BaseException | None) -> str:
    """What is wrong with a file; what is said of damaged headers would lead astray."""
    return "it is damaged" if isinstance(error, _OF_HEADERS) else str(error) or type(error).__name__


def readable(file: Path, read: Callable[[Path], T], then: str = "it is made anew") -> T | None:
    """Read finished work; where it is damaged, None and a warning that says what is done then.

    Raises
    ------
    OutputError
        If only this process may not read it: what is finished is kept.
    """
    try:
        with still_whole(file, file.parent):
            return read(file)
    except OutputError as error:
        if of_limit(str(error)):
            raise
        cause = error.__cause__
        why = getattr(cause, "strerror", None) or _said(cause)
        warn(f"{file}: finished work cannot be read ({why}); {then}")
        return None


@dataclass(slots=True)
class WorkDir:
    """Where a run keeps what it has finished.

    Attributes
    ----------
    path
        ``OUT.decr-work`` beside the output, so that the final rename stays on one file system.
    resumed
        Whether an earlier, interrupted run of the very same job is being continued.
    done
        Journal entries by (kind, block row, block column).
    """

    path: Path
    resumed: bool
    done: dict[Key, dict[str, Any]]
    _journal: IO[str] = field(repr=False)
    _noting: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note(self, kind: str, row: int, col: int, **values: Any) -> None:
        """Record a finished block, from any thread; durable when this returns."""
        entry = {"kind": kind, "row": row, "col": col, **values}
        with self._noting, explained(self.path):
            self._journal.write(json.dumps(entry) + "\n")
            self._journal.flush()
            os.fsync(self._journal.fileno())
        self.done[kind, row, col] = entry

    def forget(self, *keys: Key) -> None:
        """Have finished things made anew, as durably as they were noted; others are passed over."""
        for key in keys:
            if key in self.done:
                self.note(*key, gone=True)
                del self.done[key]

    def note_rows(
        self, kind: str, row: int, raster: NDArray[Any], rows: slice, **facts: Any
    ) -> None:
        """Note that some rows of a raster in the making are finished, and what they hold by now.

        Parameters
        ----------
        kind, row
            Of the entry, whose kind begins with the stage.
        raster
            (..., h, w), on disk.
        """
        found = sum_of(raster[..., rows, :])
        self.note(kind, row, 0, rows=[rows.start, rows.stop], crc=found, **facts)

    def note_raster(self, stage: str, name: str, **facts: Any) -> None:
        """Note that a stage is finished, and what its raster on disk holds by now."""
        self.note(stage, 0, 0, sha256=file_sha256(self.path / name), **facts)

    def forget_damaged(self, stage: str, name: str) -> None:
        """Forget all of a stage if its raster is damaged, so that it is made anew.

        Its entries are those whose kind begins with ``stage``. A finished raster has the SHA-256
        that was noted; one in the making has the checksums of its finished rows.
        """
        keys = [key for key in self.done if key[0].startswith(stage)]
        wanted = self.done.get((stage, 0, 0), {}).get("sha256")
        noted = [] if wanted else [self.done[key] for key in keys]
        if keys and readable(self.path / name, partial(_mapped, wanted, noted)) is None:
            self.forget(*keys)

    def last(self, kind: str) -> dict[str, Any] | None:
        """The entry of a kind that was noted last."""
        return next((e for e in reversed(self.done.values()) if e["kind"] == kind), None)

    def block_file(self, kind: str, row: int, col: int, suffix: str) -> Path:
        """Path of a block's file."""
        return self.path / f"{kind}_{row:05d}_{col:05d}.{suffix}"

    def note_output(self, finished: Path, kind: str = OUTPUT) -> None:
        """Record a finished file, which will be an output by its next rename."""
        self.note(kind, 0, 0, **identity_of(finished))

    def made(self, out: Path, kind: str = OUTPUT) -> bool:
        """Whether a file is the output of this very job: killed before it could tidy up."""
        return made_by(self.done, out, kind)

    def save(self, kind: str, row: int, col: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write arrays of a block, whole or not at all."""
        target = self.block_file(kind, row, col, "npz")
        part = target.with_suffix(".part")
        with explained(self.path), part.open("wb") as file:
            with ZipFile(file, "w") as packed:
                for name, values in arrays.items():
                    with packed.open(f"{name}.npy", "w", force_zip64=True) as entry:
                        _write_array(entry, values)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)

    def load(self, kind: str, row: int, col: int, *names: str) -> list[NDArray[Any]]:
        """Read some of the arrays that `save` wrote, and only those."""
        file = self.block_file(kind, row, col, "npz")
        with still_whole(file, self.path), np.load(file) as packed:
            return [packed[name] for name in names]

    def is_whole(self, kind: str, row: int, col: int, then: str = "it is made anew") -> bool:
        """Whether all that `save` wrote can be read; else a warning says what is done then."""
        return readable(self.block_file(kind, row, col, "npz"), _checked, then) is not None

    def drop(self, kind: str, row: int, col: int) -> None:
        """Remove the arrays of a block, if they are there."""
        self.block_file(kind, row, col, "npz").unlink(missing_ok=True)


def _mapped(sha256: str | None, noted: Sequence[Mapping[str, Any]], file: Path) -> NDArray[Any]:
    """A raster of numbers, which has this checksum if one is known, and those of noted rows."""
    array: NDArray[Any] = np.load(file, mmap_mode="r")
    same = all(sum_of(array[..., slice(*e["rows"]), :]) == e["crc"] for e in noted)
    if not same or sha256 not in (None, file_sha256(file)):
        raise ValueError("it has another checksum")
    return array


def _checked(file: Path) -> Path:
    """A file of `WorkDir.save`, all of whose arrays can be read; zipfile looks at checksums."""
    with file.open("rb") as data, ZipFile(data) as packed:
        for member in packed.infolist():
            with packed.open(member) as array:
                np.lib.format.read_array(array)
        data.seek(-12, os.SEEK_END)  # where a zip file says how many it holds
        if len(packed.infolist()) != int.from_bytes(data.read(2), "little"):
            raise BadZipFile("an array is missing")
    return file


def _write_array(file: IO[bytes], values: NDArray[Any]) -> None:
    """What `numpy.savez` writes, plane by plane: it would copy up to 16 MiB twice."""
    header = {"descr": values.dtype.str, "fortran_order": False, "shape": values.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for plane in values:
        file.write(plane.tobytes())


def identity_of(path: Path) -> dict[str, int]:
    """What a rename does not change."""
    stat = path.stat()
    return {"inode": stat.st_ino, "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def made_by(done: Done, file: Path, kind: str = OUTPUT) -> bool:
    """Whether a file is there that finished work says was made, and is still the same."""
    noted = done.get((kind, 0, 0))
    return noted is not None and file.exists() and identity_of(file).items() <= noted.items()


def may_have_made(out: Path, file: Path | None = None, kind: str = OUTPUT) -> bool:
    """Whether the work directory of an output seems to be what made it, or another existing file.

    Parameters
    ----------
    file, kind
        The file, if not the output itself, and what the journal calls it.
    """
    return made_by(_finished(work_folder(out) / _JOURNAL, cut=False), file or out, kind)


@contextmanager
def work_dir(
    out: Path, job: Mapping[str, Any], check: Callable[[Done], None] | None = None
) -> Iterator[WorkDir]:
    """Open the work directory of an output, continuing an interrupted run of the same job.

    Parameters
    ----------
    job
        Everything that decides the output's bytes. If an earlier run had another job, its work is
        thrown away, and a warning says what is other.
    check
        Called before that with what this job has finished; what it raises leaves all as it is.

    Raises
    ------
    OutputError
        If the directory cannot be made or another process is at work in it.
    """
    path = work_folder(out)
    text = json.dumps(dict(job), sort_keys=True, indent=1)
    with sole_worker(path, out):
        resumed = _is_same_job(path, text)
        if check is not None:
            try:
                check(_finished(path / _JOURNAL, cut=False) if resumed else {})
            except BaseException:
                if {child.name for child in path.iterdir()} <= {LOCK}:
                    discard(path)
                raise
        with explained(path):
            if not resumed:
                _warn_of_loss(path, out, json.loads(text))
                _cleared(path, text)
            done = _finished(path / _JOURNAL) if resumed else {}
            journal = (path / _JOURNAL).open("a")
        with journal:
            yield WorkDir(path, resumed and bool(done), done, journal)


def _is_same_job(path: Path, text: str) -> bool:
    try:
        return (path / _JOB).read_text() == text
    except (OSError, UnicodeDecodeError):
        return False


def _warn_of_loss(path: Path, out: Path, job: Mapping[str, Any]) -> None:
    """Say which finished work is about to be thrown away, and what is other now."""
    lost = len(_finished(path / _JOURNAL, cut=False))
    if not lost or (out.exists() and may_have_made(out)):
        return
    warn(loss_said(path / _JOB, job, lost, "parts"))


def discard(path: Path) -> None:
    """Remove a work directory; whoever is killed while doing so leaves nothing to go on with."""
    with suppress(OSError):
        for name in (_JOURNAL, _JOB):
            (path / name).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def _cleared(path: Path, text: str) -> None:
    # Without them no run takes what is left for its own work.
    for name in (_JOURNAL, _JOB):
        (path / name).unlink(missing_ok=True)
    empty_work(path)
    write_whole(path / _JOB, text)


def _finished(journal: Path, cut: bool = True) -> dict[Key, dict[str, Any]]:
    """Entries of a journal, but for those forgotten.

    A last line torn by a kill is cut off, also in the file if ``cut``.
    """
    entries = {
        (line["kind"], line["row"], line["col"]): line for line in journal_lines(journal, cut)
    }
    return {key: entry for key, entry in entries.items() if not entry.get("gone")}
