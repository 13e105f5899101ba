"""Sets built of two simulated acquisitions, what is in them, and killing what makes them."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from decr.config import CcpConfig
from decr.dataset.acquisitions import PairRow
from decr.dataset.build_set import BuildOptions
from decr.sets.build import Built, build_set
from tests.dataset.two_dates import (
    SIZE,
    TwoDates,
)

ROOT = Path(__file__).parents[2]

OPTIONS = BuildOptions(
    size_px=SIZE, block_m=100.0, buffer_m=30.0, match=True, exports=("cuhk-cr", "rice")
)

QUICK = replace(OPTIONS, exports=())


def ccp(dates: TwoDates) -> CcpConfig:
    return CcpConfig(detector=f"file:{dates.masks}")


def build(dates: TwoDates, out: Path, options: BuildOptions = OPTIONS, **row: str) -> Built:
    return build_set([PairRow(dates.cloudy, dates.clear, **row)], out, options, ccp(dates))


def contents(folder: Path) -> dict[str, str]:
    return {
        f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(folder.rglob("*"))
        if f.is_file()
    }


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "chips.csv").open(newline="") as file:
        return {line["chip"]: line for line in csv.DictReader(file)}


def kill_when(command: list[str], watched: Path, lines: int) -> None:
    """Start a command and kill it once a journal has so many lines; leave it torn."""
    process = subprocess.Popen(command, cwd=ROOT)
    until = time.monotonic() + 120
    while not (watched.exists() and watched.read_bytes().count(b"\n") >= lines):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with watched.open("ab") as torn:
        torn.write(b'{"name": "torn')
