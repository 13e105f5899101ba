"""Looking after sets of pairs on disk: are they whole, what do they hold, and a sheet of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from decr.bins import counts
from decr.dataset.layouts import layout_of, list_pairs
from decr.dataset.manifest import PairFile
from decr.dataset.published import facts_of
from decr.dataset.read_pair import open_image, read_seen
from decr.dataset.set_folder import SUMS, damaged
from decr.dataset.swapped import tell_swapped
from decr.errors import DatasetError, DecrError, OutputError, one_line
from decr.files import there, writable_folder, write_report_file
from decr.geo.gdal import gdal_environment
from decr.pipeline.outputs import exists_already
from decr.progress import OnProgress, each_told, silent
from decr.sets.contact import sheet_of


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


def verify_set(
    folder: Path, layout: str | None = None, on_progress: OnProgress = silent
) -> Checked:
    """Check a set: files against SHA256SUMS, if it has them, and for partners; read every pair.

    ``on_progress`` hears ("sums" or "checking", done, total), of files and pairs.

    Raises
    ------
    DatasetError
        If it is no set at all.
    """
    problems, alone = list[str](), list[str]()
    has_sums = (folder / SUMS).is_file()
    if has_sums:
        wrong = damaged(folder, on_progress)
        problems += [f"{folder / name}: missing or not as made" for name in wrong]
    try:
        pairs = list_pairs(folder, layout_of(folder, layout), alone=alone)
    except DatasetError as error:
        problems += alone
        if not problems:
            raise
        return Checked(0, has_sums, [*problems, one_line(error)])
    problems += alone
    with gdal_environment():
        tell_swapped(folder, pairs)
        for pair in each_told("checking", pairs, on_progress):
            try:
                read_seen(pair)
            except DecrError as error:
                problems.append(one_line(error))
    return Checked(len(pairs), has_sums, problems)


def stats_of(
    folder: Path, layout: str | None = None, on_progress: OnProgress = silent
) -> dict[str, Any]:
    """What a set holds, as plain values; pixels are read only by `tell_swapped`.

    ``on_progress`` hears ("stats", done, total), of pairs.

    Raises
    ------
    DatasetError, SceneError
        If the set cannot be read.
    """
    name = layout_of(folder, layout)
    pairs = list_pairs(folder, name)
    kinds: dict[str, Counter[str]] = {key: Counter() for key in ("size", "bands", "dtype", "gsd")}
    with gdal_environment():
        tell_swapped(folder, pairs)
        usual = facts_of(folder, name).gsd_m
        for pair in each_told("stats", pairs, on_progress):
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
