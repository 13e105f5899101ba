"""Which chips can be cut from clear images: their places, their names, their side of the split."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decr.dataset.clear import Folder
from decr.dataset.guesses import tell_guesses
from decr.dataset.manifest import safe_name
from decr.dataset.splits import block_of, in_common, seeded_hash, split_of
from decr.dataset.white import full_scale
from decr.errors import BandError, DatasetError, warn
from decr.geo.align import outline_lonlat
from decr.geo.grid import PixelGrid, Window
from decr.geo.reader import reader
from decr.geo.scene import Scene, open_scene
from decr.geo.sources import states_of

_GSD_M = (0.01, 1000.0)
"""Sizes of pixels that skies are put over; clouds of others would have far too many, or none."""
_DARK, _LIT = 8, 0.01
"""Reflectance without a scale stays below this number; so much of an image, or of a piece of it,
does not: of real ones with dark water, or a third without data that is not marked, two thirds."""
_CONVERTED = (
    "reflectance of 0 to 1 that was converted without -scale is black; convert it with "
    "gdal_translate -ot UInt16 -scale 0 1 0 10000"
)
PLACE_CHIPS = 4
"""Side, in chips, of a place that lies on one side of the split as a whole."""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A clear image on disk.

    Attributes
    ----------
    key
        Unique name among the images, safe as a file name.
    scene
        The file.
    gsd_m
        Metres per pixel.
    white
        DN that counts as reflectance-like 1.
    """

    key: str
    scene: Scene
    gsd_m: float
    white: float


@dataclass(frozen=True, slots=True)
class Chip:
    """A square of a clear image, to be put under one sky.

    Attributes
    ----------
    source
        The image.
    window
        Where in the image.
    variant
        Number of the sky over this place, from 0.
    """

    source: SourceImage
    window: Window
    variant: int = 0

    @property
    def name(self) -> str:
        """Unique name: image, row, column and variant."""
        return f"{self.source.key}_r{self.window.row:05}_c{self.window.col:05}_{self.variant}"

    @property
    def outline(self) -> NDArray[np.float64] | None:
        """(4, 2) longitude and latitude of its corners; None where the image has none."""
        return outline_lonlat(self.source.scene.grid, self.window)

    def split(self, test_share: float) -> str:
        """``train`` or ``test``: one answer for a neighbourhood of chips and all skies over it.

        It goes by the ground, so that images of one place, of several dates say, are on one side;
        by image and pixels where that is not known.
        """
        side, outline = self.window.height * PLACE_CHIPS, self.outline
        if outline is None:
            place = f"{self.source.key}/{self.window.row // side}/{self.window.col // side}"
        else:
            # One net for images of nearly the same pixel size.
            block_m = side * 2.0 ** round(math.log2(self.source.gsd_m))
            place = "{}/{}/{:g}".format(*block_of(outline, block_m), block_m)
        return split_of(place, test_share)

    def rng(self, seed: int) -> np.random.Generator:
        """Source of randomness that depends on the seed and on this chip's name only."""
        return np.random.default_rng(int.from_bytes(seeded_hash(seed, self.name)[:16], "big"))

    def read(self) -> NDArray[np.generic]:
        """(C, size, size) digital numbers of the data bands in file order."""
        with reader(self.source.scene) as file:
            dn, _ = file.read(self.window)
        return dn


def open_sources(
    paths: Sequence[Path],
    bands: str | None = None,
    gsd_m: float | None = None,
    white: float | None = None,
) -> list[SourceImage]:
    """Look at clear images.

    Parameters
    ----------
    paths
        Rasters of 3 or 4 bands, uint8 or uint16, or folders of them; the order is of no matter.
    bands
        Roles in file order, such as ``r,g,b``; None reads them from each file.
    gsd_m
        Metres per pixel, for images that do not say.
    white
        DN of white, for uint8 255 at the most; None takes 255 for uint8, and for uint16 the full
        scale of the fewest bits from 10 that hold the image's largest valid DN: 1023, 2047, ...,
        65535.

    Returns
    -------
    list of SourceImage
        By key.

    Raises
    ------
    DatasetError
        If an image has the wrong bands or numbers, is black, does not say its GSD or one that skies
        are not made for, or if two images cannot be told apart by name.
    SceneError, BandError
        If a file cannot be read, or its bands cannot be told apart.
    """
    found = [f for p in paths for f in (Folder(p).files() if p.is_dir() else [p])]
    files = sorted({file.resolve(): file for file in found}.values())
    scenes = [replace(open_scene(file, bands), files=states_of([str(file)])) for file in files]
    for scene in scenes:
        _check_kind(scene, gsd_m)
        _check_lit(scene)
    tell_guesses(scenes)
    sources = []
    for key, scene in zip(_keys(files), scenes, strict=True):
        metres = scene.grid.gsd_m or gsd_m
        assert metres is not None
        if not _GSD_M[0] <= metres <= _GSD_M[1]:
            raise DatasetError(
                f"{scene.path}: its pixels are {metres:g} m large; skies can be put over such of "
                f"{_GSD_M[0]:g} to {_GSD_M[1]:g} m: correct the file, or --gsd"
            )
        most = 255.0 if scene.dtype == "uint8" else math.inf
        sources.append(SourceImage(key, scene, metres, min(white or _white_of(scene), most)))
    return sorted(sources, key=lambda source: source.key)


def choose_chips(
    sources: Sequence[SourceImage], size_px: int, count: int | None = None, seed: int = 0
) -> list[Chip]:
    """Chips on a lattice from each image's first pixel, without a missing pixel in any.

    Parameters
    ----------
    size_px
        Side of a chip.
    count
        How many; None takes one of each place. Fewer than there are places are spread at random
        by ``seed``; more than that give places further skies.

    Returns
    -------
    list of Chip
        In order of their names.

    Raises
    ------
    DatasetError
        If no image has room for a chip.
    """
    places = [Chip(source, window) for source in sources for window in _lattice(source, size_px)]
    if not places:
        largest = max(sources, key=lambda s: min(s.scene.grid.window.shape)).scene
        rows, cols = largest.grid.window.shape
        raise DatasetError(
            f"no room for a chip of {size_px} px: {largest.path}, the largest of {len(sources)} "
            f"images, has {rows} x {cols} px; give a smaller --size"
        )
    places.sort(key=lambda chip: seeded_hash(seed, chip.name))
    chosen: list[Chip] = []
    for chip in places:
        if count is not None and len(chosen) == count:
            break
        if _is_whole(chip):
            chosen.append(chip)
    if not chosen:
        raise DatasetError(
            f"no room for a chip of {size_px} px: each of the {len(places)} places in "
            f"{len(sources)} images has missing pixels; give a smaller --size"
        )
    first = len(chosen)
    for number in range(first, count or 0):
        again = chosen[number % first]
        chosen.append(Chip(again.source, again.window, number // first))
    return sorted(chosen, key=lambda chip: chip.name)


def apart(chips: Sequence[Chip], test_share: float) -> list[Chip]:
    """Chips without those for training that share ground with one for testing.

    Places go by the centres of chips: images of one ground whose pixels do not lie on one another,
    or are of another size, may have chips on both sides of a border.

    Warns
    -----
    DecrWarning
        If there are such chips.
    """
    placed = {chip: chip.outline for chip in chips}
    sides = {chip: chip.split(test_share) for chip in chips}
    train, test = (
        {c: o for c, o in placed.items() if o is not None and sides[c] == side}
        for side in ("train", "test")
    )
    shared = {list(train)[i] for i in in_common(list(train.values()), list(test.values()))}
    if shared:
        warn(
            f"{len(shared)} of {len(chips)} chips are left out: they are for training, and share "
            "ground with chips of other images that are for testing"
        )
    return [chip for chip in chips if chip not in shared]


def chip_grid(chip: Chip) -> PixelGrid:
    """Pixels of a chip and where they lie."""
    grid, (height, width) = chip.source.scene.grid, chip.window.shape
    if not grid.has_transform:
        return PixelGrid(height, width, grid.transform, grid.crs)
    return PixelGrid(height, width, grid.window_transform(chip.window), grid.crs)


def _lattice(source: SourceImage, size_px: int) -> Iterator[Window]:
    height, width = source.scene.grid.window.shape
    for row in range(0, height - size_px + 1, size_px):
        for col in range(0, width - size_px + 1, size_px):
            yield Window(row, col, size_px, size_px)


def _is_whole(chip: Chip) -> bool:
    """Whether every pixel is valid."""
    if chip.source.scene.mask_kind == "none":
        return True
    with reader(chip.source.scene) as file:
        _, valid = file.read(chip.window)
    return bool(valid.all())


def _check_kind(scene: Scene, gsd_m: float | None) -> None:
    """Refuse an image that skies cannot be put over."""
    roles = scene.bands.data_roles
    if len(roles) not in (3, 4) or "pan" in roles:
        raise BandError(
            f"{scene.path} has the bands {', '.join(roles)}; give images of 3 or 4 bands, or name "
            "those to use with --bands, '-' for the others"
        )
    if scene.dtype not in ("uint8", "uint16"):
        how = "-ot UInt16 (numbers below 0 become 0; larger ones than 65535 need -scale)"
        if scene.dtype.startswith("float"):
            how = "-ot UInt16 -scale 0 1 0 10000 for reflectance of 0 to 1, which is all 0 without"
        raise DatasetError(
            f"{scene.path} holds {scene.dtype}; convert it with gdal_translate {how}"
        )
    if gsd_m is None and scene.grid.gsd_m is None:
        raise DatasetError(f"{scene.path} does not say its pixel size; give --gsd in metres")


def _check_lit(scene: Scene) -> None:
    """Refuse an image that is black, but for a roof or so; of most others one piece is read."""
    largest: int | None = None
    with reader(scene) as file:
        for piece in file.pieces():
            dn, valid = file.read(piece)
            seen = dn[:, valid]
            if seen.size:
                if np.mean(seen > _DARK) >= _LIT:
                    return
                largest = max(largest or 0, int(seen.max()))
    if largest is not None and largest > _DARK:
        raise DatasetError(
            f"{scene.path} holds 0 to {_DARK}, and up to {largest} in a few places only; look at "
            "the image: if it lacks data nearly everywhere, say so (gdal_edit.py -a_nodata 0) or "
            f"leave it out; {_CONVERTED}"
        )
    if largest is not None:
        what = f"0 to {largest}" if largest else "0"
        raise DatasetError(
            f"{scene.path} holds nothing but {what}; look at the image: {_CONVERTED}"
        )


def _keys(files: Sequence[Path]) -> list[str]:
    """A name per file: its stem; where that is not unique, its folder's name before it."""
    stems = [safe_name(file.stem) for file in files]
    often = Counter(stems)
    keys = [
        stem if often[stem] == 1 else safe_name(f"{file.resolve().parent.name}_{file.stem}")
        for file, stem in zip(files, stems, strict=True)
    ]
    twice = [key for key, number in Counter(keys).items() if number > 1]
    if twice:
        same = [str(file) for file, key in zip(files, keys, strict=True) if key == twice[0]]
        raise DatasetError(f"{' and '.join(same[:2])} would get one name; rename one of them")
    return keys


def _white_of(scene: Scene) -> float:
    """DN of white: the full scale of the fewest bits that hold every valid DN."""
    if scene.dtype == "uint8":  # without a look at its pixels
        return full_scale(scene.dtype, 0.0)
    smallest, largest = math.inf, 0
    with reader(scene) as file:
        for piece in file.pieces():
            dn, valid = file.read(piece)
            largest = max(largest, int(dn[:, valid].max(initial=0)))
            smallest = min(smallest, float(dn[:, valid].min(initial=65535)))
    if smallest == largest:
        raise DatasetError(f"{scene.path} holds nothing but {largest}; look at the image")
    return full_scale(scene.dtype, largest)
