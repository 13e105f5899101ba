"""Small synthetic scenes and restorers for the pipeline's tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from decr.predictor import Restorer

RGBN = ("red", "green", "blue", "nir")
GRID = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
LANDSAT = Affine(30.0, 0, 500_000, 0, -30.0, 4_000_000)


def same(bands: tuple[str, ...] = RGBN, gsd_m: float | None = None) -> Restorer:
    """A model that changes nothing."""
    return Restorer("same", "0", bands, gsd_m, {}, {}, lambda tiles, corners: tiles)


def darker(bands: tuple[str, ...] = RGBN, gsd_m: float | None = None) -> Restorer:
    """A model whose result depends on tile content, place inside the tile, and corner."""

    def restore(
        tiles: NDArray[np.float32], corners: Sequence[tuple[int, int]]
    ) -> NDArray[np.float32]:
        ramp = np.linspace(-0.2, 0.2, tiles.shape[-1], dtype=np.float32)
        shift = np.array([((r * 7 + c * 13) % 97) / 970 for r, c in corners], np.float32)
        return 0.7 * tiles + ramp + shift[:, None, None, None] - 0.1

    return Restorer("darker", "1", bands, gsd_m, {}, {}, restore)


def write_scene(
    path: Path,
    pixels: NDArray[Any],
    *,
    names: Sequence[str] | None = ("blue", "green", "red", "nir"),
    transform: Affine | None = GRID,
    crs: str | None = "EPSG:32650",
    nodata: float | None = None,
    **profile: Any,
) -> Path:
    """Write (C, H, W) pixels as a GeoTIFF."""
    count, height, width = pixels.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=pixels.dtype,
        transform=transform,
        crs=crs,
        nodata=nodata,
        **profile,
    ) as file:
        file.write(pixels)
        if names is not None:
            file.descriptions = tuple(names)
    return path


def cloudy_pixels(height: int, width: int, seed: int = 0, dtype: str = "uint16") -> NDArray[Any]:
    """(4, H, W) dark ground of 200..900 DN with two white clouds of 1900."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(200, 900, (4, height, width)).astype(dtype)
    pixels[:, : height // 3, : width // 4] = 1900
    pixels[:, height // 2 : height // 2 + height // 4, width // 2 : width // 2 + width // 5] = 1900
    return pixels


def read(path: Path) -> NDArray[Any]:
    """All bands of a file."""
    with rasterio.open(path) as file:
        out: NDArray[Any] = file.read()
    return out
