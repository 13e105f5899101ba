"""Small rasters as the bytes of a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from decr.geo.grid import PixelGrid


def tiff_bytes(
    pixels: NDArray[Any],
    grid: PixelGrid,
    names: Sequence[str],
    nodata: float | None = None,
    valid: NDArray[np.bool_] | None = None,
) -> bytes:
    """A GeoTIFF with band descriptions, as bytes.

    Parameters
    ----------
    valid
        (H, W) True where there is data; if not everywhere, the file gets a mask that says so.
    """
    placed = {"transform": grid.transform} if grid.has_transform else {}
    in_colour = tuple(names[:3]) == ("red", "green", "blue")
    # A mask beside the file would stay behind in memory.
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            count=len(pixels),
            height=grid.height,
            width=grid.width,
            dtype=pixels.dtype,
            crs=grid.crs,
            photometric="rgb" if in_colour else "minisblack",
            # A fourth band beside them is near infrared.
            alpha="unspecified",
            compress="deflate",
            nodata=nodata,
            predictor=3 if pixels.dtype.kind == "f" else 2,
            **placed,
        ) as file:
            file.write(pixels)
            file.descriptions = tuple(names)
            if valid is not None and not valid.all():
                file.write_mask(valid)
        return bytes(memory.getbuffer())


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of three channels, as bytes."""
    _, height, width = pixels.shape
    with MemoryFile() as memory:
        with memory.open(driver="PNG", count=3, height=height, width=width, dtype="uint8") as file:
            file.write(pixels)
        return bytes(memory.getbuffer())
