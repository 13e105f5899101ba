"""A scene on disk: what it is, and reading windows of it with a mask of valid pixels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr.errors import BandError, ConfigError, GridMismatchError, SceneError
from decr.geo.bands import Bands, bands_of
from decr.geo.cells import cell_least, cell_sums
from decr.geo.fourth import WITH_NIR, is_alpha_by_default, what_fourth_is
from decr.geo.gdal import lonlat
from decr.geo.grid import GroundPoint, PixelGrid, Window
from decr.geo.missing import (
    blank,
    drop_missing,
    mask_bands,
    mask_kind,
    masked_falsely,
    range_of,
)
from decr.geo.names import name_of
from decr.geo.opening import (
    REFUSALS,
    check_not_negative,
    checked_dtype,
    first_line,
    opened,
    remedy_of,
    unlinked,
)
from decr.geo.pieces import along_blocks, whole_blocks
from decr.geo.sources import FileState, check_parts, check_states

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


@contextmanager
def reader(scene: Scene) -> Iterator[SceneReader]:
    """Open a scene for reading; one handle, for one thread.

    Raises
    ------
    SceneError
        If the file is gone or has changed since `open_scene` looked at it.
    """
    check_states(scene.files)
    with opened(scene.path, scene.overview, placed=scene.grid.has_transform) as dataset:
        found = (*dataset.shape, dataset.count)
        expected = (scene.grid.height, scene.grid.width, scene.count)
        if found != expected:
            raise SceneError(
                f"{scene.path} changed while it was in use: it had (rows, cols, bands) {expected} "
                f"and now has {found}; start again"
            )
        yield SceneReader(scene, dataset)


class SceneReader:
    """Reads windows of one open scene. Made by `reader`; not to be shared between threads."""

    def __init__(self, scene: Scene, dataset: Any) -> None:
        self.scene = scene
        self._dataset = dataset
        data = scene.bands.data_indices
        is_float = np.dtype(scene.dtype).kind == "f"
        self._with_values = {i for i in data if is_float or scene.nodata[i] is not None}
        self._masked = mask_bands(dataset, scene.bands)
        self._falsely = masked_falsely(dataset, scene.bands)
        self._bytes_per_px = scene.count * np.dtype(scene.dtype).itemsize

    def read(
        self, window: Window, bands: Sequence[int] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read digital numbers at full resolution.

        Parameters
        ----------
        window
            In scene pixels, inside the scene.
        bands
            0-based bands of the file in the wanted order; all data bands if None.

        Returns
        -------
        tuple of ndarray
            (C, H, W) numbers of the scene's dtype, and (H, W) bool, True where *all* data bands
            of the scene hold real data, whichever bands were asked for.

        Raises
        ------
        SceneError
            If the file is damaged there.
        """
        scene = self.scene
        wanted = list(scene.bands.data_indices if bands is None else bands)
        self._check(window, scene.grid.window, wanted)
        alpha = scene.bands.alpha_index
        extra = self._with_values if alpha is None else {*self._with_values, alpha}
        needed = sorted({*wanted, *extra})
        at = {band: position for position, band in enumerate(needed)}
        with self._explained(window):
            stack = self._dataset.read([band + 1 for band in needed], window=window.to_rasterio())
            valid = self._unmasked(window)
        for band in self._with_values:
            drop_missing(valid, stack[at[band]], scene.nodata[band])
        if alpha is not None:
            valid &= stack[at[alpha]] != 0
        return (stack if needed == wanted else stack[[at[band] for band in wanted]]), valid

    def valid(self, window: Window) -> NDArray[np.bool_]:
        """(H, W) True where all data bands hold real data; see `read`.

        Nothing is read from a scene in which no pixel can be missing.
        """
        if self._with_values or self._masked or self.scene.bands.alpha_index is not None:
            return self.read(window, self.scene.bands.data_indices[:1])[1]
        self._check(window, self.scene.grid.window, [0])
        return np.ones(window.shape, dtype=np.bool_)

    def thumbnail(self, side: int, bands: Sequence[int]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A small view of the whole scene: single pixels, from overviews where there are some.

        Returns
        -------
        tuple of ndarray
            (C, h, w) numbers, at most ``side`` long, and (h, w) bool, False where one of these
            bands holds no data by its own mask or value.
        """
        grid = self.scene.grid
        indexes = [band + 1 for band in bands]
        with self._explained(grid.window):
            if self._dataset.overviews(indexes[0]):
                shape = (len(indexes), *grid.shrunk_to(side))
                dn = self._dataset.read(indexes, out_shape=shape)
                masks = self._dataset.read_masks(indexes, out_shape=shape)
            else:
                dn, masks = self._picked(indexes, *grid.picked(side))
        own = [band not in self._falsely for band in bands]
        valid = (masks[own] != 0).all(axis=0)
        for plane, band in zip(dn, bands, strict=True):
            drop_missing(valid, plane, self.scene.nodata[band])
        return dn, valid

    def _picked(
        self, indexes: list[int], rows: NDArray[np.int64], cols: NDArray[np.int64]
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Single pixels and masks of bands, (C, h, w) each.

        GDAL picks row by row, and decodes all blocks anew for each row of theirs unless its cache
        holds them all. Here each is read once, and once more where masks are made of its values.
        """
        dn = np.empty((len(indexes), len(rows), len(cols)), self.scene.dtype)
        masks = np.empty(dn.shape, np.uint8)
        for piece in self.pieces():
            down = slice(*np.searchsorted(rows, (piece.row, piece.row_stop)))
            across = slice(*np.searchsorted(cols, (piece.col, piece.col_stop)))
            r, c = rows[down], cols[across]
            if not len(r) or not len(c):
                continue
            first, last = (int(r[0]), int(c[0])), (int(r[-1]), int(c[-1]))
            window = Window(*first, last[0] + 1 - first[0], last[1] + 1 - first[1]).to_rasterio()
            chosen = np.s_[:, (r - first[0])[:, None], c - first[1]]
            dn[:, down, across] = self._dataset.read(indexes, window=window)[chosen]
            masks[:, down, across] = self._dataset.read_masks(indexes, window=window)[chosen]
        return dn, masks

    def cell_pieces(self, window: Window, k: int) -> Iterator[Window]:
        """Parts of a window of cells, each to be read whole in bounded memory, along blocks."""
        scene = self.scene
        return along_blocks(window, k, scene.block_shape, self._bytes_per_px, scene.count)

    def read_coarse(
        self, window: Window, k: int, bands: Sequence[int] | None = None, darkest: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Mean of the valid pixels of each k x k cell, from full resolution in bounded memory.

        Parameters
        ----------
        window
            On the grid of cells, which starts at scene pixel (0, 0); inside
            ``scene.grid.coarsened(k)``. Cells at the far edges may hold fewer pixels.
        k
            Side of a cell in pixels.
        bands
            As for `read`.
        darkest
            Whether the smallest of each cell's valid pixels is wanted, too, band by band.

        Returns
        -------
        tuple of ndarray
            (C, h, w) float32 means in DN, 0 where no pixel is valid, and after them the darkest if
            wanted: (2C, h, w); (h, w) int32 valid pixels.

        Notes
        -----
        Overviews are not used: files often have none, or stale or nearest-neighbour ones.
        """
        scene = self.scene
        wanted = list(scene.bands.data_indices if bands is None else bands)
        self._check(window, scene.grid.coarsened(k).window, wanted)
        mean = np.zeros(((1 + darkest) * len(wanted), *window.shape), dtype=np.float32)
        count = np.zeros(window.shape, dtype=np.int32)
        for cells in self.cell_pieces(window, k):
            pixels = cells.scaled(k).clipped(scene.grid.window)
            dn, valid = self.read(pixels, wanted)
            if not valid.any():
                continue
            blank(dn, valid)
            rows, cols = cells.slices(window)
            count[rows, cols] = number = cell_sums(valid, k)
            for band, plane in enumerate(dn):
                mean[band, rows, cols] = cell_sums(plane, k) / np.maximum(number, 1)
            if not darkest:
                continue
            blank(dn, valid, range_of(dn.dtype)[1])
            for band, plane in enumerate(dn, start=len(wanted)):
                mean[band, rows, cols] = np.where(number > 0, cell_least(plane, k), 0)
        return mean, count

    def pieces(self) -> Iterator[Window]:
        """The scene in pieces along its file's blocks, for whoever reads all of it once."""
        scene = self.scene
        return whole_blocks(scene.grid.window, scene.block_shape, self._bytes_per_px)

    def _unmasked(self, window: Window) -> NDArray[np.bool_]:
        """(H, W) True where the masks in or beside the file let pixels through."""
        valid = np.ones(window.shape, dtype=np.bool_)
        for band in self._masked:
            valid &= self._dataset.read_masks(band + 1, window=window.to_rasterio()) != 0
        return valid

    def _check(self, window: Window, limit: Window, bands: list[int]) -> None:
        """Refuse what lies outside the file."""
        if not limit.contains(window):
            raise GridMismatchError(f"{window} is not inside {self.scene.path}, {limit}")
        wrong = [band for band in bands if not 0 <= band < self.scene.count]
        if wrong or not bands:
            raise BandError(
                f"cannot read bands {bands} of {self.scene.path}: "
                f"choose from 0 to {self.scene.count - 1}"
            )

    @contextmanager
    def _explained(self, window: Window) -> Iterator[None]:
        """Say which part of which file could not be read."""
        try:
            yield
        except REFUSALS as error:
            reason = first_line(error)
            raise SceneError(
                f"{self.scene.path} cannot be read at rows {window.row} to {window.row_stop - 1}, "
                f"cols {window.col} to {window.col_stop - 1}: {reason}; "
                f"{remedy_of(reason, 'the file')}"
            ) from unlinked(error)


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
    return PixelGrid(height, width, dataset.transform, dataset.crs)
