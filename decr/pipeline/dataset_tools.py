"""Looking after sets of pairs on disk: are they whole, what is there twice, what do they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr.dataset.duplicates import (
    NEAR_BITS,
    Duplicate,
    Fingerprint,
    find_copies,
    fingerprint,
    leaks,
)
from decr.dataset.layouts import LAYOUTS, layout_of, list_pairs
from decr.dataset.manifest import PairFile
from decr.dataset.read_pair import open_image, read_seen
from decr.dataset.set_folder import SUMS, damaged
from decr.errors import DatasetError, DecrError, OutputError, one_line
from decr.files import there, writable_folder, write_report_file
from decr.geo.gdal import gdal_environment
from decr.geo.scene import open_scene, reader
from decr.pipeline.contact import sheet_of
from decr.pipeline.outputs import exists_already
from decr.report.histogram import counts


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a check.

    Attributes
    ----------
    pairs
        How many there are.
    sums
        Whether there are checksums.
    problems
        One sentence each; none if the set is whole.
    """

    pairs: int
    sums: bool
    problems: Sequence[str]


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
        The splits of these.
    copies
        Every two; a copy of another split is told as the second, after the training image.
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


def verify_set(folder: Path, layout: str | None = None) -> Checked:
    """Check a set: files against SHA256SUMS, if it has them, and for partners; read every pair.

    Raises
    ------
    DatasetError
        If it is no set at all.
    """
    problems, alone = list[str](), list[str]()
    has_sums = (folder / SUMS).is_file()
    if has_sums:
        problems += [f"{folder / name}: missing or not as made" for name in damaged(folder)]
    try:
        pairs = list_pairs(folder, layout_of(folder, layout), alone=alone)
    except DatasetError as error:
        problems += alone
        if not problems:
            raise
        return Checked(0, has_sums, [*problems, one_line(error)])
    problems += alone
    with gdal_environment():
        for pair in pairs:
            try:
                read_seen(pair)
            except DecrError as error:
                problems.append(one_line(error))
    return Checked(len(pairs), has_sums, problems)


def copies_of(
    folder: Path,
    layout: str | None = None,
    side: str = "clear",
    near_bits: int = NEAR_BITS,
) -> Copies:
    """Find images that are in a set twice, exactly or nearly.

    Parameters
    ----------
    side
        "clear" or "cloudy": which images are compared.

    Raises
    ------
    DatasetError, SceneError
        If the set cannot be read.
    """
    first: dict[tuple[str, Path], PairFile] = {}
    for pair in trained_first(_pairs(folder, layout)):
        # Several pairs may share an image; that is no copy within a split.
        first.setdefault((pair.split, _file(pair, side)), pair)
    pairs = [*first.values()]
    with gdal_environment():
        marks = [(name, fingerprint(image)) for name, image in _images(pairs, side)]
    return copies_among(pairs, marks, near_bits)


def trained_first(pairs: Sequence[PairFile]) -> list[PairFile]:
    """Pairs for training, then all others: a copy is told as the second of two."""
    return sorted(pairs, key=lambda pair: pair.split != "train")


def copies_among(
    pairs: Sequence[PairFile],
    marks: Sequence[tuple[str, Fingerprint]],
    near_bits: int = NEAR_BITS,
) -> Copies:
    """Copies among images of pairs, by their fingerprints.

    Parameters
    ----------
    pairs, marks
        In the order of `trained_first`.
    """
    split = {pair.name: pair.split for pair in pairs}
    found = find_copies(marks, near_bits)

    def placed(d: Duplicate) -> Copy:
        return Copy(d.first, d.second, d.exact, d.bits, _where(split[d.first], split[d.second]))

    held_out = [side for side in split.values() if side != "train"]
    leaked = {name: placed(copy) for name, copy in leaks(found, split).items()}
    listed = [placed(d) for d in found]
    return Copies(len(pairs), len(held_out), sorted(set(held_out)), listed, leaked)


def stats_of(folder: Path, layout: str | None = None) -> dict[str, Any]:
    """What a set holds, as plain values; no pixel is read.

    Raises
    ------
    DatasetError, SceneError
        If the set cannot be read.
    """
    name = layout_of(folder, layout)
    pairs = list_pairs(folder, name)
    kinds: dict[str, Counter[str]] = {key: Counter() for key in ("size", "bands", "dtype", "gsd")}
    with gdal_environment():
        for pair in pairs:
            usual = LAYOUTS[name].gsd_m
            clear = _kind_of(pair, pair.clear, pair.clear_nir, usual)
            cloudy = _kind_of(pair, pair.cloudy, pair.cloudy_nir, usual)
            for key, told in clear.items():
                other = "" if cloudy[key] == told else f" (cloudy {cloudy[key]})"
                kinds[key][told + other] += 1
    known = [pair.ccp for pair in pairs if pair.ccp is not None]
    return {
        "set": str(folder),
        "layout": name,
        "pairs": len(pairs),
        "splits": dict(sorted(Counter(pair.split for pair in pairs).items())),
        **{key: dict(sorted(counts.items())) for key, counts in kinds.items()},
        "ccp": {
            "known": len(known),
            "mean": float(np.mean(known)) if known else None,
            "histogram": counts(known),
        },
    }


def _kind_of(
    pair: PairFile, path: Path, nir: Path | None, usual_gsd_m: float | None
) -> dict[str, str]:
    """What one side of a pair is, in words."""
    scene = open_image(path, pair.bands)
    gsd_m = pair.gsd_m or scene.grid.gsd_m or usual_gsd_m
    return {
        "size": f"{scene.grid.height} x {scene.grid.width} px",
        "bands": ", ".join([*scene.bands.data_roles, *([] if nir is None else ["nir"])]),
        "dtype": scene.dtype,
        "gsd": "unknown" if gsd_m is None else f"{gsd_m:.3g} m",
    }


def described(found: Mapping[str, Any]) -> str:
    """The same for people, one line a fact."""
    lines = [f"{found['set']}: {found['pairs']} pairs, layout {found['layout']}"]
    for key in ("splits", "size", "bands", "dtype", "gsd"):
        said = "; ".join(f"{name}: {n}" for name, n in found[key].items())
        lines.append(f"{key}: {said}")
    ccp = found["ccp"]
    if ccp["known"]:
        bins = " ".join(map(str, ccp["histogram"]))
        mean = f"mean {ccp['mean']:.3f}, by tenths {bins}"
        lines.append(f"CCP of {ccp['known']} cloudy images: {mean}")
    else:
        lines.append("CCP: the set does not say; decr ccp measures it")
    return "\n".join(lines)


def write_sheet(folder: Path, out: Path, layout: str | None, overwrite: bool) -> None:
    """Write the contact sheet of a set.

    Raises
    ------
    DatasetError, SceneError
        If the set cannot be read.
    OutputError
        If the page cannot be written, is there already without ``overwrite``, or has not the name
        of an HTML file.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{out}: a contact sheet is HTML; give a name that ends in .html")
    if there(out) and not overwrite:
        raise exists_already(out)
    name = layout_of(folder, layout)
    pairs = list_pairs(folder, name)
    splits = Counter(pair.split for pair in pairs)
    said = ", ".join(f"{n:,} {split}" for split, n in sorted(splits.items()))
    with gdal_environment():
        page = sheet_of(
            folder.resolve().name, pairs, [("Pairs", f"{len(pairs):,}", said)], {"Layout": name}
        )
    writable_folder(out.parent)
    write_report_file(out, page)


def _pairs(folder: Path, layout: str | None) -> list[PairFile]:
    return list_pairs(folder, layout_of(folder, layout))


def _file(pair: PairFile, side: str) -> Path:
    return pair.clear if side == "clear" else pair.cloudy


def _images(pairs: Sequence[PairFile], side: str) -> Iterator[tuple[str, NDArray[np.generic]]]:
    for pair in pairs:
        scene = open_scene(_file(pair, side), pair.bands)
        with reader(scene) as file:
            yield pair.name, file.read(scene.grid.window, scene.bands.data_indices)[0]


def _where(one: str, other: str) -> str:
    return one if one == other else "/".join(sorted((one, other), reverse=True))
