"""Clear and labelled imagery from folders of rasters, for training."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from decr.dataset.collage import LabelledImage
from decr.dataset.guesses import for_want, tell, tell_guesses
from decr.dataset.inside import valid_inside
from decr.dataset.manifest import MANIFEST
from decr.dataset.samples import ClearImage
from decr.dataset.white import TOO_BRIGHT, too_bright
from decr.errors import BandError, ConfigError, DatasetError
from decr.geo.align import outline_lonlat
from decr.geo.delivery import passed_over, skipped
from decr.geo.grid import Window
from decr.geo.reader import reader
from decr.geo.scene import Scene, open_scene

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
        For labelled imagery: folder of masks with the same names, in the same subfolders.
    cloudy_from
        Mask values from this on are cloud.

    Raises
    ------
    ConfigError
        If white or the GSD is no number above 0.
    """

    path: Path
    bands: str | None = None
    gsd_m: float | None = None
    white: float | None = None
    skip: tuple[str, ...] = ()
    weight: float = 1.0
    masks: Path | None = None
    cloudy_from: int = 1

    def __post_init__(self) -> None:
        check_above_zero(self.path, white=self.white, gsd=self.gsd_m)

    def files(self) -> list[Path]:
        """All rasters below the folder, sorted, but for hidden ones and those of sets of pairs.

        Raises
        ------
        DatasetError
            If there is none.
        """
        sets = {manifest.parent for manifest in self.path.rglob(MANIFEST)} - {self.path}
        found = sorted(
            p
            for p in self.path.rglob("*")
            if self.takes(p)
            and p.exists()  # not a link that leads nowhere
            and sets.isdisjoint(p.parents)
        )
        if not found:
            raise DatasetError(f"{self.path}: no raster there; check the folder's name")
        return found

    def takes(self, path: Path) -> bool:
        """Whether the name of a file below the folder is one of those that are read."""
        return (
            path.suffix.lower() in _SUFFIXES
            and not passed_over(path.relative_to(self.path))
            and not skipped(path, self.skip)
        )


def check_above_zero(path: Path, **stated: float | None) -> None:
    """Refuse what is stated for a folder and can be neither a DN nor a length.

    Raises
    ------
    ConfigError
        Naming the folder and the first such number.
    """
    for name, value in stated.items():
        if value is not None and not 0.0 < value < math.inf:
            raise ConfigError(f"{path}: {name} is {value}; it must be a number above 0")


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

    Warns
    -----
    DecrWarning
        If bands are guessed, images are passed over, lose more than half of their pixels with the
        invalid ones, or are much brighter than their white.
    """
    images = []
    scenes: list[Scene] = []
    lacking: list[tuple[str, Path]] = []
    small: list[str] = []
    cut: list[str] = []
    bright: list[str] = []
    files = folder.files()
    for path in files:
        try:
            scene = open_scene(path, folder.bands)
        except BandError:
            lacking.append((path.name, path))
            continue
        if any(band not in scene.bands.roles for band in bands):
            lacking.append((path.name, path))
            continue
        scenes.append(scene)
        gsd_m, white = folder.gsd_m or scene.grid.gsd_m, _white(folder, scene)
        if gsd_m is None:
            raise _unknown(path, "GSD", "--gsd, or gsd_m in a recipe")
        if white is None:
            raise _unknown(path, "white level", "--white, or white in a recipe")
        keep = scene.bands.data_indices
        with reader(scene) as source:
            dn, valid = source.read(scene.grid.window, keep)
        rows, cols = valid_inside(valid, least_px)
        dn = dn[:, rows, cols]
        if min(dn.shape[1:]) < least_px:
            small.append(path.name)
            continue
        if 2 * dn[0].size < valid.size:
            cut.append(path.name)
        if too_bright(dn, white):
            bright.append(f"{path.name} (white {white:g}, up to {dn.max():g})")
        roles = tuple(scene.bands.roles[i] for i in keep)
        outline = outline_lonlat(scene.grid, Window(rows.start, cols.start, *dn.shape[1:]))
        images.append(ClearImage(path.name, dn, roles, gsd_m, white, folder.weight, outline))
    tell_guesses(scenes)
    told = for_want(bands, lacking, folder.bands is not None) | {
        f"passed over, for want of {least_px} x {least_px} valid pixels": small,
        "cut to less than half, to be without invalid pixels": cut,
        TOO_BRIGHT: bright,
    }
    tell(str(folder.path), f"{len(files)} images", told)
    return images


def _white(folder: Folder, scene: Scene) -> float | None:
    """DN of white of an image; None if neither its type nor the folder says it."""
    if scene.dtype != "uint8":
        return folder.white
    return min(folder.white or 255.0, 255.0)  # what was stated may be of the folder's others


def _unknown(path: Path, what: str, how: str) -> DatasetError:
    return DatasetError(f"{path}: its {what} is unknown; state it for the folder: {how}")


def read_labelled(folder: Folder, least_px: int = 1) -> list[LabelledImage]:
    """Cloudy images with masks of the same name.

    Images of floating numbers are reflectances if the folder does not say their white. Where pixels
    are invalid in the image or in its mask, both are cut to a rectangle without such, and passed
    over if none has sides of ``least_px``. A number that masks declare as nodata is a label all the
    same where no other number in the folder's masks is of its class, cloud or clear.

    Raises
    ------
    DatasetError
        If the folder names no masks, one is missing or of another size than its image, or the
        white level of an image is not known.

    Warns
    -----
    DecrWarning
        If bands are guessed, images are passed over or cut, or nodata is taken for a label.
    """
    opened = _with_masks(folder)
    labels = _nodata_labels([mask for _, _, mask in opened], folder.cloudy_from)
    images = []
    empty: list[str] = []
    cut: list[str] = []
    doubted: list[str] = []
    for path, scene, mask in opened:
        white = _white(folder, scene) or (1.0 if scene.dtype.startswith("float") else None)
        if white is None:
            raise _unknown(path, "white level", "white in the recipe")
        keep = scene.bands.data_indices
        with reader(scene) as source, reader(mask) as truth:
            dn, valid = source.read(scene.grid.window, keep)
            label, labelled = truth.read(mask.grid.window, (0,))
        if mask.nodata[0] in labels:
            nodata = label[0] == mask.nodata[0]
            if (nodata & valid).any() and (mask.nodata[0], folder.cloudy_from) != (0, 1):
                doubted.append(f"{path.name} ({mask.nodata[0]:g})")
            labelled |= nodata
        rows, cols = valid_inside(valid & labelled, least_px)
        dn, label = dn[:, rows, cols], label[:, rows, cols]
        if not dn.size:
            empty.append(path.name)
            continue
        if dn[0].size < valid.size:
            cut.append(path.name)
        reflectance = np.clip(np.nan_to_num(dn.astype(np.float32) / white), 0.0, 2.0)
        images.append(
            LabelledImage(
                path.name,
                reflectance,
                tuple(scene.bands.roles[i] for i in keep),
                label[0] >= folder.cloudy_from,
            )
        )
    tell_guesses([scene for _, scene, _ in opened])
    want = (
        "a pixel that is" if least_px == 1 else f"{least_px} x {least_px} pixels (size_px) that are"
    )
    told = {
        f"passed over, for want of {want} valid in it and in its mask": empty,
        "cut to a rectangle that is valid in it and in its mask": cut,
        f"labelled by the nodata of its mask, too, since no other number in {folder.masks} is of "
        f"its class (from {folder.cloudy_from} on is cloud); declare another nodata": doubted,
    }
    tell(str(folder.path), f"{len(opened)} labelled images", told)
    return images


def _with_masks(folder: Folder) -> list[tuple[Path, Scene, Scene]]:
    """Files, images and masks of a folder, opened; each mask has its image's size."""
    if folder.masks is None:
        raise DatasetError(f"{folder.path}: labelled imagery needs a folder of masks")
    opened = []
    for path in folder.files():
        mask_path = folder.masks / path.relative_to(folder.path)
        if not mask_path.exists():
            raise DatasetError(f"{mask_path}: the mask of {path.name} is missing")
        scene, mask = open_scene(path, folder.bands), open_scene(mask_path, "pan")
        opened.append((path, scene, mask))
        if mask.grid.window != scene.grid.window:
            raise DatasetError(
                f"{mask_path}: has {mask.grid.width} x {mask.grid.height} pixels, but its image "
                f"{path} has {scene.grid.width} x {scene.grid.height}"
            )
    return opened


def _nodata_labels(masks: Sequence[Scene], cloudy_from: int) -> set[float]:
    """Nodata numbers that are labels: masks hold no others that are cloud as they are, or clear."""
    declared = {mask.nodata[0] for mask in masks} - {None}
    found = {0.0} if cloudy_from == 1 else set[float]()
    if declared <= found:
        return found
    classes: set[bool] = set()
    for mask in masks:
        with reader(mask) as truth:
            label, labelled = truth.read(mask.grid.window, (0,))
        numbers = np.unique(label[0][labelled]).tolist()
        classes |= {number >= cloudy_from for number in numbers if number not in declared}
        if len(classes) == 2:
            return found
    return found | {n for n in declared if n is not None and classes == {n < cloudy_from}}
