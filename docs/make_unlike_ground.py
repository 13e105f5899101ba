"""Measure what levels of clear ground cost where clouds hide other ground; write levels.md.

    python docs/make_unlike_ground.py

Protocol. Drawn scenes of 2048 px with four bands of 0 to 2000 DN, no imagery needed: textured
ground of one kind around, and under a round cloud 400 px in radius, given as a mask, another kind
or the same. The model returns the truth, or the truth and an error of 5 % of the range, in all
bands. RMSE: over bands and the mask's pixels, in % of the range. Then the repository's sample
scenes, embedded models, all defaults; PSNR with a peak of 2047, 255 of 8 bits, over pixels that
differ from the truth by more than 20 DN on average before: fewer than the README's, whose mask has
the thinnest parts, too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from decr.config import DecloudConfig  # noqa: E402
from decr.pipeline.declouds import declouds  # noqa: E402
from decr.predictor import Corner, Restorer  # noqa: E402
from docs.make_quality import fill  # noqa: E402
from sample_scenes.make_scenes import truth  # noqa: E402

Float32 = NDArray[np.float32]
PAGE = ROOT / "docs" / "levels.md"
BANDS = ("blue", "green", "red", "nir")
SIDE, WHITE, CLOUD_DN, CLOUD_PX = 2048, 2000, 1900, 400
KINDS = {
    "sea": ((160, 120, 80, 40), 0.02),
    "land": ((560, 630, 700, 980), 0.2),
    "fields": ((480, 540, 600, 840), 0.06),
    "forest": ((200, 225, 250, 350), 0.1),
    "rock": ((320, 360, 400, 560), 0.1),
    "snow": ((1700, 1700, 1700, 1700), 0.03),
}
"""DN of each kind of ground by band, and the deviation of its texture as a share of them."""
SCENES = {
    "the same as around (land)": ("land", "land"),
    "the only lake": ("land", "sea"),
    "an island": ("sea", "land"),
    "the only forest": ("fields", "forest"),
    "snow": ("rock", "snow"),
}


def ground(kind: str, seed: int) -> Float32:
    """(4, SIDE, SIDE) DN of one kind of ground."""
    levels, deviation = KINDS[kind]
    noise = np.random.default_rng(seed).normal(0, 1, (SIDE, SIDE))
    look = ndimage.gaussian_filter(noise, 6)
    texture = 1 + deviation * look / look.std()
    return np.stack([level * texture for level in levels]).astype(np.float32)


def knowing(clear: Float32, error: float) -> Restorer:
    """A model that returns the truth and an error, unit."""
    unit = clear * np.float32(2 / WHITE) - 1 + np.float32(error)

    def restore(tiles: Float32, corners: Sequence[Corner]) -> Float32:
        side = tiles.shape[-1]
        return np.stack([unit[:, r : r + side, c : c + side] for r, c in corners])

    return Restorer("truth", "0", BANDS, None, {}, {}, restore)


def write(path: Path, pixels: NDArray[np.generic], names: Sequence[str]) -> Path:
    """(C, H, W) as a GeoTIFF of 0.5 m."""
    profile = {
        "driver": "GTiff", "count": len(pixels), "dtype": pixels.dtype, "height": SIDE,
        "width": SIDE, "crs": "EPSG:32650", "transform": Affine(0.5, 0, 5e5, 0, -0.5, 4e6),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.descriptions = tuple(names)
        file.write(pixels)
    return path


def unlike_rows(folder: Path) -> list[str]:
    """A row for each scene and error of the model."""
    rows, cols = np.indices((SIDE, SIDE)) - SIDE // 2
    hidden = rows**2 + cols**2 < CLOUD_PX**2
    mask = write(folder / "mask.tif", hidden[None].astype(np.uint8), ("cloud",))
    lines = []
    for name, (around, under) in SCENES.items():
        clear = np.where(hidden, ground(under, 1), ground(around, 0))
        seen = np.where(hidden, CLOUD_DN, np.rint(clear)).astype(np.uint16)
        cloudy = write(folder / "cloudy.tif", seen, BANDS)
        for error in (0.0, 0.1):
            found = []
            for on in (False, True):
                config = DecloudConfig(dn_range=(0, WHITE), cloud_mask=mask, ground=on)
                out = folder / "out.tif"
                declouds(cloudy, out, config, restorer=knowing(clear, error), overwrite=True)
                with rasterio.open(out) as file:
                    off = (file.read()[:, hidden] - clear[:, hidden].astype(np.float64)) / WHITE
                found.append(100 * np.sqrt(np.mean(off**2)))
            lines.append(f"| {name} | {50 * error:.0f} | {found[0]:.1f} | {found[1]:.1f} |")
    return lines


def sample_rows(folder: Path) -> list[str]:
    """A row for each of the repository's scenes."""
    lines, samples = [], truth().parent
    for name in ("meadowbrook", "harbour_rotated"):
        cloudy, clear = samples / f"{name}_cloudy.tif", samples / f"{name}_clear.tif"
        with rasterio.open(clear) as file, rasterio.open(cloudy) as other:
            wanted, seen = file.read().astype(np.float64), other.read().astype(np.float64)
            peak = 255.0 if file.dtypes[0] == "uint8" else 2047.0
        judged = np.abs(seen - wanted).mean(axis=0) > 20
        found = []
        for on in (False, True):
            out = folder / f"{name}.tif"
            declouds(cloudy, out, DecloudConfig(ground=on), overwrite=True)
            with rasterio.open(out) as file:
                error = (file.read() - wanted)[:, judged]
            found.append(10 * np.log10(peak**2 / np.mean(error**2)))
        lines.append(f"| {name} | {found[0]:.2f} | {found[1]:.2f} |")
    return lines


def main() -> None:
    """Measure and write this part of the page."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        unlike, samples = unlike_rows(Path(name)), sample_rows(Path(name))
    command = ["```bash", "python docs/make_unlike_ground.py", "```", ""]
    head = [
        "| under the cloud lies | model off by, % | RMSE without, % | with, % |",
        "|---|---|---|---|",
    ]
    scenes = ["", "| sample scene | PSNR without | with |", "|---|---|---|"]
    fill(PAGE, "unlike", [*command, *head, *unlike, *scenes, *samples])


if __name__ == "__main__":
    main()
