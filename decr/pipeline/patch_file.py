"""The file of a patch: written strip by strip, read back, and whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from decr.geo.grid import Window
from decr.geo.scene import Scene
from decr.geo.whole import Sums, check_whole, sum_of
from decr.pipeline.journal import explained


class PatchFile:
    """A patch's file while it is written; left out unless it is ``wanted`` in the end."""

    def __init__(self, file: Any, window: Window) -> None:
        self._file, self._window = file, window
        self.sums: Sums = {}
        self.wanted = True

    def write(self, pixels: NDArray[np.generic], strip: Window) -> None:
        """Write a strip, (C, h, w)."""
        rows = strip.shift(-self._window.row, -self._window.col)
        with explained(Path(self._file.name).parent):
            self._file.write(pixels, window=rows.to_rasterio())
        self.sums[rows] = sum_of(pixels)


@contextmanager
def patch_file(
    path: Path, scene: Scene, bands: tuple[int, ...], window: Window
) -> Iterator[PatchFile]:
    """Write a patch, whole or not at all."""
    part = path.with_suffix(".part")
    # An unplaced patch would make rasterio warn; any transform will do for it.
    placed = scene.grid.has_transform
    place = scene.grid.window_transform(window) if placed else Affine.scale(2)
    with explained(path.parent):
        # GDAL would look into what a killed run has left there.
        part.unlink(missing_ok=True)
        file = rasterio.open(
            part,
            "w",
            driver="GTiff",
            count=len(bands),
            height=window.height,
            width=window.width,
            dtype=scene.dtype,
            transform=place,
            tiled=True,
            blockxsize=256,
            blockysize=256,
            compress="lzw",
            predictor=3 if np.dtype(scene.dtype).kind == "f" else 2,
            bigtiff="if_safer",
        )
    patch = PatchFile(file, window)
    try:
        yield patch
    finally:
        with explained(path.parent):
            file.close()
    if not patch.wanted:
        part.unlink()
        return
    with explained(path.parent):
        check_whole(part, patch.sums, {})
        # The journal names this block next: a power cut must not leave it torn.
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
    part.replace(path)
