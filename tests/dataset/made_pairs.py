"""Files of pairs, written for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from tests.pipeline.scenes import GRID, write_scene

BGRN = ("blue", "green", "red", "nir")
RGB = ("red", "green", "blue")


def pixels(
    seed: int,
    bands: int = 4,
    height: int = 24,
    width: int = 30,
    top: int = 200,
    dtype: str = "uint8",
) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(1, top, (bands, height, width)).astype(dtype)


def put(root: Path, name: str, image: NDArray[Any], **more: Any) -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    return write_scene(root / name, image, **more)


def put_png(root: Path, name: str, image: NDArray[Any]) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "PNG", "count": len(image), "dtype": image.dtype}
    with rasterio.open(
        root / name, "w", height=image.shape[1], width=image.shape[2], **profile
    ) as f:
        f.write(image)


def moved(px: float) -> Affine:
    """The scenes' grid, so many pixels further east."""
    return Affine(GRID.a, 0, GRID.c + px * GRID.a, 0, GRID.e, GRID.f)
