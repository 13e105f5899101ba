"""The work directory beside the output: finished blocks, a journal, and a guard against mixing.

Kill the process at any time: what the journal names is whole on disk, the rest is done again.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from decr.errors import OutputError
from decr.geo.grid import Window

Spills = list[tuple[Window, NDArray[np.int32]]]


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
    done: dict[tuple[str, int, int], dict[str, Any]]
    _journal: IO[str] = field(repr=False)

    def note(self, kind: str, row: int, col: int, **values: Any) -> None:
        """Record a finished block; durable when this returns."""
        entry = {"kind": kind, "row": row, "col": col, **values}
        self._journal.write(json.dumps(entry) + "\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self.done[kind, row, col] = entry

    def block_file(self, kind: str, row: int, col: int, suffix: str) -> Path:
        """Path of a block's file."""
        return self.path / f"{kind}_{row:05d}_{col:05d}.{suffix}"

    def save_arrays(self, kind: str, row: int, col: int, arrays: Spills) -> None:
        """Write windows and arrays of a block, whole or not at all."""
        target = self.block_file(kind, row, col, "npz")
        part = target.with_suffix(".part")
        packed: dict[str, Any] = {}
        for index, (window, values) in enumerate(arrays):
            packed[f"w{index}"] = np.array([window.row, window.col, window.height, window.width])
            packed[f"a{index}"] = values
        with part.open("wb") as file:
            np.savez(file, **packed)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)

    def load_arrays(self, kind: str, row: int, col: int) -> Spills:
        """Read what `save_arrays` wrote; empty if the block had nothing to do."""
        path = self.block_file(kind, row, col, "npz")
        if not path.exists():
            return []
        with np.load(path) as packed:
            count = len(packed.files) // 2
            return [
                (Window(*(int(v) for v in packed[f"w{i}"])), packed[f"a{i}"]) for i in range(count)
            ]


@contextmanager
def work_dir(out: Path, job: Mapping[str, Any]) -> Iterator[WorkDir]:
    """Open the work directory of an output, continuing an interrupted run of the same job.

    Parameters
    ----------
    job
        Everything that decides the output's bytes. If an earlier run had another job, its work is
        thrown away.

    Raises
    ------
    OutputError
        If the directory cannot be made or another process is at work in it.
    """
    path = Path(f"{out}.decr-work")
    text = json.dumps(dict(job), sort_keys=True, indent=1)
    try:
        path.mkdir(exist_ok=True)
        lock = (path / "lock").open("w")
    except OSError as error:
        raise OutputError(
            f"{out}: cannot write there ({error.strerror}); choose another output folder"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                f"{out}: another decr is writing this output ({path}); wait for it or stop it"
            ) from error
        resumed = _is_same_job(path, text)
        if not resumed:
            _cleared(path, text)
        done = _finished(path / "journal.jsonl") if resumed else {}
        with (path / "journal.jsonl").open("a") as journal:
            yield WorkDir(path, resumed and bool(done), done, journal)


def _is_same_job(path: Path, text: str) -> bool:
    try:
        return (path / "job.json").read_text() == text
    except OSError:
        return False


def _cleared(path: Path, text: str) -> None:
    for child in path.iterdir():
        if child.name == "lock":
            continue
        shutil.rmtree(child) if child.is_dir() else child.unlink()
    part = path / "job.part"
    part.write_text(text)
    part.replace(path / "job.json")


def _finished(journal: Path) -> dict[tuple[str, int, int], dict[str, Any]]:
    """Entries of a journal; a last line torn by a kill is cut off."""
    if not journal.exists():
        return {}
    done, whole = {}, 0
    data = journal.read_bytes()
    for line in data.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        try:
            entry = json.loads(line)
            done[entry["kind"], entry["row"], entry["col"]] = entry
        except (ValueError, KeyError, TypeError):
            break
        whole += len(line)
    if whole < len(data):
        os.truncate(journal, whole)
    return done
