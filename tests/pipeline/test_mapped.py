"""Arrays that lie in files: zeros with their room on disk, without a name, let go of."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from decr.errors import OutputError
from decr.pipeline.mapped import flushed, let_go, on_disk, unnamed
from tests.pipeline.resident import resident_bytes


def test_arrays_on_disk_are_zeros_with_their_room_and_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "cells.npy"
    array = on_disk(path, (300, 400), np.float32)
    assert (array.shape, array.dtype, array.any()) == ((300, 400), np.float32, False)
    assert path.stat().st_blocks * 512 >= array.nbytes
    array[1, 2] = 3.0
    flushed(array, np.zeros(3))  # one in memory stays there
    assert on_disk(path, (300, 400), np.float32, begun=True)[1, 2] == 3.0


def test_arrays_without_a_name_leave_nothing(tmp_path: Path) -> None:
    array = unnamed(tmp_path, (300, 400), np.uint8)
    array[:] = 7
    assert isinstance(array, np.memmap)
    assert (array == 7).all()
    assert not list(tmp_path.iterdir())


def test_too_little_room_is_told_in_megabytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("decr.pipeline.mapped.os.posix_fallocate", full)
    for made in (
        lambda: on_disk(tmp_path / "a.npy", (1024, 1024), np.uint8),
        lambda: unnamed(tmp_path, (1024, 1024), np.uint8),
    ):
        with pytest.raises(OutputError, match=r"no room for 1\.0 MB \(No space left on device\)"):
            made()


@pytest.mark.skipif(
    not (hasattr(mmap, "MADV_DONTNEED") and Path("/proc/self/smaps").exists()),
    reason="this system keeps such pages, or does not tell",
)
def test_mapped_arrays_are_let_go_and_keep_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "cells.bin"
    array = np.memmap(path, np.uint8, "w+", shape=(5000, 10_000))
    array[:] = 7
    assert resident_bytes(path) >= array.nbytes
    let_go(array)
    assert resident_bytes(path) < 10_000_000
    assert (array == 7).all()
    let_go(np.zeros(3))  # not mapped: nothing to let go
