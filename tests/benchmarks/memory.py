"""Peak memory of commands, and scenes of any size with few clouds, for the other benchmarks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

ROOT = Path(__file__).parents[2]

LOAD = """
import os
import numpy as np
from decr.pipeline.memory import share_heap
share_heap()
from decr.predictor import load_detector, load_restorer
from decr.zoo.embedded import embedded_path
load_detector(embedded_path("embedded-detector"))
restorer = load_restorer(embedded_path("embedded-rgbn"))
restorer.restore(np.zeros((1, 4, 256, 256), np.float32), [(0, 0)])
os._exit(0)
"""
"""Loads the networks and uses one once, as the command line does.

It ends without torch's own tidying up, which touches 100 MB of its libraries on the way out: that
is no part of loading, and the commands' peaks lie before it.
"""


def write_sparse_scene(path: Path, height: int, width: int, every: int, seed: int = 0) -> None:
    """A scene of textured ground, with a small bright cloud in every so many pixels."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(250, 700, (4, 512, 512)).astype("uint16")
    rows, cols = np.mgrid[:512, :512]
    cloud = np.exp(-(((rows - 256) / 90) ** 2 + ((cols - 256) / 90) ** 2) * 2)
    cloudy = (texture + (1900 - texture.astype(float)) * cloud).astype("uint16")
    profile = {
        "driver": "GTiff",
        "count": 4,
        "height": height,
        "width": width,
        "dtype": "uint16",
        "crs": "EPSG:32650",
        "transform": Affine(0.5, 0, 5e5, 0, -0.5, 4e6),
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "lzw",
        "bigtiff": "if_safer",
    }
    with rasterio.open(path, "w", **profile) as file:
        file.descriptions = ("blue", "green", "red", "nir")
        for row in range(0, height, 512):
            for col in range(0, width, 512):
                tile = cloudy if row % every == 512 and col % every == 512 else texture
                rows, columns = min(512, height - row), min(512, width - col)
                file.write(tile[:, :rows, :columns], window=Window(col, row, columns, rows))


def peak_mb(command: list[str]) -> tuple[float, float, str]:
    """Peak resident memory in MB and wall seconds of a command, and what it printed."""
    began = time.monotonic()
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import resource, subprocess, sys\n"
            "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
            "print(done.stdout, end='')\n"
            "sys.stderr.write(done.stderr)\n"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
            "sys.exit(done.returncode)",
            *command,
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    *printed, peak = done.stdout.strip().splitlines()
    return int(peak) / 1024, time.monotonic() - began, " ".join(printed)


def save(path: Path, result: dict[str, Any]) -> None:
    """Write what was measured, and on what."""
    names = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    cores = len(os.sched_getaffinity(0))
    machine = f"{cores} cores ({', '.join(sorted(names))})"
    text = json.dumps({**result, "machine": machine, "date": time.strftime("%Y-%m-%d")}, indent=1)
    path.write_text(text + "\n")
