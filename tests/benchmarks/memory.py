"""Peak memory of `decr declouds` on scenes of two sizes: it must not grow with the scene.

    python -m tests.benchmarks.memory [--sizes 4096 20000] [--every 2048]

Writes sparse-cloud uint16 4-band scenes, runs the command line in processes of its own, and prints
their peak resident memory beside that of loading the model alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

ROOT = Path(__file__).parents[2]

_LOAD = """
import numpy as np
from decr.predictor import load_detector, load_restorer
from decr.zoo.embedded import embedded_path
load_detector(embedded_path("embedded-detector"))
restorer = load_restorer(embedded_path("embedded-rgbn"))
restorer.restore(np.zeros((1, 4, 256, 256), np.float32), [(0, 0)])
"""


def write_sparse_scene(path: Path, side: int, every: int, seed: int = 0) -> None:
    """A side x side scene of textured ground, with a small bright cloud in every so many pixels."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(250, 700, (4, 512, 512)).astype("uint16")
    rows, cols = np.mgrid[:512, :512]
    cloud = np.exp(-(((rows - 256) / 90) ** 2 + ((cols - 256) / 90) ** 2) * 2)
    cloudy = (texture + (1900 - texture.astype(float)) * cloud).astype("uint16")
    profile = {
        "driver": "GTiff",
        "count": 4,
        "height": side,
        "width": side,
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
        for row in range(0, side, 512):
            for col in range(0, side, 512):
                tile = cloudy if row % every == 512 and col % every == 512 else texture
                height, width = min(512, side - row), min(512, side - col)
                file.write(tile[:, :height, :width], window=Window(col, row, width, height))


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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 20000])
    parser.add_argument("--folder", type=Path)
    parser.add_argument(
        "--every", type=int, default=2048, help="pixels from cloud to cloud, a multiple of 512"
    )
    parser.add_argument("--steps", default="1", help="DDIM steps; memory does not depend on them")
    options = parser.parse_args()
    model, seconds, _ = peak_mb([sys.executable, "-c", _LOAD])
    print(f"model alone: {model:.0f} MB, {seconds:.0f} s", flush=True)
    results = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for side in options.sizes:
            scene, out = Path(name) / f"{side}.tif", Path(name) / "out.tif"
            write_sparse_scene(scene, side, options.every)
            plan = subprocess.run(
                [sys.executable, "-m", "cli", "plan", str(scene), "--json", "-q"],
                capture_output=True,
                text=True,
                cwd=ROOT,
                check=True,
            )
            peak, seconds, printed = peak_mb(
                [
                    sys.executable,
                    "-m",
                    "cli",
                    "declouds",
                    str(scene),
                    "-o",
                    str(out),
                    "-q",
                    "--steps",
                    options.steps,
                    "--overwrite",
                ]
            )
            results.append(peak - model)
            print(
                f"{side} x {side}: {peak:.0f} MB peak ({peak - model:.0f} MB above the model), "
                f"planned {json.loads(plan.stdout)['memory_mb']} MB, {seconds:.0f} s; {printed}",
                flush=True,
            )
            scene.unlink()
            out.unlink()
    if len(results) > 1:
        print(f"last over first, above the model: {results[-1] / results[0]:.2f}")


if __name__ == "__main__":
    main()
