"""A folder of pairs that appears only when it is whole: journal, manifest and checksums."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from decr.errors import OutputError

SUMS = "SHA256SUMS"
JOB = "simulation.json"
_JOURNAL = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Record:
    """A finished chip: its line of the manifest, and the SHA-256 of its files by name."""

    entry: dict[str, Any]
    sums: dict[str, str]


def is_empty_folder(path: Path) -> bool:
    """Whether a folder is there, and nothing in it."""
    return path.is_dir() and not any(path.iterdir())


def check_finished(out: Path, job: str) -> None:
    """Refuse a folder that is not the same job's, or in which a file is not as it was made."""
    if not (out / JOB).is_file() or (out / JOB).read_text() != job:
        raise OutputError(
            f"{out} is there already and was not made from these images with these options; "
            "choose another folder, or delete it"
        )
    for line in (out / SUMS).read_text().splitlines():
        digest, name = line.split("  ", 1)
        file = out / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise OutputError(
                f"{file} is missing or differs from {SUMS}; delete {out} and run again"
            )


def entries(manifest: Path) -> list[dict[str, Any]]:
    """Lines of a manifest."""
    return [json.loads(line) for line in manifest.read_text().splitlines()]


def begin(work: Path, job: str) -> dict[str, Record]:
    """Make the work folder, or continue it: the chips that are finished there."""
    if not (work / JOB).is_file() or (work / JOB).read_text() != job:
        if work.exists():
            shutil.rmtree(work)
        work.mkdir(parents=True)
        write_whole(work / JOB, job.encode())
    done: dict[str, Record] = {}
    journal = work / _JOURNAL
    if not journal.exists():
        return done
    data = journal.read_bytes()
    # A line torn by a kill has no end.
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(journal, len(whole))
    for line in whole.decode().splitlines():
        chip = json.loads(line)
        done[chip["name"]] = Record(chip["entry"], chip["sums"])
    return done


def note(work: Path, name: str, record: Record) -> None:
    """Record that a chip's files are all in place."""
    with (work / _JOURNAL).open("a") as journal:
        journal.write(json.dumps({"name": name, **asdict(record)}) + "\n")


def finish(work: Path, out: Path, records: Sequence[Record], manifest: str) -> None:
    """Write manifest and checksums, and give the folder its name."""
    lines = "".join(json.dumps(record.entry) + "\n" for record in records).encode()
    write_whole(work / manifest, lines)
    sums = {name: digest for record in records for name, digest in record.sums.items()}
    sums[manifest] = hashlib.sha256(lines).hexdigest()
    sums[JOB] = hashlib.sha256((work / JOB).read_bytes()).hexdigest()
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    write_whole(work / SUMS, text.encode())
    (work / _JOURNAL).unlink()
    for left in work.rglob("*.part"):
        left.unlink()
    if out.exists():
        out.rmdir()
    work.replace(out)


def write_whole(path: Path, data: bytes) -> None:
    """Write under another name, then rename: nobody ever sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(data)
    part.replace(path)
