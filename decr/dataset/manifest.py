"""The manifest of a set of pairs: what the files of a pair are, one JSON object a line."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from decr.dataset.splits import split_of
from decr.errors import DatasetError

SPLITS = ("train", "val", "test")
MANIFEST = "pairs.jsonl"
SIMULATION = "simulation.json"
"""Beside the manifest of a set whose clouds are simulated: how they were."""
TEST_SHARE = 0.2
"""Share of pairs that are for testing where a set says nothing of splits, as published: 8:2."""


@dataclass(frozen=True, slots=True)
class PairFile:
    """The files of one pair, and what the set says of them.

    Attributes
    ----------
    name
        Unique in its set: split, subfolders and file name without suffix.
    cloudy, clear
        Image files of the same ground.
    split
        One of `SPLITS`.
    split_by_hash
        Whether a hash of its name says the split, since the set does not.
    cloudy_nir, clear_nir
        Files whose first channel is near infrared, or None.
    bands, gsd_m, white, ccp
        From a manifest: roles in file order, metres per pixel, the DN of white, share of cloud.
    """

    name: str
    cloudy: Path
    clear: Path
    split: str
    cloudy_nir: Path | None = None
    clear_nir: Path | None = None
    bands: str | None = None
    gsd_m: float | None = None
    white: float | None = None
    ccp: float | None = None
    split_by_hash: bool = False


def of_split(listed: Sequence[PairFile], split: str, where: Path) -> list[PairFile]:
    """The pairs of a set that have a split; "all" takes every one.

    Parameters
    ----------
    where
        Folder of the set.

    Raises
    ------
    DatasetError
        If there is none.
    """
    found = [pair for pair in listed if split in ("all", pair.split)]
    if not found:
        have = ", ".join(sorted({pair.split for pair in listed})) or "none at all"
        raise DatasetError(
            f"{where}: none of its {len(listed)} pairs has split {split!r} "
            f"(splits there: {have}); choose one of them or all (--split)"
        )
    return found


def manifest_bytes(entries: Iterable[Mapping[str, Any]]) -> bytes:
    """A manifest of these lines."""
    return "".join(json.dumps(entry) + "\n" for entry in entries).encode()


def read_manifest(path: Path) -> list[PairFile]:
    """Pairs of a manifest: JSON lines, paths relative to its folder."""
    file = path / MANIFEST
    try:
        # Text in JSON may hold what Python takes for ends of lines.
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{file}: cannot read the manifest ({error}); {found_in(path)}"
        ) from error
    pairs: dict[str, PairFile] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        pair = _entry(path, where, line)
        if pair.name in pairs:
            raise DatasetError(f"{where}: {pair.name} is there twice; keep one of the lines")
        pairs[pair.name] = pair
    if not pairs:
        raise DatasetError(f"{file}: holds no pair; write one JSON object per line")
    return [pairs[name] for name in sorted(pairs)]


def safe_name(text: str) -> str:
    """Text as part of a file name: letters and digits of any script, dots, dashes; else "_".

    Examples
    --------
    >>> safe_name("a  b_(2)"), safe_name("測試 1.5")
    ('a_b_2_', '測試_1.5')
    """
    # Letters with marks are one character in some names and two in others.
    return re.sub(r"(?:[^\w.-]|_)+", "_", unicodedata.normalize("NFC", text))


def found_in(path: Path) -> str:
    """What a folder holds, for messages."""
    inside = sorted(p.name + "/" * p.is_dir() for p in path.iterdir())
    more = f" and {len(inside) - 8} more" if len(inside) > 8 else ""
    return f"found {', '.join(inside[:8]) or 'nothing'}{more}"


_NIR = ("cloudy_nir", "clear_nir")
_KNOWN = ("cloudy", "clear", *_NIR, "split", "bands", "gsd_m", "white", "ccp", "about")


def _entry(path: Path, where: str, line: str) -> PairFile:
    """One line of a manifest, checked."""
    try:
        entry = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DatasetError(f"{where}: not JSON ({error}); write one object per line") from error
    unknown = [] if not isinstance(entry, dict) else sorted(entry.keys() - set(_KNOWN))
    if not isinstance(entry, dict) or unknown:
        said = f"unknown key {unknown[0]!r}" if unknown else "not an object"
        raise DatasetError(f"{where}: {said}; the keys are {', '.join(_KNOWN)}")
    cloudy, clear = (_inside(path, where, side, entry.get(side)) for side in ("cloudy", "clear"))
    nir = [_inside(path, where, side, entry[side]) if side in entry else None for side in _NIR]
    if nir.count(None) == 1:
        raise DatasetError(f"{where}: near infrared of one side only; name both or neither")
    split, bands = entry.get("split"), entry.get("bands")
    if split is not None and split not in SPLITS:
        raise DatasetError(f"{where}: split is {split!r}; it must be one of {', '.join(SPLITS)}")
    if bands is not None and not isinstance(bands, str):
        raise DatasetError(f'{where}: bands is {bands!r}; write roles in file order: "b,g,r,n"')
    return PairFile(
        name=PurePosixPath(entry["cloudy"]).with_suffix("").as_posix(),
        cloudy=cloudy,
        clear=clear,
        # Several clouded images may show one ground: its name keeps them on one side.
        split=split or split_of(PurePosixPath(entry["clear"]).as_posix(), TEST_SHARE),
        cloudy_nir=nir[0],
        clear_nir=nir[1],
        bands=bands,
        gsd_m=_number(where, "gsd_m", entry, math.inf),
        white=_number(where, "white", entry, math.inf),
        ccp=_number(where, "ccp", entry, 1.0, least=0.0),
        split_by_hash=split is None,
    )


def _number(
    where: str, key: str, entry: Mapping[str, Any], most: float, least: float | None = None
) -> float | None:
    """A number above 0 (or from ``least`` on) and up to ``most``, or None."""
    value = entry.get(key)
    if value is None:
        return None
    try:
        number = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        number = math.inf
    if math.isfinite(number) and number <= most and (number > 0 or number == least):
        return number
    limits = "above 0" if least is None else f"in {least:g}..{most:g}"
    raise DatasetError(f"{where}: {key} is {value!r}; it must be a number {limits}")


def _inside(path: Path, where: str, key: str, value: object) -> Path:
    """The file that a manifest names; it must lie in the manifest's folder."""
    if not isinstance(value, str) or not value:
        raise DatasetError(f"{where}: {key} is {value!r}; it must name a file")
    file = path / value
    try:
        # A manifest may come from somebody else: it must not reach other files, by links either.
        inside = not Path(value).is_absolute() and file.resolve().is_relative_to(path.resolve())
        there = file.is_file()
    except (OSError, ValueError, RuntimeError):
        # Too long, not a name at all, or a link to itself.
        inside, there = True, False
    if not inside:
        raise DatasetError(f"{where}: {key} {value!r} leaves the folder; move the file inside it")
    if not there:
        raise DatasetError(f"{where}: there is no file {value!r}; check the name")
    return file
