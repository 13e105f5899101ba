"""Time and memory of `decr pansharpen` on a large square, and its pixels against GDAL's own.

    python -m tests.benchmarks.pansharpen --side 20000 --json docs/benchmarks/pansharpen.json

Writes a panchromatic image (uint16, 0.5 m) and a multispectral one (4 bands, 2 m), fuses them by
the command line, and prints seconds, of the clock and of processors, and the peak resident memory.
Then reads random windows of the result and of a virtual raster that is written here by GDAL's
documentation, and counts pixels that differ; any difference is an exit code of 1. All this first
with a quarter of the side, so that growth of memory would be seen.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window
from scipy import ndimage

from tests.benchmarks.memory import peak_mb, save

BANDS = ("blue", "green", "red", "nir")
_RATIO = 4
_BLOCK_PX = 2048
_WINDOW_PX = 512
_VRT = """<VRTDataset subClass="VRTPansharpenedDataset"><PansharpeningOptions>
<AlgorithmOptions><Weights>0.25,0.25,0.25,0.25</Weights></AlgorithmOptions>
<Resampling>Cubic</Resampling>
<PanchroBand><SourceFilename>{pan}</SourceFilename><SourceBand>1</SourceBand></PanchroBand>
{bands}</PansharpeningOptions></VRTDataset>"""
_BAND = """<SpectralBand dstBand="{n}"><SourceFilename>{ms}</SourceFilename>
<SourceBand>{n}</SourceBand></SpectralBand>"""


def write_images(folder: Path, side: int, seed: int = 0) -> tuple[Path, Path]:
    """A panchromatic and a multispectral image of one ground, written block by block."""
    rng = np.random.default_rng(seed)
    shape = (len(BANDS), _BLOCK_PX, _BLOCK_PX)
    rough = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), (0, 1.5, 1.5))
    texture = np.clip(600 + 900 * rough, 1, 2047)
    placed = {
        "driver": "GTiff", "dtype": "uint16", "crs": "EPSG:32650", "tiled": True,
        "blockxsize": 512, "blockysize": 512, "compress": "zstd", "bigtiff": "if_safer",
    }  # fmt: skip
    pan, ms = folder / "pan.tif", folder / "ms.tif"
    fine, coarse = (Affine(m, 0, 5e5, 0, -m, 4e6) for m in (0.5, 0.5 * _RATIO))
    less = side // _RATIO
    with (
        rasterio.open(pan, "w", count=1, height=side, width=side, transform=fine, **placed) as one,
        rasterio.open(
            ms, "w", count=4, height=less, width=less, transform=coarse, **placed
        ) as many,
    ):
        many.descriptions = BANDS
        for row in range(0, side, _BLOCK_PX):
            for col in range(0, side, _BLOCK_PX):
                height, width = min(_BLOCK_PX, side - row), min(_BLOCK_PX, side - col)
                # No two blocks are alike.
                dn = texture[:, :height, :width] * np.float32(rng.uniform(0.5, 1.0))
                one.write(
                    dn.mean(axis=0, keepdims=True).astype("uint16"),
                    window=Window(col, row, width, height),
                )
                means = dn.reshape(4, height // _RATIO, _RATIO, width // _RATIO, _RATIO)
                many.write(
                    means.mean(axis=(2, 4)).astype("uint16"),
                    window=Window(col // _RATIO, row // _RATIO, width // _RATIO, height // _RATIO),
                )
    return pan, ms


def differing(pan: Path, ms: Path, out: Path, windows: int, seed: int = 1) -> tuple[int, int]:
    """Pixels compared in random windows, and how many of them differ in any band."""
    bands = "".join(_BAND.format(n=n, ms=ms) for n in range(1, len(BANDS) + 1))
    rng = np.random.default_rng(seed)
    compared = wrong = 0
    with rasterio.open(_VRT.format(pan=pan, bands=bands)) as gdal, rasterio.open(out) as own:
        assert (gdal.height, gdal.width) == (own.height, own.width)
        room = [max(1, length - _WINDOW_PX + 1) for length in (own.height, own.width)]
        corners = [(0, 0), (room[0] - 1, room[1] - 1)]
        corners += [tuple(int(rng.integers(r)) for r in room) for _ in range(windows)]
        for row, col in corners:
            window = Window(col, row, min(_WINDOW_PX, own.width), min(_WINDOW_PX, own.height))
            differ = (own.read(window=window) != gdal.read(window=window)).any(axis=0)
            compared += differ.size
            wrong += int(differ.sum())
    return compared, wrong


def _cpu_seconds() -> float:
    """Of all processes that were started and have ended: other work does not count."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def measure(folder: Path, side: int, windows: int) -> dict[str, Any]:
    """Write, fuse, compare."""
    pan, ms = write_images(folder, side)
    out = folder / "fused.tif"
    command = [sys.executable, "-m", "cli", "pansharpen", str(pan), str(ms), "-o", str(out)]
    before = _cpu_seconds()
    mb, seconds, _ = peak_mb(command)
    spent = _cpu_seconds() - before
    compared, wrong = differing(pan, ms, out, windows)
    return {
        "side": side,
        "seconds": round(seconds, 1),
        "cpu_s": round(spent, 1),
        "peak_mb": round(mb),
        "output_mb": round(out.stat().st_size / 2**20),
        "compared_px": compared,
        "differing_px": wrong,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=20000, help="of the panchromatic image, px")
    parser.add_argument("--windows", type=int, default=40, help="compared, beside two corners")
    parser.add_argument("--folder", type=Path, help="for scratch files")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.side < 4 * _RATIO or options.side % (4 * _RATIO):
        parser.error(f"--side must be a multiple of {4 * _RATIO}")
    rows = []
    for side in (options.side // 4, options.side):
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            rows.append(measure(Path(name), side, options.windows))
        print(rows[-1], flush=True)
    result = {"gdal": rasterio.__gdal_version__, "rows": rows}
    print(json.dumps(result, indent=1))
    if options.json:
        save(options.json, result)
    if any(row["differing_px"] for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
