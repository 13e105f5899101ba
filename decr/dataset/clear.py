"""Clear and labelled imagery from folders of rasters, for training."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from decr.dataset.collage import LabelledImage
from decr.dataset.samples import ClearImage
from decr.errors import BandError, DatasetError
from decr.geo.scene import open_scene, reader

_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".vrt")


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of rasters.

    Attributes
    ----------
    path
        Searched recursively.
    bands
        Roles in file order; None reads them from each file.
    gsd_m
        Metres per pixel; None reads it from each file.
    white
        DN that counts as reflectance-like 1; None is the type's maximum (uint8 only).
    skip
        Name patterns (or parts of paths with a slash) to leave out.
    weight
        How much more often than their area says these images are drawn.
    masks
        For labelled imagery: folder of masks with the same names.
    cloudy_from
        Mask values from this on are cloud.
    """

    path: Path
    bands: str | None = None
    gsd_m: float | None = None
    white: float | None = None
    skip: tuple[str, ...] = ()
    weight: float = 1.0
    masks: Path | None = None
    cloudy_from: int = 1

    def files(self) -> list[Path]:
        """All rasters below the folder, sorted.

        Raises
        ------
        DatasetError
            If there is none.
        """
        found = sorted(
            p
            for p in self.path.rglob("*")
            if p.suffix.lower() in _SUFFIXES
            and p.exists()  # not a link that leads nowhere
            and not any(
                fnmatch.fnmatch(p.name, s) or ("/" in s and s in p.as_posix()) for s in self.skip
            )
        )
        if not found:
            raise DatasetError(f"{self.path}: no raster there; check the folder's name")
        return found


def held_out(name: str, patterns: Sequence[str]) -> bool:
    """Whether an image belongs to the validation side, by its name.

    Patterns may leave out folders and suffix of a name. Their own suffix counts, but for names of
    pairs, which have none.

    Examples
    --------
    >>> [held_out(name, ["img_1*"]) for name in ("img_1.tif", "train/img_12", "img_2.tif")]
    [True, True, False]
    >>> held_out("train/img_1", ["img_1.png"]), held_out("a.b.tif", ["a.b"])
    (True, True)
    >>> held_out("img_1.tif", ["img_1.png"]), held_out("train/img_1", ["*.png"])
    (False, False)
    """
    path = PurePosixPath(name)
    names, forms = {name, path.name}, [*patterns]
    if path.suffix.lower() in _SUFFIXES:
        names.add(path.stem)
    else:
        forms += [bare for bare in map(_without_suffix, patterns) if bare is not None]
    return any(fnmatch.fnmatch(one, form) for form in forms for one in names)


def _without_suffix(pattern: str) -> str | None:
    """A pattern for names without suffix; None if it has none, or says nothing besides."""
    path = PurePosixPath(pattern)
    said = path.suffix.lower() in _SUFFIXES and path.stem.strip("*?")
    return path.with_suffix("").as_posix() if said else None


def read_clear(folder: Folder, bands: tuple[str, ...], least_px: int) -> list[ClearImage]:
    """Images of a folder that have all ``bands``, cut to their valid inside.

    Images that lack a band or are smaller than ``least_px`` are passed over.

    Raises
    ------
    DatasetError
        If an image does not say its GSD or white level and the folder does not either.
    """
    images = []
    for path in folder.files():
        try:
            scene = open_scene(path, folder.bands)
        except BandError:
            continue
        if any(band not in scene.bands.roles for band in bands):
            continue
        gsd_m = folder.gsd_m or scene.grid.gsd_m
        white = folder.white or (255.0 if scene.dtype == "uint8" else None)
        if gsd_m is None or white is None:
            missing, said = ("GSD", "gsd") if gsd_m is None else ("white level", "white")
            raise DatasetError(
                f"{path}: its {missing} is unknown; state it for the folder: --{said}, or "
                f"{said}{'_m' if said == 'gsd' else ''} in a recipe"
            )
        keep = scene.bands.data_indices
        with reader(scene) as source:
            dn, valid = source.read(scene.grid.window, keep)
        rows, cols = valid_inside(valid, least_px)
        dn = dn[:, rows, cols]
        if min(dn.shape[1:]) >= least_px:
            roles = tuple(scene.bands.roles[i] for i in keep)
            images.append(ClearImage(path.name, dn, roles, gsd_m, white, folder.weight))
    return images


def valid_inside(valid: NDArray[np.bool_], least_px: int) -> tuple[slice, slice]:
    """A rectangle without invalid pixels: peel off the worst edge until none is left.

    Empty when nothing of at least ``least_px`` remains.
    """
    top, bottom, left, right = 0, valid.shape[0], 0, valid.shape[1]
    while bottom - top >= least_px and right - left >= least_px:
        inside = ~valid[top:bottom, left:right]
        if not inside.any():
            return slice(top, bottom), slice(left, right)
        bad = [inside[0].mean(), inside[-1].mean(), inside[:, 0].mean(), inside[:, -1].mean()]
        worst = int(np.argmax(bad))
        top, bottom = top + (worst == 0), bottom - (worst == 1)
        left, right = left + (worst == 2), right - (worst == 3)
    return slice(0, 0), slice(0, 0)


def read_labelled(folder: Folder) -> list[LabelledImage]:
    """Cloudy images with masks of the same name.

    Raises
    ------
    DatasetError
        If the folder names no masks, or one is missing.
    """
    if folder.masks is None:
        raise DatasetError(f"{folder.path}: labelled imagery needs a folder of masks")
    images = []
    for path in folder.files():
        mask_path = folder.masks / path.name
        if not mask_path.exists():
            raise DatasetError(f"{mask_path}: the mask of {path.name} is missing")
        scene, mask = open_scene(path, folder.bands), open_scene(mask_path, "pan")
        keep = scene.bands.data_indices
        with reader(scene) as source, reader(mask) as truth:
            dn, _ = source.read(scene.grid.window, keep)
            label, _ = truth.read(mask.grid.window, (0,))
        white = folder.white or 1.0
        reflectance = np.clip(np.nan_to_num(dn.astype(np.float32) / white), 0.0, 2.0)
        images.append(
            LabelledImage(
                path.name,
                reflectance,
                tuple(scene.bands.roles[i] for i in keep),
                label[0] >= folder.cloudy_from,
            )
        )
    return images


def digest(names: Sequence[str]) -> str:
    """A short hash of a set of file names, to tell splits apart in model cards."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]
