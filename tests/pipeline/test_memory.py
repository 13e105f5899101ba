"""One heap for all threads, and blocks cut into strips."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from decr.geo.grid import Window
from decr.pipeline.tiles import STRIP_ROWS, strips_of

_HEAPS = """
import ctypes, sys, threading
from decr.pipeline.memory import share_heap
if sys.argv[1] == "shared":
    share_heap()
together = threading.Barrier(4)
def work():
    together.wait()
    kept.append(bytearray(50_000))
    together.wait()
kept = []
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="this C library tells no heaps"
)
def test_threads_share_one_heap_once_asked_to() -> None:
    heaps = {}
    for how in ("shared", "apart"):
        told = subprocess.run(
            [sys.executable, "-c", _HEAPS, how], capture_output=True, text=True, check=True
        ).stderr
        heaps[how] = told.count("Arena ")
    assert heaps["shared"] == 1
    assert heaps["apart"] > 1


def test_strips_cover_a_window_once() -> None:
    window = Window(30, 7, 2 * STRIP_ROWS + 5, 11)
    strips = list(strips_of(window))
    assert [strip.height for strip in strips] == [STRIP_ROWS, STRIP_ROWS, 5]
    assert [strip.row for strip in strips] == [30, 30 + STRIP_ROWS, 30 + 2 * STRIP_ROWS]
    assert {(strip.col, strip.width) for strip in strips} == {(7, 11)}
