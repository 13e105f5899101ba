"""What a whole scene costs over the bare networks: wall time, and memory.

    python -m tests.benchmarks.scene [--side 6144] [--json FILE] [--figure FILE]

A 4-band uint16 scene under one unbroken cloud deck goes through `decr declouds`, and then the same
tiles, already cut and in memory, through the same networks and nothing else. A second scene has
clouds over a tenth of it. Survey, reading, blending, settling tones, writing the COG and starting
Python are all in the first number and not in the second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from tests.benchmarks.memory import ROOT, peak_mb, save

_BARE = """
import json, sys, time
import numpy as np
import rasterio
from decr.geo.lattice import Lattice
from decr.pipeline.networks import ModelChoice, restorer_of
from decr.radiometry import Radiometry

path, steps = sys.argv[1], int(sys.argv[2]) or None
model = restorer_of(ModelChoice("embedded", True, 0, steps, None, "auto", "auto", None))
with rasterio.open(path) as scene:
    lattice = Lattice(scene.height, scene.width)
    def cut(index):
        w = lattice.tile(*index)
        dn = scene.read([3, 2, 1, 4], window=((w.row, w.row_stop), (w.col, w.col_stop)))
        return dn.astype(np.float32) / 1000 - 1, (w.row, w.col)
    model.restore(cut((0, 0))[0][None], [(0, 0)])
    spent, count, group = 0.0, 0, []
    every = list(lattice)
    for index in every:
        group.append(cut(index))
        count += 1
        if len(group) == 4 * model.side_by_side or count == len(every):
            tiles, corners = np.stack([t for t, _ in group]), [c for _, c in group]
            began = time.perf_counter()
            model.restore(tiles, corners)
            spent += time.perf_counter() - began
            group = []
print(json.dumps({"tiles": count, "seconds": spent, **model.settings}))
"""


def write_scene(path: Path, side: int, share: float, seed: int = 0) -> Path:
    """Ground under an opaque deck that covers a share of the scene's rows."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(250, 700, (4, 512, 512)).astype(np.float32)
    veil = (0.85 + 0.1 * rng.random((512, 512))).astype(np.float32)
    clear, cloudy = texture, texture * (1 - veil) + 1900 * veil
    profile = {
        "driver": "GTiff", "count": 4, "height": side, "width": side, "dtype": "uint16",
        "crs": "EPSG:32650", "transform": Affine(0.5, 0, 5e5, 0, -0.5, 4e6), "tiled": True,
        "blockxsize": 512, "blockysize": 512, "compress": "zstd", "bigtiff": "if_safer",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.descriptions = ("blue", "green", "red", "nir")
        for row in range(0, side, 512):
            for col in range(0, side, 512):
                height, width = min(512, side - row), min(512, side - col)
                deck = (np.arange(row, row + height) < share * side)[None, :, None]
                tile = np.where(deck, cloudy[:, :height, :width], clear[:, :height, :width])
                file.write(tile.astype("uint16"), window=Window(col, row, width, height))
    return path


def write_mask(path: Path, side: int, share: float) -> Path:
    """The same deck as a mask, so that what is cloudy does not hang on a detector."""
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=side, width=side, dtype="uint8",
        tiled=True, blockxsize=512, blockysize=512, compress="zstd",
    ) as file:  # fmt: skip
        for row in range(0, side, 512):
            height = min(512, side - row)
            deck = np.arange(row, row + height) < share * side
            rows = np.repeat(deck[:, None], side, 1).astype("uint8")
            file.write(rows[None], window=Window(0, row, side, height))
    return path


def declouds(scene: Path, out: Path, *options: str) -> dict[str, Any]:
    """Run the command line; wall seconds, peak MB, and what it reports."""
    command = [sys.executable, "-m", "cli", "declouds", str(scene), "-o", str(out), "-q", "--json"]
    mb, seconds, printed = peak_mb([*command, "--overwrite", *options])
    return {"wall_s": seconds, "peak_mb": mb, **json.loads(printed)}


def bare(scene: Path, steps: int) -> dict[str, Any]:
    """Seconds that the networks alone take for all tiles of a scene."""
    done = subprocess.run(
        [sys.executable, "-c", _BARE, str(scene), str(steps)],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def draw(result: dict[str, Any], path: Path) -> None:
    """Wall times as bars."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels = ["networks alone", "declouds, all cloudy", "declouds, a tenth cloudy"]
    values = [result["bare_s"], result["all_s"], result["tenth_s"]]
    figure, axes = pyplot.subplots(figsize=(7, 2.2), layout="constrained")
    bars = axes.barh(labels[::-1], values[::-1], color=["#7aa6c2", "#2f6f9f", "#999999"])
    axes.bar_label(bars, fmt="%.0f s", padding=3)
    axes.set_xlabel(f"wall seconds, {result['side']} x {result['side']} px, 4 bands")
    axes.set_xlim(0, max(values) * 1.15)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=6144)
    parser.add_argument("--steps", type=int, default=0, help="DDIM steps; 0 takes the model's")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    steps = ["--steps", str(options.steps)] if options.steps else []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder, side = Path(name), options.side
        scene = write_scene(folder / "all.tif", side, 1.0)
        networks = bare(scene, options.steps)
        print(f"networks alone: {networks}", flush=True)
        whole = declouds(scene, folder / "out.tif", "--range", "0,2000", *steps)
        print(f"all cloudy: {whole}", flush=True)
        scene = write_scene(folder / "tenth.tif", side, 0.1)
        mask = write_mask(folder / "mask.tif", side, 0.1)
        tenth = declouds(
            scene, folder / "out.tif", "--range", "0,2000", "--cloud-mask", str(mask), *steps
        )
        print(f"a tenth cloudy: {tenth}", flush=True)
    result = {
        "side": side,
        "tiles": networks["tiles"],
        "settings": {k: v for k, v in networks.items() if k not in ("tiles", "seconds")},
        "bare_s": networks["seconds"],
        "all_s": whole["wall_s"],
        "tenth_s": tenth["wall_s"],
        "all_over_bare": whole["wall_s"] / networks["seconds"],
        "tenth_over_all": tenth["wall_s"] / whole["wall_s"],
        "all_peak_mb": whole["peak_mb"],
        "tenth_ccp": tenth["ccp_before"],
        "tenth_tiles": tenth["restored"],
    }
    print(json.dumps(result, indent=1))
    if options.json:
        save(options.json, result)
    if options.figure:
        draw(result, options.figure)


if __name__ == "__main__":
    main()
