"""Real pairs of a cloudy and a clear image: read from sets on disk, cut into samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr.dataset.augment import unit_from
from decr.dataset.changed import changed
from decr.dataset.clear import check_above_zero
from decr.dataset.guesses import for_want, tell, tell_guesses
from decr.dataset.inside import valid_inside
from decr.dataset.layouts import list_pairs
from decr.dataset.manifest import PairFile, of_split
from decr.dataset.published import facts_of
from decr.dataset.read_pair import Side, check_fit, open_side, read_side
from decr.dataset.samples import Sample, area_shrunk
from decr.dataset.swapped import tell_swapped
from decr.dataset.white import (
    TOO_BRIGHT,
    CloudyClear,
    brightest,
    common_white,
    too_bright,
    white_level,
)
from decr.errors import DatasetError, DecrError
from decr.geo.align import outline_lonlat
from decr.geo.scene import Scene
from decr.progress import OnProgress, each_told, silent

MOST_BYTES = 8 * 2**30
"""Largest set that is read: pairs are held in memory as stored. Of others no more is looked at."""


@dataclass(frozen=True, slots=True)
class PairFolder:
    """A folder with a set of real pairs.

    Attributes
    ----------
    path
        Folder of the set.
    layout
        How it is arranged: one of `LAYOUTS`.
    bands
        Roles in file order ("r,g,b,n"); None takes them from a manifest or from each file.
    gsd_m
        Metres per pixel; None takes it from a manifest, the file, or what is published.
    white
        DN that counts as reflectance-like 1; None takes it from a manifest, or is the `white_level`
        of the whole set.
    split
        "train", "val" or "test"; "all" takes every pair.
    skip
        Name patterns (or parts of paths with a slash) to leave out.
    weight
        How much more often than their area says these pairs are drawn.

    Raises
    ------
    ConfigError
        If white or the GSD is no number above 0.
    """

    path: Path
    layout: str = "folders"
    bands: str | None = None
    gsd_m: float | None = None
    white: float | None = None
    split: str = "train"
    skip: tuple[str, ...] = ()
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_above_zero(self.path, white=self.white, gsd=self.gsd_m)


@dataclass(frozen=True, slots=True, eq=False)
class PairImage:
    """A real cloudy image and a clear one of the same ground, held in memory.

    Attributes
    ----------
    name
        Of the pair in its set.
    cloudy, clear
        (C, H, W), digital numbers of one type; every pixel is valid in both.
    bands
        Roles of the C bands.
    gsd_m
        Metres per pixel, or None if nobody says.
    white
        The digital number that counts as reflectance-like 1.
    weight
        How much more often than its area says it is drawn.
    cut_from
        Rows and columns of the files where invalid pixels made both be cut; None if whole.
    outline
        (4, 2) longitude and latitude of the file's corners; None if it does not say.
    """

    name: str
    cloudy: NDArray[Any]
    clear: NDArray[Any]
    bands: tuple[str, ...]
    gsd_m: float | None
    white: float
    weight: float = 1.0
    cut_from: tuple[int, int] | None = None
    outline: NDArray[np.float64] | None = None

    @property
    def area(self) -> float:
        """Pixels times weight: how often it is drawn."""
        return float(self.clear.shape[1] * self.clear.shape[2] * self.weight)


def read_pairs(
    folder: PairFolder,
    bands: tuple[str, ...],
    known: Sequence[PairImage] = (),
    on_progress: OnProgress = silent,
) -> list[PairImage]:
    """Pairs of a set that have all ``bands``, in the order of their names.

    The bands are stored in the order asked for. Pairs that lack one are passed over. Where pixels
    are invalid on either side, both are cut to a rectangle without such. A white that is not stated
    is that of the whole set, whatever the split: the other pairs are looked at for it one by one.
    Of these, those that cannot be used, or are beyond `MOST_BYTES`, tell nothing of white.

    Parameters
    ----------
    known
        Pairs of this set that were read before with the same bands. Those of 16 bits have the white
        of the whole set already, and spare that look.
    on_progress
        Called with ("white", done, total), of the other pairs, if they are looked at.

    Raises
    ------
    DatasetError
        If the layout does not fit, no pair has the split, the two images of a pair do not fit each
        other, their bands or white level are unknown, or the set would not fit in `MOST_BYTES`.
    SceneError
        If a file cannot be read.

    Warns
    -----
    DecrWarning
        If bands are guessed, pairs are passed over, cut, or much brighter than a stated white, or
        cloudy and clear seem to be swapped; or if others were not looked at for white.
    """
    listed = list_pairs(folder.path, folder.layout, folder.skip)
    files = of_split(listed, folder.split, folder.path)
    opened: list[tuple[PairFile, Side, Side]] = []
    total = 0
    lacking: list[tuple[str, Path]] = []
    for file in files:
        cloudy, clear = _sides(folder, file, bands)
        if cloudy is None or clear is None:
            lacking.append((file.name, file.clear if clear is None else file.cloudy))
            continue
        check_fit(cloudy.scene, clear.scene)
        opened.append((file, cloudy, clear))
        total += 2 * len(bands) * _bytes_per_band(clear.scene)
    if total > MOST_BYTES:
        raise DatasetError(
            f"{folder.path}: {len(opened)} pairs would take {total / 2**30:.1f} GiB of memory, "
            f"more than {MOST_BYTES / 2**30:g}; leave some out with skip, or make a smaller set"
        )
    tell_guesses([side.scene for _, *sides in opened for side in sides])
    if not known:
        tell_swapped(folder.path, listed, folder.bands)
    told = for_want(bands, lacking, folder.bands is not None)
    tell(str(folder.path), f"{len(files)} pairs", told)
    taken = {file.name for file in files}
    others = [file for file in listed if file.name not in taken]
    unseen: list[str] = []
    images = _read_all(
        folder, opened, bands, _rest(folder, others, bands, known, unseen, on_progress)
    )
    why = "not looked at for the white of the set; --white, or white in a recipe, spares that look"
    tell(str(folder.path), f"{len(others)} pairs of other splits", {why: unseen})
    return images


def _sides(
    folder: PairFolder, file: PairFile, bands: tuple[str, ...]
) -> tuple[Side | None, Side | None]:
    """Both sides of a pair, opened; None for one that lacks a band."""
    said = folder.bands or file.bands
    cloudy = open_side(file.cloudy, file.cloudy_nir, said, bands)
    return cloudy, open_side(file.clear, file.clear_nir, said, bands)


def _rest(
    folder: PairFolder,
    files: Sequence[PairFile],
    bands: tuple[str, ...],
    known: Sequence[PairImage],
    unseen: list[str],
    on_progress: OnProgress,
) -> Iterator[CloudyClear]:
    """The brightest pixels, (1, 1, 1), of pairs of 16 bits whose white nothing states.

    Those that cannot be used, or are beyond `MOST_BYTES`, are added to ``unseen``, with the reason.
    """
    files = [file for file in files if file.white is None]
    names = {file.name for file in files}
    told = [p.white for p in known if p.name in names and p.clear.dtype == np.uint16]
    if told:  # all of the set was looked at for it, and no pixel is brighter
        white = np.full((1, 1, 1), told[0], np.uint16)
        yield white, white
        return
    left = MOST_BYTES
    for file in each_told("white", files, on_progress):
        try:
            cloudy, clear = _sides(folder, file, bands)
            if cloudy is None or clear is None or cloudy.scene.dtype != "uint16":
                continue
            check_fit(cloudy.scene, clear.scene)
            left -= 2 * len(bands) * _bytes_per_band(clear.scene)
            if left < 0:
                unseen.append(f"{file.name} (after {MOST_BYTES / 2**30:g} GiB)")
                continue
            dn, truth, _ = _read_valid(cloudy, clear)
        except DecrError as error:
            unseen.append(f"{file.name} ({error})")
            continue
        if dn.size:
            tops = brightest((dn, truth))
            white_level(_brighter(file, tops), [tops])  # refused here, it is named
            yield tops


def _brighter(file: PairFile, both: CloudyClear) -> Path:
    """The brighter image of a pair."""
    cloudy, clear = (image.max() for image in both)
    return file.cloudy if cloudy >= clear else file.clear


def _read_valid(cloudy: Side, clear: Side) -> tuple[*CloudyClear, tuple[int, int]]:
    """Both sides, cut to a rectangle that is valid on both; rows and columns of the files."""
    dn, ok = read_side(cloudy)
    truth, truth_ok = read_side(clear)
    rows, cols = valid_inside(ok & truth_ok, 1)
    return dn[:, rows, cols], truth[:, rows, cols], (ok.shape[0], ok.shape[1])


def _read_all(
    folder: PairFolder,
    opened: list[tuple[PairFile, Side, Side]],
    bands: tuple[str, ...],
    rest: Iterable[CloudyClear],
) -> list[PairImage]:
    """Read what was opened; white levels are known only once all pixels are, also of the rest."""
    read = []
    empty: list[str] = []
    cut: list[str] = []
    for file, cloudy, clear in opened:
        dn, truth, shape = _read_valid(cloudy, clear)
        if not dn.size:
            empty.append(file.name)
            continue
        cut_from = None if dn.shape[1:] == shape else shape
        if cut_from:
            cut.append(file.name)
        read.append((file, clear.scene, dn, truth, cut_from))
    told = {
        "passed over, for want of a pixel that is valid on both sides": empty,
        "cut to a rectangle that is valid on both sides": cut,
    }
    tell(str(folder.path), f"{len(opened)} pairs", told)
    unsaid = [
        (file, brightest((dn, truth)))
        for file, _, dn, truth, _ in read
        if folder.white is None and file.white is None
    ]
    common = None
    if unsaid:
        brighter = _brighter(*max(unsaid, key=lambda one: max(image.max() for image in one[1])))
        common = common_white(brighter, [tops for _, tops in unsaid], rest)
    images = []
    usual = facts_of(folder.path, folder.layout).gsd_m
    bright: list[str] = []
    for file, scene, dn, truth, cut_from in read:
        white = folder.white or file.white or common
        assert white is not None
        if dn.dtype == np.uint8:
            white = min(white, 255.0)  # what was stated is of other images of the set
        if too_bright(truth, white):
            bright.append(f"{file.name} (white {white:g}, up to {truth.max():g})")
        gsd_m = folder.gsd_m or file.gsd_m or scene.grid.gsd_m or usual
        outline = outline_lonlat(scene.grid, scene.grid.window)
        images.append(
            PairImage(file.name, dn, truth, bands, gsd_m, white, folder.weight, cut_from, outline)
        )
    tell(str(folder.path), f"{len(opened)} pairs", {TOO_BRIGHT: bright})
    return images


def _bytes_per_band(scene: Scene) -> int:
    return scene.grid.height * scene.grid.width * np.dtype(scene.dtype).itemsize


def large_enough(pairs: list[PairImage], span: int) -> list[PairImage]:
    """Those of which crops of ``span`` pixels can be taken.

    Raises
    ------
    DatasetError
        If there are none.
    """
    fit = [pair for pair in pairs if min(pair.clear.shape[1:]) >= span]
    if not fit:
        most = max((min(pair.clear.shape[1:]) for pair in pairs), default=0)
        raise DatasetError(
            f"no pair is large enough for crops of {span} pixels (the largest of {len(pairs)} "
            f"has {most}); give larger images"
        )
    return fit


def pair_crop(
    rng: np.random.Generator, pair: PairImage, bands: tuple[str, ...], size_px: int, shrink: int = 1
) -> Sample:
    """A random crop of a real pair, turned and flipped, with [0, white] as [-1, 1].

    Its ``cloud_mask`` is `changed`.

    Parameters
    ----------
    pair
        With sides of at least ``size_px * shrink``; see `large_enough`.
    shrink
        Means over so many pixels are taken, of a crop as much larger.
    """
    span = size_px * shrink
    row = int(rng.integers(pair.clear.shape[1] - span + 1))
    col = int(rng.integers(pair.clear.shape[2] - span + 1))
    order = [pair.bands.index(band) for band in bands]
    window = np.s_[order, row : row + span, col : col + span]
    both = np.concatenate([pair.cloudy[window], pair.clear[window]]).astype(np.float32)
    both = np.rot90(area_shrunk(both / pair.white, shrink), int(rng.integers(4)), axes=(1, 2))
    if rng.random() < 0.5:
        both = both[:, :, ::-1]
    cloudy, clear = both[: len(bands)], both[len(bands) :]
    mask = changed(cloudy, clear)
    return Sample(unit_from(cloudy, 0.0, 1.0), unit_from(clear, 0.0, 1.0), mask)
