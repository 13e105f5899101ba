"""One real pair, opened and read: each side is a file, or one of colours and one of infrared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decr.dataset.manifest import PairFile
from decr.errors import BandError, DatasetError, PaletteError
from decr.geo.grid import PixelGrid
from decr.geo.reader import reader
from decr.geo.scene import Scene, open_scene


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a pair, opened but not read: band indices of ``scene``, then of ``nir``."""

    scene: Scene
    picks: tuple[int, ...]
    nir: Scene | None
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class WholePair:
    """Every pixel of a pair, near infrared included.

    Attributes
    ----------
    scene
        The clear image as opened: its grid and type hold for both.
    cloudy, clear
        (C, H, W) DN of the data bands.
    valid
        (H, W) True where both sides hold data.
    bands
        Roles of the C bands.
    """

    scene: Scene
    cloudy: NDArray[np.generic]
    clear: NDArray[np.generic]
    valid: NDArray[np.bool_]
    bands: tuple[str, ...]


def read_whole(file: PairFile, said: str | None = None) -> WholePair:
    """Read a pair, all of it, and see that its images lie on one another.

    Parameters
    ----------
    said
        Roles of the bands in file order; None takes them from the pair or its files.

    Raises
    ------
    DatasetError
        If the images differ in size, type, bands or grid.
    SceneError
        If one cannot be read.
    """
    said = said or file.bands
    scene = open_image(file.clear, said)
    bands = (*scene.bands.data_roles, *(() if file.clear_nir is None else ("nir",)))
    clear = open_side(file.clear, file.clear_nir, said, bands)
    assert clear is not None
    cloudy = open_side(file.cloudy, file.cloudy_nir, said, bands)
    if cloudy is None:
        raise DatasetError(
            f"{file.cloudy} lacks bands of {file.clear} ({', '.join(bands)}); store both alike"
        )
    check_fit(cloudy.scene, clear.scene)
    (dn, ok), (truth, truth_ok) = read_side(cloudy), read_side(clear)
    return WholePair(scene, dn, truth, ok & truth_ok, bands)


def read_seen(file: PairFile, said: str | None = None) -> WholePair:
    """As `read_whole`, of a pair that shows something.

    Raises
    ------
    DatasetError
        Also if no pixel is valid on both sides.
    """
    whole = read_whole(file, said)
    if not whole.valid.any():
        raise DatasetError(
            f"{file.cloudy}: no pixel of it is valid there and in {file.clear}; take both out of "
            "the set"
        )
    return whole


def mask_file(pair: PairFile) -> Path | None:
    """The cloud mask that sets made by decr hold beside a cloudy image; None if there is none."""
    path = pair.cloudy.parent.parent / "mask" / f"{pair.cloudy.stem}.tif"
    return path if path.is_file() else None


def open_image(path: Path, said: str | None) -> Scene:
    """Open an image of a set; raises DatasetError if its bands cannot be told."""
    try:
        return open_scene(path, said)
    except PaletteError as error:
        raise DatasetError(str(error)) from error
    except BandError as error:
        raise DatasetError(
            f"{error} (bands of a whole set may be stated, in file order, such as r,g,b,n)"
        ) from error


def open_side(
    path: Path, nir: Path | None, said: str | None, bands: tuple[str, ...]
) -> Side | None:
    """One side of a pair, or None if it lacks a band."""
    scene = open_image(path, said)
    # The first channel is what the published loader takes of the second file's three.
    second = None if nir is None else open_scene(nir)
    if second is not None and (
        second.grid.window != scene.grid.window or second.dtype != scene.dtype
    ):
        raise DatasetError(f"{nir}: differs from {path} in size or type; store both alike")
    roles = (*scene.bands.roles, *(() if second is None else ("nir",)))
    if any(band not in roles for band in bands):
        return None
    indices = [roles.index(band) for band in bands]
    picks = tuple(i for i in indices if i < scene.count)
    needs_second = len(picks) < len(indices)
    stacked = [*picks, *((scene.count,) if needs_second else ())]
    order = tuple(stacked.index(i) for i in indices)
    return Side(scene, picks, second if needs_second else None, order)


def read_side(side: Side) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """(C, H, W) DN and (H, W) validity."""
    planes, masks = [], []
    for scene, picks in ((side.scene, side.picks), (side.nir, (0,))):
        if scene is not None and picks:
            with reader(scene) as source:
                dn, valid = source.read(scene.grid.window, picks)
            planes.append(dn)
            masks.append(valid)
    return np.concatenate(planes)[list(side.order)], np.logical_and.reduce(masks)


def check_fit(cloudy: Scene, clear: Scene) -> None:
    """Refuse two images that cannot lie on one another."""
    one, two = cloudy.grid, clear.grid
    if one.window.shape != two.window.shape:
        raise DatasetError(
            f"{cloudy.path} has {one.height} x {one.width} pixels but {clear.path} has "
            f"{two.height} x {two.width}; cut both to the same ground"
        )
    if cloudy.dtype != clear.dtype:
        raise DatasetError(
            f"{cloudy.path} holds {cloudy.dtype} but {clear.path} {clear.dtype} numbers; "
            "store both in one type and scale"
        )
    if one.has_transform and two.has_transform and not _same_ground(one, two):
        raise DatasetError(
            f"{cloudy.path} and {clear.path} do not lie on one grid; warp one to the other"
        )


def _same_ground(one: PixelGrid, two: PixelGrid) -> bool:
    """Whether the corners of two grids agree to a tenth of a pixel."""
    if one.crs != two.crs:
        return False
    t = one.transform
    pixel = min(np.hypot(t.a, t.d), np.hypot(t.b, t.e))
    return bool(np.abs(_corners(one) - _corners(two)).max() < 0.1 * pixel)


def _corners(grid: PixelGrid) -> NDArray[np.float64]:
    """(3, 2) x and y of three corners."""
    t, places = grid.transform, ((0, 0), (grid.width, 0), (0, grid.height))
    return np.array([(t.a * c + t.b * r + t.c, t.d * c + t.e * r + t.f) for c, r in places])
