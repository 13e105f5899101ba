"""One heap for all threads, given back when told, and blocks cut into strips."""

from __future__ import annotations

import ctypes
import resource
import subprocess
import sys
from pathlib import Path

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


_FAULTS = """
import resource, sys
import numpy as np
from decr.pipeline.memory import give_back, share_heap
share_heap()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
size = int(sys.argv[1])
for _ in range(3):
    np.ones(size, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    np.ones(size, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
held = resident()
give_back()
print(held - resident())
"""


@pytest.mark.skipif(
    not (hasattr(ctypes.CDLL(None), "malloc_trim") and Path("/proc/self/statm").exists()),
    reason="this C library does not give back",
)
def test_the_heap_keeps_its_pages_until_told_and_the_largest_arrays_none() -> None:
    def told(size: int) -> list[int]:
        command = [sys.executable, "-c", _FAULTS, str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [int(number) for number in done.stdout.split()]

    faults, given_back = told(4_000_000)  # what networks make: its pages are taken once
    assert faults < 4_000_000 / resource.getpagesize()
    assert given_back > 2_000_000
    _, given_back = told(20_000_000)  # sums of blocks: gone as soon as they are free
    assert given_back < 10_000_000


def test_strips_cover_a_window_once() -> None:
    window = Window(30, 7, 2 * STRIP_ROWS + 5, 11)
    strips = list(strips_of(window))
    assert [strip.height for strip in strips] == [STRIP_ROWS, STRIP_ROWS, 5]
    assert [strip.row for strip in strips] == [30, 30 + STRIP_ROWS, 30 + 2 * STRIP_ROWS]
    assert {(strip.col, strip.width) for strip in strips} == {(7, 11)}
