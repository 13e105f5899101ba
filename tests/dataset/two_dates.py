"""Two simulated acquisitions of one place, of which everything is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from scipy import ndimage

GRID = Affine(0.5, 0, 500000, 0, -0.5, 4400000)
UTM = CRS.from_epsg(32650)
BANDS = ("blue", "green", "red", "nir")
SHIFT = (2.3, -1.4)
GAIN = (1.10, 0.92, 1.05, 1.20)
OFFSET = (20.0, -15.0, 8.0, 30.0)
NODATA = 0
WHITE = 1800.0
SIZE = 128
HEIGHT, WIDTH = 5 * SIZE + 16, 6 * SIZE + 16


@dataclass(frozen=True)
class TwoDates:
    """Files, and the folder of the true masks of both."""

    cloudy: Path
    clear: Path
    masks: Path


def ground(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """(4, H, W) fields, roads and trees, 200..900 DN."""
    coarse = ndimage.gaussian_filter(rng.standard_normal((height, width)), 25)
    fine = ndimage.gaussian_filter(rng.standard_normal((height, width)), 1.6)
    look = coarse / coarse.std() * 70 + fine / fine.std() * 70
    own = ndimage.gaussian_filter(rng.standard_normal((4, height, width)), (0, 8, 8))
    return np.clip(520 + look + own / own.std() * 25, 200, 900)


def two_dates(folder: Path, seed: int = 0) -> TwoDates:
    """Write a cloudy and a clear acquisition: shift, gains, clouds, an empty edge, moved objects.

    In chips of `SIZE` px from the first pixel that both cover: row 0 is thin haze, row 1 half under
    thick cloud, chip (2, 0) under opaque cloud, chip (2, 2) under cloud in the clear image, the
    last column empty in the cloudy one; elsewhere it is clear. Cars and a roof differ in row 3.
    """
    rng = np.random.default_rng(seed)
    pad = 12
    wide = ground(rng, HEIGHT + 2 * pad, WIDTH + 2 * pad)
    inside = np.s_[:, pad:-pad, pad:-pad]
    truth = np.array(GAIN)[:, None, None] * wide + np.array(OFFSET)[:, None, None]
    cloudy = truth[inside].copy()
    moved = np.stack([ndimage.shift(band, SHIFT, order=5, mode="reflect") for band in wide])
    clear = moved[inside].copy()
    tau = np.zeros((HEIGHT, WIDTH))
    at = [8 + SIZE * i for i in range(7)]
    tau[: at[1]] = 0.5
    tau[at[1] : at[2], ::] = np.where(np.arange(WIDTH) % SIZE < SIZE // 2, 1.8, 0.0)
    tau[at[2] - 4 : at[3] + 4, : at[1] + 4] = 8.0
    passed = np.exp(-tau)
    cloudy = cloudy * passed + WHITE * (1 - passed)
    for car in range(12):
        row, col = at[3] + 10 + 8 * car, 30 + 37 * car
        cloudy[:, row : row + 4, col : col + 9] = 1100
        clear[:, row : row + 4, col + 15 : col + 24] = 1000
    clear_cloud = np.zeros((HEIGHT, WIDTH), dtype=bool)
    clear_cloud[at[2] + 20 : at[2] + 90, at[2] + 20 : at[2] + 90] = True
    clear[:, clear_cloud] = WHITE
    noise = rng.standard_normal((2, 4, HEIGHT, WIDTH)) * 3
    empty = np.zeros((HEIGHT, WIDTH), dtype=bool)
    empty[:, -(SIZE // 2) :] = True
    folder.mkdir(parents=True, exist_ok=True)
    masks = folder / "masks"
    masks.mkdir()
    paths = []
    for name, image, mask, when in (
        ("cloudy", cloudy + noise[0], tau > 0.1, "2024:05:03 03:10:00"),
        ("clear", clear + noise[1], clear_cloud, "2024:05:14 03:05:00"),
    ):
        dn = np.clip(np.rint(image), 1, 2047).astype(np.uint16)
        if name == "cloudy":
            dn[:, empty] = NODATA
        paths.append(write(folder / f"{name}.tif", dn, TIFFTAG_DATETIME=when))
        write(masks / f"{name}.tif", mask[None].astype(np.uint8), ("-",), None)
    return TwoDates(paths[0], paths[1], masks)


def write(
    path: Path,
    pixels: NDArray[np.generic],
    bands: tuple[str, ...] = BANDS,
    nodata: int | None = NODATA,
    transform: Affine = GRID,
    **tags: str,
) -> Path:
    """Write a GeoTIFF."""
    count, height, width = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=pixels.dtype,
        crs=UTM, transform=transform, nodata=nodata, compress="deflate",
    ) as file:  # fmt: skip
        file.write(pixels)
        if bands != ("-",):
            file.descriptions = bands
        file.update_tags(**tags)
    return path
