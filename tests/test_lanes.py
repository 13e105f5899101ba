"""Lanes: results in order, one torch thread each, and nothing changed for anybody else."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from decr.lanes import available_lanes, in_lanes
from decr.predictor import load_restorer
from decr.zoo.embedded import embedded_path


def test_results_come_in_order_from_lanes_of_one_torch_thread() -> None:
    before = torch.get_num_threads()
    threads: set[str] = set()

    def double(value: int) -> tuple[int, int]:
        threads.add(threading.current_thread().name)
        return 2 * value, torch.get_num_threads()

    assert list(in_lanes(double, range(50), 3)) == [(2 * value, 1) for value in range(50)]
    assert all(name.startswith("decr-lane") for name in threads)
    assert torch.get_num_threads() == before


def test_threads_of_others_keep_their_number() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(5)
        list(in_lanes(lambda _: None, [0], 7))
        seen: list[int] = []
        other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert seen == [5]
        assert available_lanes() == 5
    finally:
        torch.set_num_threads(before)


def test_an_error_in_a_lane_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_lanes(lambda value: 1 // value, [1, 0], 2))


FORKS = """
import os, signal, torch
from decr.forks import fork_lock
from decr.lanes import in_lanes

torch.set_num_threads(2)
many, lock = torch.zeros(10**6), fork_lock()
assert many.isfinite().all()  # in threads of OpenMP
assert list(in_lanes(abs, [-1, -2], 2)) == [1, 2]
lock.__enter__()
child = os.fork()
if not child:
    signal.alarm(30)  # ends it if it waits for threads that are not there
    with lock:
        assert many.isfinite().all()
        assert list(in_lanes(abs, [-1, -2], 2)) == [1, 2]
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0, "the child waits"
"""


def test_a_forked_child_has_lanes_and_locks_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr


WRITES = """
import os, signal, sys
from pathlib import Path
import numpy as np
import decr
from tests.pipeline.scenes import same, write_scene
scene = write_scene(Path(sys.argv[1]) / "s.tif", np.full((4, 700, 1300), 50, "uint8"))
def clear(out):
    decr.declouds(scene, scene.with_name(out), restorer=same())
    return scene.with_name(out).read_bytes()
before = clear("parent.tif")
child = os.fork()
if not child:
    signal.alarm(60)
    os._exit(clear("child.tif") != before)
assert os.waitpid(child, 0)[1] == 0, "the child waits, or writes other bytes"
"""


def test_a_forked_child_restores_after_its_parent_has(tmp_path: Path) -> None:
    """GDAL's threads that compress are not in the child either."""
    run = [sys.executable, "-c", WRITES, str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_number_of_lanes_and_of_torch_threads_changes_no_bit(precision: str) -> None:
    tiles = np.random.default_rng(1).uniform(-1, 1, (3, 3, 128, 128)).astype(np.float32)
    corners = [(0, 0), (0, 96), (96, 0)]
    path: Path = embedded_path("embedded-rgb")
    before, found = torch.get_num_threads(), []
    try:
        for threads, lanes in ((1, 1), (2, 1), (2, 2), (3, 3)):
            torch.set_num_threads(threads)
            model = load_restorer(path, device="cpu", precision=precision, lanes=lanes, steps=1)  # type: ignore[arg-type]
            assert model.side_by_side == lanes
            found.append(model.restore(tiles, corners))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
