"""Small GeoTIFFs whose numbers say where they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

NORTH_UP = Affine(0.5, 0, 500000, 0, -0.5, 4400000)
UTM = CRS.from_epsg(32650)
BGRN = ("blue", "green", "red", "nir")


def coded(count: int, height: int, width: int, dtype: str = "uint16") -> np.ndarray:
    """Numbers that say where they come from; never 0."""
    band, row, col = np.indices((count, height, width))
    return (1 + (band * 7919 + row * 131 + col) % 200).astype(dtype)


def write(path: Path, array: np.ndarray, **options: Any) -> Path:
    """Write a GeoTIFF; `descriptions`, `colours` and `mask` are applied after the pixels."""
    descriptions = options.pop("descriptions", BGRN[: len(array)] if len(array) == 4 else None)
    colours = options.pop("colours", None)
    mask = options.pop("mask", None)
    profile = {"driver": "GTiff", "crs": UTM, "transform": NORTH_UP, "dtype": array.dtype}
    profile |= {"count": len(array), "height": array.shape[1], "width": array.shape[2]}
    with rasterio.open(path, "w", **(profile | options)) as dataset:
        if colours:
            dataset.colorinterp = [ColorInterp[name] for name in colours]
        dataset.write(array)
        if descriptions:
            dataset.descriptions = descriptions
        if mask is not None:
            dataset.write_mask(mask)
    return path
