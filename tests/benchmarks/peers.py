"""The same network and tiles through MONAI, through a plain loop, and through decr, in one run.

    pip install monai
    python -m tests.benchmarks.peers [--side 1536] [--memory-side 8192] [--json F] [--figure F]

Speed: the embedded model over every tile of one scene, 256 px tiles that overlap by 64, batches of
4. MONAI's sliding window and the loop (as TorchGeo's samplers are used) hold the scene and a canvas
in memory, and get the networks twice: as they are, in float32, which is what their user would have;
and as decr runs them, in bfloat16 where that is faster, so that only the engines differ. decr's
time is the whole command less starting Python and loading weights, and includes finding clouds,
blending, settling tones and writing a COG. The others' includes reading and writing a GeoTIFF.

Memory: peak resident memory over a scene of --memory-side, with a network that costs nothing, so
that only the engines count; less what Python, torch and GDAL take by themselves.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.memory import peak_mb, save
from tests.benchmarks.scene import write_scene

_WAYS = ("loop", "monai", "decr")


def one(way: str, network: str, scene: Path) -> None:
    """Run one way in this process; print what it took as JSON."""
    import numpy as np
    import rasterio
    import torch

    from decr.predictor import Restorer, _runner, load_restorer
    from decr.zoo.bundle import load_bundle
    from decr.zoo.embedded import embedded_path

    path, roles = embedded_path("embedded-rgbn"), ("red", "green", "blue", "nir")
    restorer: Restorer | None = None
    if network == "light":
        restorer = Restorer("light", "0", roles, None, {}, {}, lambda t, c: 0.9 * t, 8)
    elif network == "decr" or way == "decr":
        restorer = load_restorer(path)
    bundle = load_bundle(path)
    run = _runner(
        bundle, bundle.card.steps, bundle.card.prior_floor, torch.device("cpu"), torch.float32
    )

    def predict(tiles: torch.Tensor) -> torch.Tensor:
        if restorer is None:
            return run(tiles, torch.randn(tiles.shape), False)
        return torch.from_numpy(restorer.restore(tiles.numpy(), [(0, 0)] * len(tiles)))

    if scene.name != "none":
        predict(torch.zeros(1, 4, 256, 256))
    out = scene.with_name("peer.tif")
    if way == "monai":
        from monai.inferers import SlidingWindowInferer

        inferer = SlidingWindowInferer(256, sw_batch_size=4, overlap=0.25, mode="gaussian")
    began = time.perf_counter()
    if scene.name == "none":
        pass
    elif way == "decr":
        from decr.config import DecloudConfig
        from decr.pipeline.declouds import declouds

        config = DecloudConfig(full=True, dn_range=(0, 2000), batch=4)
        declouds(scene, out, config, restorer=restorer, overwrite=True)
    else:
        with rasterio.open(scene) as file:
            pixels = torch.from_numpy(file.read([3, 2, 1, 4]).astype(np.float32) / 1000 - 1)
            profile = file.profile
        with torch.inference_mode():
            clear = inferer(pixels[None], predict)[0] if way == "monai" else loop(pixels, predict)
        numbers = ((clear + 1) * 1000).clamp(0, 65535).numpy().astype("uint16")
        with rasterio.open(out, "w", **profile) as file:
            file.write(numbers[[2, 1, 0, 3]])
    print(json.dumps({"seconds": time.perf_counter() - began}))


def loop(pixels: Any, predict: Any) -> Any:
    """Tiles of a grid in batches of 4, feathered on a canvas of the scene's size."""
    import torch

    from decr.geo.lattice import Lattice

    lattice = Lattice(*pixels.shape[1:])
    canvas, weights = torch.zeros_like(pixels), torch.zeros(pixels.shape[1:])
    indices = list(lattice)
    for first in range(0, len(indices), 4):
        part = indices[first : first + 4]
        views = [lattice.tile(*index).slices() for index in part]
        done = predict(torch.stack([pixels[(slice(None), *view)] for view in views]))
        for index, view, tile in zip(part, views, done, strict=True):
            weight = torch.from_numpy(lattice.tile_weights(*index).astype("float32"))
            canvas[(slice(None), *view)] += tile * weight
            weights[view] += weight
    return canvas / weights


def measured(way: str, network: str, scene: Path) -> dict[str, Any]:
    """Run one way in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.peers", "--one", way, network, str(scene)]
    mb, _, printed = peak_mb(command)
    return {"way": way, "network": network, "peak_mb": round(mb), **json.loads(printed)}


def draw(result: dict[str, Any], path: Path) -> None:
    """Throughput and memory side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 2.6), layout="constrained")
    colours = {"decr": "#2f6f9f", "monai": "#bbbbbb", "loop": "#999999"}
    speed = result["speed"][::-1]
    names = {"module": "float32", "decr": "decr's call", "light": ""}
    bars = left.barh(
        [f"{r['way']}, {names[r['network']]}" for r in speed],
        [r["tiles_per_s"] for r in speed],
        color=[colours[r["way"]] for r in speed],
    )
    left.bar_label(bars, fmt="%.2f", padding=3)
    left.set_xlabel("tiles per second")
    memory = result["memory"][::-1]
    bars = right.barh(
        [r["way"] for r in memory],
        [r["scene_mb"] for r in memory],
        color=[colours[r["way"]] for r in memory],
    )
    right.bar_label(bars, fmt="%.0f", padding=3)
    right.set_xlabel(f"MB for a scene of {result['memory_side']} px, beyond the libraries")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.15)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=1536)
    parser.add_argument("--memory-side", type=int, default=8192)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one[0], options.one[1], Path(options.one[2]))
        return
    result: dict[str, Any] = {"side": options.side, "memory_side": options.memory_side}
    with tempfile.TemporaryDirectory() as name:
        scene = write_scene(Path(name) / "scene.tif", options.side, 1.0)
        tiles = (-(-(options.side - 256) // 192) + 1) ** 2
        runs = [("loop", "module"), ("monai", "module"), ("loop", "decr"), ("monai", "decr")]
        result["speed"] = []
        for way, network in [*runs, ("decr", "decr")]:
            row = measured(way, network, scene)
            row["tiles_per_s"] = tiles / row["seconds"]
            result["speed"].append(row)
            print(row, flush=True)
        scene.unlink()
        scene = write_scene(Path(name) / "scene.tif", options.memory_side, 1.0)
        result["memory"] = []
        for way in _WAYS:
            without = measured(way, "light", scene.with_name("none"))
            row = measured(way, "light", scene)
            row["scene_mb"] = row["peak_mb"] - without["peak_mb"]
            result["memory"].append(row)
            print(row, flush=True)
    by = {(row["way"], row["network"]): row["tiles_per_s"] for row in result["speed"]}
    ours = by["decr", "decr"]
    result["over_monai_float32"] = ours / by["monai", "module"]
    result["over_monai_same_call"] = ours / by["monai", "decr"]
    most = {row["way"]: row["scene_mb"] for row in result["memory"]}
    result["memory_of_monai"] = most["decr"] / most["monai"]
    for key in ("over_monai_float32", "over_monai_same_call", "memory_of_monai"):
        print(f"{key}: {result[key]:.3f}")
    if options.json:
        save(options.json, result)
    if options.figure:
        draw(result, options.figure)


if __name__ == "__main__":
    main()
