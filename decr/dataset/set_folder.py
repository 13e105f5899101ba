"""A folder of pairs that appears only when it is whole: journal, manifest and checksums."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from decr.dataset.manifest import MANIFEST, manifest_bytes
from decr.errors import DecrError, OutputError, warn
from decr.files import (
    LOCK,
    check_here,
    empty_work,
    file_sha256,
    journal_lines,
    sole_worker,
    work_folder,
    write_whole,
)
from decr.geo.sources import local_files
from decr.lost_work import loss_said
from decr.progress import OnProgress, each_told, silent

SUMS = "SHA256SUMS"
SCRATCH = "scratch"
"""Folder within a work folder for what is only needed on the way."""
_JOURNAL = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Record:
    """A finished chip: its line of the manifest, and the SHA-256 of its files by name."""

    entry: dict[str, Any]
    sums: dict[str, str]


Made = tuple[Sequence[Record], Mapping[str, bytes]]
"""Chips of a set in the manifest's order, and what further files hold, by name."""


def make_set(
    out: Path,
    job: str,
    job_file: str,
    make: Callable[[dict[str, Record]], Made],
    keep: Sequence[str] = (),
) -> None:
    """Let a set be made in ``OUT.decr-work``, which becomes OUT once it is whole.

    A set that the same job has made before is checked and left.

    Parameters
    ----------
    job
        Everything that decides the bytes of the set.
    make
        Given the chips that an earlier run has finished, makes and notes the others, and returns
        the records of all, in the order of the manifest.
    keep
        Names in the work folder that stay if another job has left them.

    Raises
    ------
    OutputError
        If OUT is there and another's, or damaged, or nothing can be renamed to it, or it cannot
        be written; what is done is kept. If another process makes it.

    Warns
    -----
    DecrWarning
        If another job has left finished chips, which are thrown away.
    """
    check_here(out)
    if out.exists() and not _is_empty_folder(out):
        _check_finished(out, job, job_file)
        if (out / _JOURNAL).exists():
            _tidy(out)
        return
    _check_place(out)
    work = work_folder(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with sole_worker(work, out):
            done = _begin(work, job, job_file, keep)
            (work / SCRATCH).mkdir(exist_ok=True)
            records, more = make(done)
            _finish(work, out, records, job_file, more)
    except DecrError:
        raise
    except OSError as error:
        raise OutputError(
            f"{out}: cannot write there ({error.strerror or error}); free some space or choose "
            "another folder, and run the same command again: what is done is kept"
        ) from error


def _check_place(out: Path) -> None:
    """Refuse what the finished folder could not be renamed to."""
    if out.is_symlink() or os.path.ismount(out) or (out.exists() and out.samefile(Path.cwd())):
        raise OutputError(
            f"{out}: is a link, a mounted disk or the folder that decr runs in, which no set can "
            f"take the place of; name a folder in it, such as {out / 'set'}"
        )


def _is_empty_folder(path: Path) -> bool:
    """Whether a folder is there, and nothing in it."""
    return path.is_dir() and not any(path.iterdir())


def _check_finished(out: Path, job: str, job_file: str) -> None:
    """Refuse a folder that is not the same job's, or in which a file is not as it was made."""
    if not _is_of(out / job_file, job):
        raise OutputError(
            f"{out} is there already and was not made from these images with these options "
            "by this version of decr and its detector; choose another folder, or delete it"
        )
    wrong = damaged(out)
    if wrong:
        raise OutputError(
            f"{out / wrong[0]} is missing or differs from {SUMS}; delete {out} and run again"
        )


def damaged(out: Path, on_progress: OnProgress = silent) -> list[str]:
    """Names in a set's SHA256SUMS whose file is missing or another.

    Parameters
    ----------
    on_progress
        Called with ("sums", done, total), of files.

    Raises
    ------
    OutputError
        If there are no checksums, or they are not such a list.
    """
    try:
        lines = (out / SUMS).read_text().splitlines()
        listed = [(line[:64], line[66:]) for line in lines]
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(
            f"{out / SUMS} cannot be read ({error}); give a folder with it"
        ) from error
    root = out.resolve()
    wrong = []
    each = each_told("sums", [*zip(listed, lines, strict=True)], on_progress)
    for (digest, name), line in each:
        try:
            inside = line[64:66] == "  " and (out / name).resolve().is_relative_to(root)
            there = inside and (out / name).is_file()
        except (OSError, ValueError, RuntimeError):
            # Too long, not a name at all, or a link to itself.
            inside = there = False
        if not inside:
            raise OutputError(f"{out / SUMS}: {line[:80]!r} is not a checksum of a file in {out}")
        if not there or file_sha256(out / name) != digest:
            wrong.append(name)
    return wrong


def entries(manifest: Path) -> list[dict[str, Any]]:
    """Lines of a manifest."""
    return [json.loads(line) for line in manifest.read_text().splitlines()]


def _begin(work: Path, job: str, job_file: str, keep: Sequence[str]) -> dict[str, Record]:
    """Begin in the work folder, or go on: the chips that are finished there."""
    if not _is_of(work / job_file, job):
        _warn_of_loss(work, job, job_file)
        # First those without which no run takes what a kill leaves for its own work.
        for name in (job_file, _JOURNAL):
            (work / name).unlink(missing_ok=True)
        empty_work(work, keep)
        write_whole(work / job_file, job.encode())
    done: dict[str, Record] = {}
    for chip in journal_lines(work / _JOURNAL):
        # Somebody may have tidied up, or the machine gone down before files were on the disk:
        # what is gone or another is made again.
        sums = [(work / name, digest) for name, digest in chip["sums"].items()]
        if all(file.is_file() and file_sha256(file) == digest for file, digest in sums):
            done[chip["name"]] = Record(chip["entry"], chip["sums"])
    return done


def _warn_of_loss(work: Path, job: str, job_file: str) -> None:
    """Say how many finished pairs are about to be thrown away, and what is other now."""
    lost = {
        chip["name"]
        for chip in journal_lines(work / _JOURNAL, cut=False)
        if "sums" in chip and all((work / name).is_file() for name in chip["sums"])
    }
    if lost:
        said = loss_said(work / job_file, json.loads(job), len(lost), "pairs")
        warn(said)


def _is_of(path: Path, job: str) -> bool:
    """Whether a job file is there, and says this job."""
    return path.is_file() and path.read_bytes() == job.encode()


def add_line(journal: Path, line: Mapping[str, Any]) -> None:
    """Add to what `journal_lines` reads."""
    with journal.open("a") as file:
        file.write(json.dumps(line) + "\n")


def note(work: Path, name: str, record: Record) -> None:
    """Record that a chip's files are all in place."""
    add_line(work / _JOURNAL, {"name": name, **asdict(record)})


def written(work: Path, files: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """Write files by name, each whole; the SHA-256 of each."""
    sums = {}
    for name, data in files:
        write_whole(work / name, data)
        sums[name] = hashlib.sha256(data).hexdigest()
    return sums


def _finish(
    work: Path, out: Path, records: Sequence[Record], job_file: str, more: Mapping[str, bytes]
) -> None:
    """Write manifest, further files by name, and checksums, and give the folder its name."""
    lines = manifest_bytes([record.entry for record in records])
    sums = {name: digest for record in records for name, digest in record.sums.items()}
    sums |= written(work, [(MANIFEST, lines), *more.items()])
    sums[job_file] = file_sha256(work / job_file)
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    write_whole(work / SUMS, text.encode())
    shutil.rmtree(work / SCRATCH)
    for left in work.rglob("*.part"):
        left.unlink()
    if out.exists():
        out.rmdir()
    work.replace(out)
    _tidy(out)


def _tidy(out: Path) -> None:
    """Remove what only a run that is killed before the rename needs."""
    with suppress(OSError):
        for name in (LOCK, _JOURNAL):
            (out / name).unlink(missing_ok=True)


def raster_mark(path: str) -> str:
    """SHA-256 of those of all files on this machine that a raster is read from.

    Of all their bytes: sizes, times and the ends of files do not tell an edit in place or a copy.

    Raises
    ------
    SceneError
        If it cannot be opened.
    """
    marks = "".join(file_sha256(file) for file in local_files(path))
    return hashlib.sha256(marks.encode()).hexdigest()
