"""Measure the README's figures on the sample scene, and fill them in."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures.json"
FILLED = (ROOT / "README.md",)
FULL_SCALE = 2047.0
"""Largest digital number of the 11-bit sample scene."""

_SLOT = re.compile(r"(<!-- figure:(\w+) -->)(.*?)(<!-- /figure -->)")


def filled(text: str, figures: dict[str, str]) -> str:
    """Replace what stands between the comments of each known figure."""

    def one(match: re.Match[str]) -> str:
        return match[1] + figures.get(match[2], match[3]) + match[4]

    return _SLOT.sub(one, text)


def slots(text: str) -> dict[str, str]:
    """What stands in each slot, by name."""
    return {match[2]: match[3] for match in _SLOT.finditer(text)}


def ssim(image: NDArray[Any], truth: NDArray[Any], where: NDArray[np.bool_]) -> float:
    """Structural similarity (Wang et al. 2004) of (C, H, W) DN, mean over bands and a mask."""

    def smooth(band: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(ndimage.gaussian_filter(band, 1.5, truncate=3.5))

    first, second = (0.01 * FULL_SCALE) ** 2, (0.03 * FULL_SCALE) ** 2
    values = []
    for a, b in zip(image.astype(np.float64), truth.astype(np.float64), strict=True):
        mean_a, mean_b = smooth(a), smooth(b)
        var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
        both = smooth(a * b) - mean_a * mean_b
        likeness = (2 * mean_a * mean_b + first) * (2 * both + second)
        scale = (mean_a**2 + mean_b**2 + first) * (var_a + var_b + second)
        values.append((likeness / scale)[where].mean())
    return float(np.mean(values))


def differing_outside(cloudy: Path, before: NDArray[Any], after: NDArray[Any]) -> int:
    """Pixels that changed although their weight is 0."""
    from decr.config import DecloudConfig
    from decr.pipeline.engine import local_engine
    from decr.pipeline.first_pass import survey_and_plan
    from decr.pipeline.prepare import prepare

    prepared = prepare(str(cloudy), DecloudConfig())
    with local_engine() as engine:
        change, _ = survey_and_plan(prepared, engine)
    outside = change.weights(prepared.scene.grid.window) == 0
    return int(((before != after).any(axis=0) & outside).sum())


def processor() -> str:
    """Cores that may be used, and what they are."""
    name = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*: (.+)", info.read_text())
        name = found[1].strip() if found else name
    return f"{len(os.sched_getaffinity(0))} cores ({name})"


def measure() -> dict[str, str]:
    """Restore the sample scene and compare it with its truth."""
    import rasterio

    from decr.evaluation.metrics import psnr
    from sample_scenes.make_scenes import truth

    folder = ROOT / "sample_scenes"
    cloudy = folder / "meadowbrook_cloudy.tif"
    with tempfile.TemporaryDirectory() as work:
        restored = Path(work) / "clear.tif"
        command = [sys.executable, "-m", "cli", "declouds", str(cloudy), "-o", str(restored)]
        began = time.perf_counter()
        told = subprocess.run([*command, "--json"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
        seconds = time.perf_counter() - began
        peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
        ccp = json.loads(told.stdout)["ccp_before"]
        images = []
        for path in (cloudy, restored, truth()):
            with rasterio.open(path) as file:
                images.append(file.read())
    before, after, clear = images
    with rasterio.open(folder / "meadowbrook_cloud_mask.tif") as file:
        where = file.read(1) != 0
    gained = [psnr(image, clear, FULL_SCALE, where) for image in (before, after)]
    return {
        "SECONDS": f"{seconds:.0f}",
        "CPU": processor(),
        "PEAK_MB": f"{peak_mb:.0f}",
        "CCP_PERCENT": f"{100 * ccp:.1f}",
        "PSNR_BEFORE": f"{gained[0]:.1f}",
        "PSNR_AFTER": f"{gained[1]:.1f}",
        "PSNR_GAIN": f"{gained[1] - gained[0]:.1f}",
        "SSIM_BEFORE": f"{ssim(before, clear, where):.3f}",
        "SSIM_AFTER": f"{ssim(after, clear, where):.3f}",
        "DIFFERING_OUTSIDE": str(differing_outside(cloudy, before, after)),
    }


def main(arguments: list[str]) -> int:
    """``measure`` measures, stores and fills; ``fill`` fills from what is stored."""
    if arguments not in (["measure"], ["fill"]):
        print("usage: python docs/figures.py measure|fill", file=sys.stderr)
        return 2
    if arguments == ["measure"]:
        FIGURES.write_text(json.dumps(measure(), indent=1) + "\n")
    figures = json.loads(FIGURES.read_text())
    for path in FILLED:
        path.write_text(filled(path.read_text(), figures))
    for name, value in figures.items():
        print(f"{name:18} {value}")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
