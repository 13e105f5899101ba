"""Time and memory of `decr ccp` over a scene of any size, and whether its counts are right.

    python -m tests.benchmarks.ccp [--side 30000] [--json docs/benchmarks/ccp.json]

A 4-band uint16 scene with a small cloud in every so many pixels goes through the command with a
report of tiles and rasters: with the embedded detector, with overviews of the scene instead of its
pixels, and with a user's mask, whose coverage is known exactly. A smaller scene goes first: memory
must not grow in proportion to the scene.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window

from tests.benchmarks.memory import peak_mb, save, write_sparse_scene

EVERY = 4096


def write_mask(path: Path, scene: Path) -> float:
    """A mask of squares of 512 px beside the clouds of the scene; its coverage."""
    cloudy = 0
    with rasterio.open(scene) as source:
        profile = {
            "driver": "GTiff", "count": 1, "height": source.height, "width": source.width,
            "dtype": "uint8", "crs": source.crs, "transform": source.transform, "tiled": True,
            "blockxsize": 512, "blockysize": 512, "compress": "deflate",
        }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        height, width = file.shape
        for row in range(0, height, 512):
            for col in range(0, width, 512):
                shape = min(512, height - row), min(512, width - col)
                here = row % EVERY == 512 and col % EVERY == 512
                cloudy += here * shape[0] * shape[1]
                window = Window(col, row, shape[1], shape[0])
                file.write(np.full((1, *shape), here, np.uint8), window=window)
    return cloudy / (height * width)


def measured(name: str, scene: Path, out: Path, *options: str) -> dict[str, Any]:
    """One run of the command, and what it says."""
    command = [sys.executable, "-m", "cli", "ccp", str(scene), "-o", str(out), "--json", "-q"]
    peak, seconds, printed = peak_mb([*command, *options])
    (one,) = json.loads(printed)["scenes"]
    with rasterio.open(out / f"{scene.stem}_mask.tif") as file:
        cloudy = sum(int((file.read(1, window=w) == 1).sum()) for _, w in file.block_windows(1))
    assert cloudy == one["cloudy_px"]
    row = {"run": name, "side": one["height"], "wall_s": seconds, "peak_mb": peak}
    row |= {"ccp": one["ccp"], "valid_px": one["valid_px"], "files_mb": _size(out)}
    print(row, flush=True)
    return row


def _size(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=30_000)
    parser.add_argument("--folder", type=Path, help="where the scene is written, for a while")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        for side in (options.side // 4, options.side):
            scene = folder / f"scene{side}.tif"
            write_sparse_scene(scene, side, side, EVERY)
            rows.append(measured("compact", scene, folder / f"compact{side}"))
        true = write_mask(folder / "mask.tif", scene)
        mask = f"file:{folder / 'mask.tif'}"
        rows.append(measured("file:MASK", scene, folder / "file", "--detector", mask))
        with rasterio.open(scene, "r+") as file:
            file.build_overviews([2, 4, 8], Resampling.average)
        rows.append(measured("compact, --fast", scene, folder / "fast", "--fast"))
    small, large, exact, _ = rows
    result = {
        "side": options.side,
        "rows": rows,
        "mask_ccp": true,
        "mask_exact": exact["ccp"] == true,
        "peak_large_over_small": large["peak_mb"] / small["peak_mb"],
    }
    print(json.dumps({k: v for k, v in result.items() if k != "rows"}))
    if options.json:
        save(options.json, result)


if __name__ == "__main__":
    main()
