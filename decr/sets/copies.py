"""Images that are in a set of pairs twice, and which of them are held out of training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr.dataset.duplicates import Duplicate, Fingerprint, find_copies, fingerprint, leaks
from decr.dataset.layouts import layout_of, list_pairs
from decr.dataset.manifest import PairFile
from decr.geo.gdal import gdal_environment
from decr.geo.reader import reader
from decr.geo.scene import open_scene
from decr.progress import OnProgress, each_told, silent


@dataclass(frozen=True, slots=True)
class Copy:
    """Two images that show the same.

    Attributes
    ----------
    first, second
        Names of their pairs.
    exact
        Whether every pixel is equal.
    bits
        By which their hashes differ.
    where
        "train" or another split if both are in it, "train/test" if they are in two.
    """

    first: str
    second: str
    exact: bool
    bits: int
    where: str

    @property
    def across(self) -> bool:
        """Whether they are in two splits."""
        return "/" in self.where


@dataclass(frozen=True, slots=True)
class Copies:
    """All copies in a set.

    Attributes
    ----------
    images, held_out
        How many were compared, and how many of them are not for training.
    held_in
        Names of the splits that those are in.
    copies
        Every two images that show the same; across splits the training image is the first.
    leaked
        Images that are not for training but show what a training image shows, and that image.
    """

    images: int
    held_out: int
    held_in: Sequence[str]
    copies: Sequence[Copy]
    leaked: Mapping[str, Copy]

    def values(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "images": self.images,
            "held_out": self.held_out,
            "leaked": len(self.leaked),
            "copies": [asdict(copy) for copy in self.copies],
        }

    def __str__(self) -> str:
        """One line for people."""
        within = Counter(copy.where for copy in self.copies if not copy.across)
        said = ", ".join(f"{n} within {where}" for where, n in sorted(within.items()))
        across = sum(copy.across for copy in self.copies)
        exact = sum(copy.exact for copy in self.leaked.values())
        kinds = f" ({exact} exactly, {len(self.leaked) - exact} nearly)" if self.leaked else ""
        return (
            f"{len(self.copies)} copies among {self.images} images"
            f" ({', '.join(filter(None, [said, f'{across} across splits']))}); "
            f"{len(self.leaked)} of {self.held_out} {' and '.join(self.held_in) or 'test'} images "
            f"copy a training image{kinds}"
        )


def copies_of(
    folder: Path, layout: str | None = None, side: str = "clear", on_progress: OnProgress = silent
) -> Copies:
    """Find images that are in a set twice, exactly or nearly.

    Parameters
    ----------
    side
        "clear" or "cloudy": which images are compared.
    on_progress
        Called with ("duplicates", done, total), of images.

    Raises
    ------
    DatasetError, SceneError
        If the set cannot be read.
    """
    first: dict[tuple[str, Path], PairFile] = {}
    for pair in trained_first(list_pairs(folder, layout_of(folder, layout))):
        # Several pairs may share an image; that is no copy within a split.
        first.setdefault((pair.split, _file(pair, side)), pair)
    pairs = [*first.values()]
    each = each_told("duplicates", pairs, on_progress)
    with gdal_environment():
        marks = [(name, fingerprint(image)) for name, image in _images(each, side)]
    return copies_among(pairs, marks)


def trained_first(pairs: Sequence[PairFile]) -> list[PairFile]:
    """Pairs for training, then all others: a copy is told as the second of two."""
    return sorted(pairs, key=lambda pair: pair.split != "train")


def copies_among(pairs: Sequence[PairFile], marks: Sequence[tuple[str, Fingerprint]]) -> Copies:
    """Copies among images of pairs, by their fingerprints; both in the order of `trained_first`."""
    split = {pair.name: pair.split for pair in pairs}
    found = find_copies(marks)

    def placed(d: Duplicate) -> Copy:
        return Copy(d.first, d.second, d.exact, d.bits, _where(split[d.first], split[d.second]))

    held_out = [side for side in split.values() if side != "train"]
    leaked = {name: placed(copy) for name, copy in leaks(found, split).items()}
    listed = [placed(d) for d in found]
    return Copies(len(pairs), len(held_out), sorted(set(held_out)), listed, leaked)


def _file(pair: PairFile, side: str) -> Path:
    return pair.clear if side == "clear" else pair.cloudy


def _images(pairs: Iterable[PairFile], side: str) -> Iterator[tuple[str, NDArray[np.generic]]]:
    for pair in pairs:
        scene = open_scene(_file(pair, side), pair.bands)
        with reader(scene) as file:
            yield pair.name, file.read(scene.grid.window, scene.bands.data_indices)[0]


def _where(one: str, other: str) -> str:
    return one if one == other else "/".join(sorted((one, other), reverse=True))
