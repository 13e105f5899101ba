"""A scene on disk, or an overview of it: what it is."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

from decr.errors import BandError, ConfigError, SceneError
from decr.geo.bands import Bands, bands_of
from decr.geo.fourth import WITH_NIR, is_alpha_by_default, what_fourth_is
from decr.geo.gdal import lonlat
from decr.geo.grid import GroundPoint, PixelGrid
from decr.geo.missing import mask_kind
from decr.geo.names import name_of
from decr.geo.opening import check_not_negative, checked_dtype, opened
from decr.geo.reader import SceneReader
from decr.geo.sources import FileState, check_parts

RANGE_TAG = "DECR_RANGE_DTYPE"
"""Where a file says that its numbers have the range of another type than theirs."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One georeferenced acquisition in one file; a plain value that pickles.

    Attributes
    ----------
    path
        File name, /vsi path or URL, as GDAL takes it.
    grid
        Pixels and where they lie.
    bands
        Role of each band of the file.
    dtype
        Of the digital numbers, one of `DTYPES`.
    range_dtype
        The type whose range they have: ``dtype``, but for floats that were of another before; a
        tag of the file says so (`RANGE_TAG`).
    nodata
        Per band of the file: the value that means "no data" (may be NaN), or None.
    mask_kind
        What else marks missing pixels: "alpha", "per_band" or "per_dataset" (masks inside the file
        or beside it), "nodata", or "none". The first that applies; pixels must pass all that are
        there.
    block_shape
        (rows, cols) of the file's storage blocks.
    warnings
        Sentences the user should see.
    overview
        The overview of the file that is taken for the scene (0 is the finest); None is the file.
    files
        `FileState` of files that must be the same wherever the scene is read.
    """

    path: str
    grid: PixelGrid
    bands: Bands
    dtype: str
    range_dtype: str
    nodata: tuple[float | None, ...]
    mask_kind: str
    block_shape: tuple[int, int]
    warnings: tuple[str, ...] = ()
    overview: int | None = None
    files: tuple[FileState, ...] = ()

    @property
    def count(self) -> int:
        """Number of bands in the file."""
        return self.bands.count

    @property
    def guesses(self) -> tuple[str, ...]:
        """Warnings about bands that were guessed.

        All `warnings` but the one about an unknown pixel size, the last where there is no GSD.
        """
        return self.warnings if self.grid.gsd_m is not None else self.warnings[:-1]

    def feed(self, model_bands: tuple[str, ...], what: str = "model") -> tuple[int, ...]:
        """As `Bands.model_map`; errors name the file, too.

        Raises
        ------
        BandError
            If the scene lacks a band that the model needs.
        """
        try:
            return self.bands.model_map(model_bands, what)
        except BandError as error:
            raise BandError(f"{self.path}: {error}") from error


def open_scene(path: str | os.PathLike[str], bands: str | None = None) -> Scene:
    """Look at a raster file, without reading pixels in most.

    Of four bands of bytes without names, of which the fourth is called alpha, a few windows are
    read: it is near infrared if it holds a picture.

    Parameters
    ----------
    path
        Anything GDAL opens.
    bands
        Roles in file order ("b,g,r,n"), or None to find out from the file.

    Raises
    ------
    SceneError
        If the file, or one that it is made of, is missing, or it is not a raster, empty, of a kind
        of number that is not supported, or of greys of which 0 is white (unless ``bands`` is said).
    BandError
        If its bands cannot be told apart, or do not fit `bands`.
    """
    name = name_of(path)
    with opened(name) as dataset:
        check_parts(name)
        dtype = checked_dtype(dataset, name)
        if bands is None:
            check_not_negative(dataset, name)
        colours = [colour.name for colour in dataset.colorinterp]
        roles, guess = bands_of(dataset.descriptions, colours, dataset.count, bands, name)
        grid = _grid_of(dataset, name)
        notes = [guess] if guess else []
        if others := dataset.subdatasets[1:]:
            notes.append(
                f"{name} holds {len(others) + 1} images, of which the first alone is taken; name "
                f"another ({others[0]}), or make one of them with gdalbuildvrt -separate if they "
                "are its bands"
            )
        if grid.gsd_m is None:
            notes.append(f"{name} does not say how large its pixels are on the ground")
        scene = Scene(
            path=name,
            grid=grid,
            bands=roles,
            dtype=dtype,
            range_dtype=dataset.tags().get(RANGE_TAG, dtype),
            nodata=tuple(dataset.nodatavals),
            mask_kind=mask_kind(dataset, roles),
            block_shape=tuple(dataset.block_shapes[0]),
            warnings=tuple(notes),
        )
        if bands is not None or not is_alpha_by_default(dataset):
            return scene
        seen = replace(scene, bands=WITH_NIR, mask_kind=mask_kind(dataset, WITH_NIR))
        is_nir, words = what_fourth_is(SceneReader(seen, dataset))
        return replace(seen if is_nir else scene, warnings=(*words, *notes))


def overview_factors(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """How many times coarser each overview of a file is, the finest first; empty without any."""
    with opened(os.fspath(path)) as dataset:
        return tuple(dataset.overviews(1))


def overview_of(scene: Scene, level: int) -> Scene:
    """An overview of a scene's file (0 is the finest) as a scene: fewer, larger pixels."""
    with opened(scene.path, level) as dataset:
        return replace(
            scene,
            # GDAL's overview has no control points, and without a transform a made-up one.
            grid=scene.grid.resized(*dataset.shape),
            block_shape=tuple(dataset.block_shapes[0]),
            overview=level,
        )


def _grid_of(dataset: Any, name: str) -> PixelGrid:
    """Read where the pixels are; control points matter only without a transform."""
    points, gcp_crs = dataset.gcps
    height, width = dataset.shape
    if dataset.crs or gcp_crs:
        try:
            lonlat()  # what it raises would else be taken for "unknown" at every turn
        except ConfigError as error:
            raise SceneError(f"{name}: {error}") from None
    if points and dataset.transform.is_identity:
        gcps = tuple(GroundPoint(p.row, p.col, p.x, p.y) for p in points)
        return PixelGrid(height, width, dataset.transform, dataset.crs, gcps, gcp_crs)
    # Nothing is placed by a CRS alone; of pixels that are points GDAL makes one up.
    crs = None if dataset.transform.is_identity else dataset.crs
    return PixelGrid(height, width, dataset.transform, crs)
