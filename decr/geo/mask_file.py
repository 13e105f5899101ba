"""A user's own cloud mask, brought to the scene's grid window by window."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from decr.errors import ConfigError, GridMismatchError, SceneError
from decr.geo.grid import PixelGrid, Window
from decr.geo.metadata import OUR_DOMAIN
from decr.geo.opening import REFUSALS, first_line, opened, read_explained, unlinked

_LOOK_PX = 2048
_STRIP_PX = (256, 2048)
"""Rows and columns of a mask's middle in which numbers are counted."""
_MOST_CLASSES = 32
"""More numbers than any product tells classes by, and fewer than hold in 8 bits of flags."""
_SAME_PX = 0.01
"""How far off corners may be of what lies pixel on pixel."""
_TURN = 360.0
"""Degrees of longitude after which the same ground comes again."""


@dataclass(frozen=True, slots=True)
class MaskClasses:
    """Which numbers of a mask mean cloud.

    Attributes
    ----------
    cloudy
        Numbers of cloudy pixels; empty takes all but 0.
    thin
        Those of them that mean thin cloud; empty where the mask does not tell.
    """

    cloudy: tuple[int, ...] = ()
    thin: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        stray = [number for number in self.thin if self.cloudy and number not in self.cloudy]
        if stray or 0 in self.thin:
            raise ConfigError(
                f"thin cloud is {self.thin}, cloud is {self.cloudy or 'all but 0'}: what is thin "
                f"must be cloudy, too"
            )

    def is_cloudy(self, numbers: NDArray[Any]) -> NDArray[np.bool_]:
        """Which pixels of a mask are under any cloud."""
        if self.cloudy:
            return np.isin(numbers, self.cloudy)
        return np.asarray((numbers != 0) & ~np.isnan(numbers))

    def is_thick(self, numbers: NDArray[Any]) -> NDArray[np.bool_]:
        """Which pixels of a mask are under thick cloud."""
        return self.is_cloudy(numbers) & ~np.isin(numbers, self.thin)


@dataclass(frozen=True, slots=True, eq=False)
class MaskFile:
    """An open mask on the scene's grid; its first band counts.

    Attributes
    ----------
    layers
        The raster once for each way of writing its longitudes that the scene needs, mostly one.
    """

    layers: tuple[Any, ...]
    classes: MaskClasses

    def cloudy(self, window: Window, thick: bool = False) -> NDArray[np.bool_]:
        """(H, W) bool under a window of the scene: True under cloud, or under ``thick`` cloud only.

        Raises
        ------
        SceneError
            If the mask cannot be read there.
        """
        wanted = self.classes.is_thick if thick else self.classes.is_cloudy
        there, cloudy = window.to_rasterio(), np.zeros(window.shape, np.bool_)
        with read_explained(f"{self.layers[0].name}: the cloud mask cannot be read"):
            for layer in self.layers:
                # Of some masks the nodata number is not 0, and beyond a mask is nodata.
                found = wanted(layer.read(1, window=there))
                cloudy |= found & (layer.read_masks(1, window=there) != 0)
        return cloudy


@contextmanager
def open_mask(
    path: str | os.PathLike[str], grid: PixelGrid, classes: MaskClasses
) -> Iterator[MaskFile]:
    """Open a mask, whose numbers mean ``classes``, for a scene.

    A mask of the scene's very shape is taken pixel by pixel when either has no CRS or both have
    the same transform; otherwise it is warped to the scene's grid by nearest neighbour. Longitudes
    may run from -180 to 180 or from 0 to 360 in either. Where it has no data, or ends, nothing is
    cloudy.

    Raises
    ------
    SceneError
        If the mask cannot be read.
    GridMismatchError
        If it can be laid over the scene neither by its shape nor by its CRS.
    ConfigError
        If its nodata number is among the cloudy ones.
    """
    with ExitStack() as stack:
        try:
            dataset = stack.enter_context(opened(os.fspath(path)))
        except SceneError as error:
            raise SceneError(f"the cloud mask {error}") from error
        if dataset.nodata in classes.cloudy:
            raise ConfigError(
                f"{path}: {dataset.nodata:g} cannot mean cloud, it is the mask's nodata number; "
                f"take it off with 'gdal_edit -unsetnodata' or name other classes"
            )
        same_shape = (dataset.height, dataset.width) == (grid.height, grid.width)
        same_place = _same_place(dataset, grid)
        if same_shape and (same_place or dataset.crs is None or grid.crs is None):
            yield MaskFile((dataset,), classes)
            return
        if dataset.crs is None or grid.crs is None or not grid.has_transform:
            raise GridMismatchError(
                f"{path}: the mask has {dataset.height} x {dataset.width} px, the scene "
                f"{grid.height} x {grid.width}; without a CRS on both they must be equal"
            )
        moves = _moves_to(dataset, grid, path)
        # GDAL tells what to read by some points; over the date line they may miss a strip.
        every = {"SAMPLE_STEPS": "ALL"} if len(moves) > 1 else {}
        try:
            layers = [stack.enter_context(_warped(dataset, grid, by, every)) for by in moves]
        except REFUSALS as error:
            raise GridMismatchError(
                f"{path}: the mask cannot be laid over the scene: {first_line(error)}; bring it "
                f"to the scene's CRS first"
            ) from unlinked(error)
        yield MaskFile(tuple(layers), classes)


def doubt_of(path: str | os.PathLike[str], classes: MaskClasses, found: bool) -> str | None:
    """What makes it doubtful that a user's mask was read as it was meant, as a sentence.

    Of a mask in which no cloud was ``found``: a nodata number in it that decr did not write, and
    that is not 0. Of one in which all but 0 counts: fractions, so many numbers that it must be an
    image, or other bands that say something else. Of large masks some pixels are looked at.
    """
    try:
        with opened(os.fspath(path)) as dataset:
            number = dataset.nodata
            hidden = number and not (found or np.isnan(number) or dataset.tags(ns=OUR_DOMAIN))
            scaled = dataset.scales[0] != 1
            broken = not classes.cloudy and (scaled or np.dtype(dataset.dtypes[0]).kind == "f")
            if not (hidden or broken):
                return None if classes.cloudy else _doubt_of_middle(path, dataset)
            shape = (min(dataset.height, _LOOK_PX), min(dataset.width, _LOOK_PX))
            seen = dataset.read(1, out_shape=shape)
    except (*REFUSALS, SceneError):
        return None
    if hidden and (seen == number).any():
        return (
            f"{path}: no cloud in it; {number:g} is its nodata number, which never counts as "
            "cloud: take it off with 'gdal_edit -unsetnodata' if it means cloud"
        )
    if broken and (scaled or (np.isfinite(seen) & (seen != number) & (seen % 1 != 0)).any()):
        return (
            f"{path}: holds fractions, such as probabilities, of which all but 0 count as cloud; "
            "make a mask of 0 and 1 from it, such as with gdal_calc"
        )
    return None


def _doubt_of_middle(path: str | os.PathLike[str], dataset: Any) -> str | None:
    """That a raster seems to be an image, or has bands that do not count, by rows in its middle."""
    height, width = (min(n, most) for n, most in zip(dataset.shape, _STRIP_PX, strict=True))
    middle = Window((dataset.height - height) // 2, (dataset.width - width) // 2, height, width)
    colours = zip(dataset.indexes, dataset.colorinterp, strict=True)
    bands = [1, *(band for band, colour in colours if band > 1 and colour != ColorInterp.alpha)]
    # One by one: bands of a virtual raster may be of several types.
    first, *others = (dataset.read(band, window=middle.to_rasterio()) for band in bands)
    numbers = len(np.unique(first))
    if numbers > _MOST_CLASSES:
        return (
            f"{path}: looks like an image or probabilities, with {numbers} different numbers in "
            f"its middle, of which all but 0 count as cloud; unless they number clouds, give "
            f"another mask"
        )
    if dataset.tags(ns=OUR_DOMAIN) or all(np.array_equal(first, other) for other in others):
        return None
    called = f" ({dataset.descriptions[0]})" if dataset.descriptions[0] else ""
    return (
        f"{path}: of its {len(bands)} bands, which differ, the first{called} alone counts; take "
        f"another out with 'gdal_translate -b N' if that one is the mask"
    )


def _same_place(dataset: Any, grid: PixelGrid) -> bool:
    """Whether the corners of a mask of the scene's shape are those of the scene."""
    if dataset.transform.is_degenerate:
        return False
    corners = ((0, 0), (grid.width, 0), (0, grid.height), (grid.width, grid.height))
    back = ~dataset.transform
    return all(
        abs(there - here) < _SAME_PX
        for corner in corners
        for there, here in zip(back @ (grid.transform @ corner), corner, strict=True)
    )


def _warped(dataset: Any, grid: PixelGrid, by: float, options: Mapping[str, str]) -> WarpedVRT:
    """A mask on the scene's grid, its longitudes moved by so many degrees."""
    return WarpedVRT(
        dataset,
        crs=grid.crs,
        transform=grid.transform,
        height=grid.height,
        width=grid.width,
        src_transform=Affine.translation(by, 0) @ dataset.transform if by else None,
        resampling=Resampling.nearest,
        tolerance=1e-6,  # or it would depend on the window
        # Or 0 would stand beyond its edge, which may be a number of clouds.
        add_alpha=dataset.nodata is None and MaskFlags.all_valid in dataset.mask_flag_enums[0],
        **options,
    )


def _moves_to(dataset: Any, grid: PixelGrid, path: str | os.PathLike[str]) -> list[float]:
    """Degrees to move a mask's longitudes by, so that it lies on the scene; 0 of other masks.

    Refuses a mask that lies elsewhere: its scene would be clear without a word.
    """
    ends = [(0, 0), (dataset.width, 0), (0, dataset.height), (dataset.width, dataset.height)]
    xs, ys = zip(*(dataset.transform @ end for end in ends), strict=True)
    mask = (min(xs), min(ys), max(xs), max(ys))
    footprint = grid.footprint()
    assert footprint is not None
    scene, degrees = footprint.bounds, dataset.crs.is_geographic
    try:
        if degrees:
            # Of the whole earth no other CRS could tell the bounds.
            scene = transform_bounds(grid.crs, dataset.crs, *scene)
        else:
            mask = transform_bounds(dataset.crs, grid.crs, *mask)
    except REFUSALS:
        scene = (math.nan,) * 4
    if not np.isfinite((*mask, *scene)).all():
        # A disk of the earth, say, whose corners are none of its places; or whoever warps it says
        # more.
        return turns((mask[0], mask[2]), [(-180.0, 180.0)]) if degrees else [0.0]
    (west, south, east, north), (left, bottom, right, top) = mask, scene
    if degrees:
        found = turns((west, east), _spans(left, right))
    elif grid.crs is not None and grid.crs.is_geographic:
        found = [0.0] if turns((left, right), _spans(west, east)) else []
    else:
        found = [0.0] if west < right and east > left else []
    if not found or south >= top or north <= bottom:
        raise GridMismatchError(
            f"{path}: the mask does not touch the scene: it covers x {west:g} to {east:g}, y "
            f"{south:g} to {north:g} in the {'mask' if degrees else 'scene'}'s CRS, the scene x "
            f"{left:g} to {right:g}, y {bottom:g} to {top:g}; give the mask of this scene"
        )
    return found


def _spans(west: float, east: float) -> list[tuple[float, float]]:
    """Longitudes between bounds, of which those across the date line run from east to west."""
    return [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]


def turns(own: tuple[float, float], spans: Sequence[tuple[float, float]]) -> list[float]:
    """By how many degrees, in whole turns, longitudes must be moved to meet others.

    Parameters
    ----------
    own
        West and east end in degrees, however they are counted.
    spans
        The same of the longitudes to meet, in one part or several.

    Returns
    -------
    list of float
        The smallest move after which all of the spans is covered, alone; where there is none, all
        moves after which some of it is, from west to east.

    Examples
    --------
    >>> turns((0, 360), [(-124.0, -122.0)]), turns((0, 360), [(-1.0, 2.0)])
    ([-360.0], [-360.0, 0.0])
    >>> turns((-180, 180), [(179.0, 181.0)]), turns((10, 20), [(30.0, 40.0)])
    ([0.0, 360.0], [])
    """
    west, east = own
    moves = {
        _TURN * n
        for left, right in spans
        for n in range(math.floor((left - east) / _TURN) + 1, math.ceil((right - west) / _TURN))
    }
    whole = [
        move
        for move in moves
        if all(west + move <= left and right <= east + move for left, right in spans)
    ]
    return [min(whole, key=abs)] if whole else sorted(moves)
