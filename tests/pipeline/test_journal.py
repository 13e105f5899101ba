"""Tests of the journal: damage of what it notes is seen, and what is forgotten stays so."""

from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from decr.errors import DecrWarning, OutputError
from decr.pipeline.journal import readable, work_dir
from tests.pipeline.damage import DAMAGED


@pytest.mark.parametrize("damage", [*DAMAGED, "a byte"])
def test_damage_of_arrays_is_seen(tmp_path: Path, damage: str) -> None:
    with work_dir(tmp_path / "o", {}) as work, warnings.catch_warnings():
        warnings.simplefilter("error")
        work.save("block", 0, 0, {"a": np.arange(24).reshape(2, 12)})
        assert work.is_whole("block", 0, 0)
        file = work.block_file("block", 0, 0, "npz")
        data = file.read_bytes()
        if damage == "a byte":
            file.write_bytes(data.replace(bytes([7, 0, 0, 0]), bytes([9, 0, 0, 0])))
        else:
            DAMAGED[damage](file)
        with pytest.raises(DecrWarning, match=r"block_00000_00000\.npz: finished work cannot be"):
            work.is_whole("block", 0, 0)


@pytest.mark.parametrize("name", ["block", "clouds", "summed clouds"])
@given(bits=st.sets(st.integers(0, 128 * 8 - 1), min_size=1, max_size=3), ends=st.booleans())
@example(bits={8 * 8 + 6}, ends=False)  # numpy's header begins with another bracket
@example(bits={4 * 8 + 7}, ends=False)  # needs a zip of another version
@example(bits={6 * 8}, ends=False)  # is encrypted
@example(bits={8 * 36 + 6}, ends=True)  # the first entry takes the second for its comment
@settings(max_examples=25, deadline=None)
def test_other_bits_in_headers_are_damage_or_pass(
    name: str, bits: set[int], ends: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing else is raised, and what passes holds what was written."""
    array = np.arange(24).reshape(2, 12)
    with work_dir(tmp_path_factory.mktemp("damaged") / "o", {}) as work:
        if name == "block":
            work.save("block", 0, 0, {"a": array, "b": array[:0]})
        np.save(work.path / "clouds.npy", array)
        work.note("row", 0, 0)
        if name == "summed clouds":
            work.note_raster("row", "clouds.npy")
        file = (
            work.block_file("block", 0, 0, "npz") if name == "block" else work.path / "clouds.npy"
        )
        data = bytearray(file.read_bytes())
        for bit in bits:
            data[bit // 8 - 128 * (ends and name == "block")] ^= 1 << bit % 8
        file.write_bytes(data)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DecrWarning)
            if name == "block":
                passed = work.is_whole("block", 0, 0)
            else:
                work.forget_damaged("row", "clouds.npy")
                passed = bool(work.done)
        told = [w for w in caught if issubclass(w.category, DecrWarning)]
        assert len(told) == (not passed)
        if name == "block" and passed:
            assert [values.tolist() for values in work.load("block", 0, 0, "a")] == [array.tolist()]
        assert not (name == "summed clouds" and passed)


def test_a_run_that_is_refused_leaves_nothing_of_its_own(tmp_path: Path) -> None:
    def refusing(_: object) -> None:
        raise OutputError("exists")

    work = tmp_path / "o.decr-work"
    with pytest.raises(OutputError), work_dir(tmp_path / "o", {}, refusing):
        pass
    assert not work.exists()
    with work_dir(tmp_path / "o", {}) as earlier:
        earlier.note("row", 0, 0)
    with pytest.raises(OutputError), work_dir(tmp_path / "o", {"seed": 1}, refusing):
        pass
    assert (work / "job.json").read_text() == "{}"


def test_what_is_forgotten_stays_so_until_it_is_noted_again(tmp_path: Path) -> None:
    with work_dir(tmp_path / "o", {}) as work:
        for row in range(3):
            work.note("row", row, 0, count=row)
        work.forget(("row", 2, 0), ("row", 1, 0), ("row", 9, 0))
        assert work.done.keys() == {("row", 0, 0)}
    with work_dir(tmp_path / "o", {}) as work:
        assert work.last("row") == {"kind": "row", "row": 0, "col": 0, "count": 0}
        work.note("row", 1, 0, count=5)
    with work_dir(tmp_path / "o", {}) as work:
        assert work.last("row") == {"kind": "row", "row": 1, "col": 0, "count": 5}
        work.forget(*work.done)
    with work_dir(tmp_path / "o", {}) as work:
        assert not work.resumed


def test_work_that_is_only_out_of_reach_is_no_damage(tmp_path: Path) -> None:
    def full(file: Path) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with pytest.raises(OutputError, match="ulimit -n"):
        readable(tmp_path / "clouds.npy", full)
