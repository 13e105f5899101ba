"""A panchromatic and a multispectral image, written for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from affine import Affine
from scipy import ndimage

from tests.geo.scene_files import BGRN, NORTH_UP, UTM, write

MS_GRID = NORTH_UP @ Affine.scale(4)


def images(folder: Path, height: int = 700, width: int = 1100, **options: object) -> list[Path]:
    """A panchromatic and a multispectral image of the same ground, uint16."""
    rng = np.random.default_rng(0)
    fine = ndimage.gaussian_filter(rng.standard_normal((5, height, width)), (0, 1.5, 1.5))
    dn = np.clip(600 + 900 * fine, 1, 2047)
    ms = dn[:4].reshape(4, height // 4, 4, width // 4, 4).mean(axis=(2, 4)).astype(np.uint16)
    pan = dn.mean(axis=0, keepdims=True).astype(np.uint16)
    placed = {"crs": UTM, "transform": NORTH_UP, **options}
    coarse = dict(placed)
    if "transform" not in options:
        coarse["transform"] = MS_GRID
    return [
        write(folder / "pan.tif", pan, descriptions=None, tiled=True, **placed),
        write(folder / "ms.tif", ms, descriptions=BGRN, **coarse),
    ]
