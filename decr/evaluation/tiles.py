"""Where pairs to evaluate on come from, and small tiles of them for analyses.

Tiles are the same ones for the same set, half under cloud.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decr.dataset.changed import changed
from decr.dataset.guesses import tell
from decr.dataset.layouts import layout_of, list_pairs
from decr.dataset.manifest import PairFile, of_split
from decr.dataset.pairs import PairFolder, PairImage, read_pairs
from decr.dataset.read_pair import open_image
from decr.errors import ConfigError, DatasetError
from decr.evaluation.subjects import MULTIPLE
from decr.progress import OnProgress, silent
from decr.zoo.embedded import find_bundle

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PairSource:
    """Where pairs come from: fields as for `PairFolder`, whose path is ``data`` here.

    Unless they are said, the split is "test" and the layout is recognised.
    """

    data: Path
    layout: str | None = None
    split: str = "test"
    bands: str | None = None
    gsd_m: float | None = None
    white: float | None = None

    def folder(self) -> PairFolder:
        """The set of the layout that is said or recognised.

        Raises
        ------
        DatasetError
            If it has none, or several.
        ConfigError
            If white or the GSD is no number above 0.
        """
        layout = layout_of(self.data, self.layout)
        return PairFolder(self.data, layout, self.bands, self.gsd_m, self.white, split=self.split)


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A square of a real pair.

    Attributes
    ----------
    name
        Of the pair, and the tile's top left pixel.
    cloudy, clear
        (C, S, S) float32 unit.
    mask
        (S, S) bool, True = changed by clouds.
    gsd_m
        Metres per pixel, or None if nobody says.
    place
        The same for tiles of one ground: name of the first pair with that clear image.
    """

    name: str
    cloudy: Float32
    clear: Float32
    mask: NDArray[np.bool_]
    gsd_m: float | None
    place: str


def bands_of_pairs(folder: PairFolder, listed: Sequence[PairFile]) -> tuple[str, ...]:
    """Bands of a set by its first pair: red, green, blue and, where there is one, near infrared.

    It is the first of the split. Where it has none of these, all that it has; none of a set
    without pairs.

    Raises
    ------
    DatasetError, SceneError
        If no pair has the split, that pair's cloudy image cannot be opened, or its bands cannot be
        told.
    """
    if not listed:
        return ()
    first = of_split(listed, folder.split, folder.path)[0]
    roles = open_image(first.cloudy, folder.bands or first.bands).bands.data_roles
    have = (*roles, *(("nir",) if first.cloudy_nir is not None else ()))
    colours = tuple(role for role in ("red", "green", "blue", "nir") if role in have)
    return colours or have


def bundle_for(source: PairSource, model: str | os.PathLike[str]) -> Path:
    """The file of a model as `find_bundle` has it: "embedded" picks by the pairs' bands.

    Raises
    ------
    BundleError, ConfigError, DatasetError, SceneError
        If there is no such model, or the bands cannot be told.
    """
    folder = source.folder()
    have = bands_of_pairs(folder, list_pairs(folder.path, folder.layout))
    return find_bundle(os.fspath(model), "nir" in have)


def pairs_with(
    folder: PairFolder, bands: tuple[str, ...], on_progress: OnProgress = silent
) -> list[PairImage]:
    """Pairs of a set that have all ``bands``; see `read_pairs`.

    Raises
    ------
    DatasetError
        Also if there is none.
    """
    pairs = read_pairs(folder, bands, on_progress=on_progress)
    if not pairs:
        raise DatasetError(
            f"{folder.path}: no pair has all the bands {', '.join(bands)}; take a model of the "
            f"bands that they have, or say with --bands which is which"
        )
    return pairs


def choose_tiles(
    source: PairSource,
    bands: tuple[str, ...],
    side_px: int,
    count: int,
    shrink: bool = False,
    times: int = 1,
) -> tuple[list[Tile], list[str]]:
    """Tiles of pairs in turn, those first whose share of cloudy pixels is nearest to one half.

    Those without a cloudy pixel, which tell nothing of a restoration, come last of all.

    With ``shrink``, those of a pair that holds none of ``side_px`` are as large as it allows. They
    are cut so many ``times`` as large, for analyses that shrink them to ``side_px``.

    Returns
    -------
    tuple
        Tiles; and names of pairs of the split that are passed over: they lack a band, have no
        valid pixel, or hold no tile.

    Raises
    ------
    ConfigError
        If the side does not suit networks.
    DatasetError
        If the pairs cannot be read or hold no tile of that size.

    Warns
    -----
    DecrWarning
        Of pairs that hold none while others do.
    """
    if side_px < MULTIPLE or side_px % MULTIPLE or count < 1:
        raise ConfigError(
            f"{count} tiles of {side_px} px: give at least one, with sides a multiple of {MULTIPLE}"
        )
    folder = source.folder()
    pairs = pairs_with(folder, bands)
    # The largest --size of which each pair holds a tile.
    held = [min(pair.clear.shape[1:]) // times // MULTIPLE * MULTIPLE for pair in pairs]
    sides = [max(MULTIPLE, min(side_px, px)) if shrink else side_px for px in held]
    places: dict[str, str] = {}
    queues = [
        _ranked(pair, side * times, places.setdefault(_content(pair.clear), pair.name))
        for pair, side in zip(pairs, sides, strict=True)
    ]
    wanted = f"a tile of {min(sides) * times} px{f', {times} times --size' if times > 1 else ''}"
    if not any(queues):
        largest = max(min(pair.clear.shape[1:]) for pair in pairs)
        fitting = max(held)
        raise DatasetError(
            f"{source.data}: no pair holds {wanted}; the largest holds {largest} px: "
            f"{f'give --size {fitting} or less' if fitting else 'they are too small for this'}"
        )
    small = [pair.name for pair, queue in zip(pairs, queues, strict=True) if not queue]
    remedy = f" (--size {min(held)} takes all)" if min(held) else ""
    why = f"passed over, for want of {wanted}{remedy}"
    tell(str(source.data), f"{len(pairs)} pairs", {why: small})
    asked = of_split(list_pairs(folder.path, folder.layout), folder.split, folder.path)
    passed_over = sorted({p.name for p in asked} - {p.name for p in pairs} | {*small})
    ordered = [queue[n] for n in range(max(map(len, queues))) for queue in queues if n < len(queue)]
    return sorted(ordered, key=lambda tile: not tile.mask.any())[:count], passed_over


def _content(pixels: NDArray[np.generic]) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def _ranked(pair: PairImage, side_px: int, place: str) -> list[Tile]:
    """All tiles of a pair on a grid, best first."""
    tiles = []
    for row in range(0, pair.clear.shape[1] - side_px + 1, side_px):
        for col in range(0, pair.clear.shape[2] - side_px + 1, side_px):
            window = np.s_[:, row : row + side_px, col : col + side_px]
            cloudy, clear = (
                (side[window].astype(np.float32) / np.float32(pair.white)).clip(0, 1)
                for side in (pair.cloudy, pair.clear)
            )
            mask = changed(cloudy, clear)
            name = f"{pair.name} at row {row}, column {col}"
            tiles.append(Tile(name, 2 * cloudy - 1, 2 * clear - 1, mask, pair.gsd_m, place))
    return sorted(tiles, key=lambda t: (not t.mask.any(), abs(float(t.mask.mean()) - 0.5)))


def tile_picture(tile: Tile, unit: Float32, bands: tuple[str, ...]) -> NDArray[np.uint8]:
    """An image of a tile for the eye, stretched as its truth: (S, S, 3) uint8."""
    rgb = [bands.index(b) if b in bands else 0 for b in ("red", "green", "blue")]
    low, high = np.percentile(tile.clear[rgb], (1, 99))
    # Clouds should show as white, not as all there is.
    high = high + 0.25 * (high - low) + 1e-3
    share = np.clip((unit[rgb] - low) / (high - low), 0.0, 1.0)
    picture: NDArray[np.uint8] = np.rint(255 * share.transpose(1, 2, 0)).astype(np.uint8)
    return picture
