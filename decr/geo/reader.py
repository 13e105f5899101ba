"""Reading windows of a scene, whole or coarser, with a mask of valid pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decr.errors import BandError, GridMismatchError, SceneError
from decr.geo.cells import cell_least, cell_sums
from decr.geo.grid import Window
from decr.geo.missing import blank, drop_missing, mask_bands, masked_falsely, range_of
from decr.geo.opening import opened, read_explained
from decr.geo.pieces import along_blocks, whole_blocks
from decr.geo.sources import check_states

if TYPE_CHECKING:
    from decr.geo.scene import Scene


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
        said = (
            f"{self.scene.path} cannot be read at rows {window.row} to {window.row_stop - 1}, "
            f"cols {window.col} to {window.col_stop - 1}"
        )
        try:
            with read_explained(said, "the file"):
                yield
        except SceneError:
            check_states(self.scene.files)  # or one that changed would be called damaged
            raise
