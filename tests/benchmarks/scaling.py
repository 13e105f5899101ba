"""How memory and time of `decr declouds` grow with the scene, and with workers.

    python -m tests.benchmarks.scaling sizes [8192 16384 32768 4096x100000] [--every 2048]
    python -m tests.benchmarks.scaling workers [--side 2048]

`sizes` writes uint16 4-band scenes (HEIGHTxWIDTH, or a square's side) with a small cloud every so
many pixels and prints the peak resident memory of the whole process, beside what was planned before
it started and what loading the networks takes alone: the peak must not grow with the scene.

`workers` restores one scene, cloudy all over, with one process whose lanes share the cores, and
with processes of one lane each, and compares the bytes. Both write JSON and a figure if asked to.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.memory import LOAD, ROOT, peak_mb, save, write_sparse_scene
from tests.benchmarks.scene import declouds, write_scene


def planned_mb(scene: Path) -> float:
    """What `decr plan` says before anything is restored."""
    plan = subprocess.run(
        [sys.executable, "-m", "cli", "plan", str(scene), "--json", "-q"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    return float(json.loads(plan.stdout)["memory_mb"])


def sizes(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Peak memory by size."""
    model, seconds, _ = peak_mb([sys.executable, "-c", LOAD])
    print(f"model alone: {model:.0f} MB, {seconds:.0f} s", flush=True)
    rows = []
    for size in options.what or ["8192", "16384", "32768", "4096x100000"]:
        height, _, width = size.partition("x")
        scene, out = folder / f"{size}.tif", folder / "out.tif"
        write_sparse_scene(scene, int(height), int(width or height), options.every)
        row = {"size": size, "planned_mb": planned_mb(scene)}
        row |= declouds(scene, out, "--steps", "1")
        row["above_model_mb"] = row["peak_mb"] - model
        rows.append({k: v for k, v in row.items() if k not in ("out", "seams", "tags")})
        print(rows[-1], flush=True)
        scene.unlink()
        out.unlink()
    squares = [row["above_model_mb"] for row in rows if "x" not in row["size"]]
    result = {
        "model_mb": model,
        "every": options.every,
        "rows": rows,
        "largest_over_smallest": max(squares) / min(squares),
    }
    result["within_plan"] = all(row["peak_mb"] <= row["planned_mb"] for row in rows)
    return result


def workers(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Wall time by number of processes."""
    scene = write_scene(folder / "scene.tif", options.side, 1.0)
    rows, hashes = [], set()
    for count in (1, 2):
        out = folder / f"{count}.tif"
        row = {"workers": count, **declouds(scene, out, "--workers", str(count))}
        rows.append({k: v for k, v in row.items() if k not in ("out", "seams", "tags")})
        hashes.add(hashlib.sha256(out.read_bytes()).hexdigest())
        print(rows[-1], flush=True)
    return {
        "side": options.side,
        "rows": rows,
        "two_over_one": rows[1]["wall_s"] / rows[0]["wall_s"],
        "same_bytes": len(hashes) == 1,
    }


def draw(result: dict[str, Any], path: Path) -> None:
    """Peak memory by size, with the plan."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = result["rows"][::-1]
    figure, axes = pyplot.subplots(figsize=(7, 2.6), layout="constrained")
    names = [row["size"].replace("x", " x ") + " px" for row in rows]
    bars = axes.barh(names, [row["peak_mb"] for row in rows], color="#2f6f9f", label="peak")
    axes.bar_label(bars, fmt="%.0f", padding=3)
    planned = [row["planned_mb"] for row in rows]
    axes.plot(planned, range(len(rows)), "|", color="black", markersize=18, label="planned")
    axes.axvline(result["model_mb"], color="#999999", linestyle=":", label="networks alone")
    axes.set_xlabel("MB resident at the peak, whole process")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", choices=["sizes", "workers"])
    parser.add_argument("what", nargs="*")
    parser.add_argument("--every", type=int, default=2048, help="px between clouds, 512s")
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path, help="for sizes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        result = {"sizes": sizes, "workers": workers}[options.sweep](options, Path(name))
    print(json.dumps({k: v for k, v in result.items() if k != "rows"}))
    if options.json:
        save(options.json, result)
    if options.figure:
        draw(result, options.figure)


if __name__ == "__main__":
    main()
