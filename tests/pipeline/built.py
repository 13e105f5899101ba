"""Sets built of two simulated acquisitions, and what is in them."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

from decr.config import CcpConfig
from decr.dataset.acquisitions import PairRow
from decr.dataset.build_set import BuildOptions
from decr.pipeline.build import Built, build_set
from tests.dataset.two_dates import (
    SIZE,
    TwoDates,
)

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
