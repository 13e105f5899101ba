"""Rasters on a scene's grid, such as masks, written window by window."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint

from decr.errors import OutputError, SceneError
from decr.geo.grid import PixelGrid, Window
from decr.geo.metadata import OUR_DOMAIN
from decr.geo.opening import REFUSALS, first_line, opened, quietly_open, unlinked
from decr.geo.scene import Scene
from decr.geo.whole import Sums, check_whole, sum_of

BLOCK_PX = 512
"""Side of a storage block; windows that begin and end there are written fastest."""

NODATA = 255
"""No data in cloud masks, where 0 is clear and 1 is cloudy."""
_HEAD_BYTES = 1 << 20
"""Of a raster; its tags are among them."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What a raster is.

    Attributes
    ----------
    bands
        A description of each.
    scale
        What a stored 1 stands for; 1 for masks.
    tags
        Go into the tag domain ``DECR``.
    dtype, nodata
        Of the pixels.
    rpcs
        Rational polynomial coefficients as tags, see `rpcs_of`.
    """

    bands: Sequence[str]
    scale: float
    tags: Mapping[str, str]
    dtype: str = "uint8"
    nodata: float = NODATA
    rpcs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class LayerWriter:
    """An open raster. Made by `layer_writer`."""

    out: Path
    dataset: Any
    sums: Sums

    def write(self, window: Window, pixels: NDArray[np.generic]) -> None:
        """Write (C, H, W) of the layer's dtype under a window that overlaps no other.

        Raises
        ------
        OutputError
            If the disk is full.
        """
        with _explained(self.out):
            self.dataset.write(pixels, window=window.to_rasterio())
        self.sums[window] = sum_of(pixels)


@contextmanager
def layer_writer(
    out: Path, grid: PixelGrid, layer: Layer, work: Path | None = None, called: Path | None = None
) -> Iterator[LayerWriter]:
    """Make a raster that lies where the grid and the layer's RPCs say, whole or not at all.

    Parameters
    ----------
    work
        Folder for it until it is whole, on the file system of ``out``; None writes beside that.
    called
        The output that messages name, if it is only needed for another.

    Raises
    ------
    OutputError
        If it cannot be written, or another's file has that name.
    """
    _check_ours(out)
    told = called or out
    part = (work or out.parent) / f".{out.name}.{os.getpid()}.part"
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": len(layer.bands),
        "height": grid.height,
        "width": grid.width,
        "dtype": layer.dtype,
        "nodata": layer.nodata,
        "compress": "DEFLATE",
        "bigtiff": "IF_SAFER",
        "interleave": "band",
        "crs": grid.crs,
    }
    if grid.has_transform:
        profile["transform"] = grid.transform
    if min(grid.height, grid.width) >= BLOCK_PX:
        profile |= {"tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX}
    try:
        with _explained(told):
            dataset = quietly_open(part, "w", **profile)
        with dataset:
            _describe(dataset, grid, layer)
            sums: Sums = {}
            yield LayerWriter(told, dataset, sums)
            with _explained(told):
                dataset.close()  # writes the last blocks, and raises nothing if it cannot
        with _explained(told):
            check_whole(part, sums, {OUR_DOMAIN: layer.tags})
            part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def rpcs_of(scene: Scene) -> dict[str, str]:
    """Tags of a scene's rational polynomial coefficients, for its pixels; empty without any."""
    with opened(scene.path, scene.overview) as dataset:
        return dict(dataset.tags(ns="RPC"))


def block_windows(grid: PixelGrid, cols: int) -> Iterator[Window]:
    """Windows that partition a grid, whole storage blocks in the order in which they are stored.

    They are ``cols`` wide, a multiple of `BLOCK_PX`, but for the last of each row.
    """
    for row in range(0, grid.height, BLOCK_PX):
        for col in range(0, grid.width, cols):
            yield Window(row, col, BLOCK_PX, cols).clipped(grid.window)


def is_ours(file: Path) -> bool:
    """Whether a file is a raster that decr has made."""
    try:
        with opened(str(file)) as dataset:
            return bool(dataset.tags(ns=OUR_DOMAIN))
    except SceneError:
        return False


def is_ours_or_torn(file: Path) -> bool:
    """As `is_ours`, also of what a full disk or a power cut has left of such a raster."""
    if is_ours(file):
        return True
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:
        return False
    return not head or (head[:2] == b"II" and f'domain="{OUR_DOMAIN}"'.encode() in head)


def _check_ours(out: Path) -> None:
    """Refuse to replace a file that such a raster is not: it may be a mask of the user's."""
    if out.exists() and not is_ours_or_torn(out):
        raise OutputError(f"{out}: exists already and was not made by decr; give another folder")


def _describe(dataset: Any, grid: PixelGrid, layer: Layer) -> None:
    dataset.descriptions = tuple(layer.bands)
    dataset.scales = (layer.scale,) * len(layer.bands)
    dataset.update_tags(ns=OUR_DOMAIN, **layer.tags)
    if layer.rpcs:
        dataset.update_tags(ns="RPC", **layer.rpcs)
    if grid.gcps and not grid.has_transform:
        points = [GroundControlPoint(p.row, p.col, p.x, p.y) for p in grid.gcps]
        dataset.gcps = (points, grid.gcp_crs)


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    try:
        yield
    except REFUSALS as error:
        raise OutputError(
            f"{out}: cannot be written: {first_line(error)}; make sure that {out.parent} has free "
            f"space and may be written"
        ) from unlinked(error)
