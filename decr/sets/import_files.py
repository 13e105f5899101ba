"""Files that describe an imported set: card, tables, histogram, sheet, Croissant, STAC."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

import decr
from decr.coverage.ccp import Looking
from decr.dataset.croissant import croissant
from decr.dataset.duplicates import HASH_BITS
from decr.dataset.layouts import BY_NAME, Layout
from decr.dataset.manifest import MANIFEST, SPLITS
from decr.dataset.set_folder import Record
from decr.dataset.splits import unwrapped
from decr.dataset.stac import STAC_FOLDER, stac_files
from decr.files import csv_text
from decr.geo.geoparquet import LONLAT
from decr.sets.contact import sheet_of
from decr.sets.copies import Copies
from decr.sets.files import (
    CARD,
    PARQUET,
    cell,
    clouds_found_by,
    facts_table,
    histograms,
    pair_files,
    parquet_bytes,
)
from decr.sets.import_look import Found, Ranges, shared_ground

IMPORT_JOB = "import.json"
TOLD = "imported.json"
_MOST_ROWS = 100
_UNKNOWN = "not stated"
_NO_PLACE = "the images have no map coordinates"
_NO_DATE = "the images do not say when they were taken"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an imported set comes from.

    Attributes
    ----------
    title, layout
        Name of the published set's folder, and its layout.
    split
        See `decr.dataset.layouts.split_from`; or "ground".
    drop_duplicates
        Whether test images that copy training images were left out.
    facts
        See `decr.dataset.published.facts_of`.
    """

    title: str
    layout: str
    split: str
    drop_duplicates: bool
    facts: Layout


def describing_files(
    work: Path,
    origin: Origin,
    found: Sequence[Found],
    copies: Copies,
    left_out: Mapping[str, str],
    ranges: Ranges,
    records: Sequence[Record],
    look: Looking,
) -> dict[str, bytes]:
    """Bytes of each file by name; the same for the same set, on any day and in any folder.

    Parameters
    ----------
    work
        Where the images lie already.
    found
        All pairs of the set that is imported.
    left_out
        Reason by name.
    ranges
        That the detector was shown because of this set.
    records
        Of the pairs that stay.

    Warns
    -----
    DecrWarning
        If chips.parquet is left out, since pyarrow is not installed.
    """
    lines = [record.entry for record in records]
    kept = [f for f in found if f.name not in left_out]
    told = {
        "set": origin.title,
        "layout": origin.layout,
        "split": origin.split,
        "counts": _counts(kept),
        "published": _counts(found),
        "copies": copies.values() | {"leaked": sorted(copies.leaked)},
        "copies_said": str(copies),
        "drop_duplicates": origin.drop_duplicates,
        "left_out": dict(sorted(Counter(left_out.values()).items())),
        "ranges": ranges,
        "shared_ground": shared_ground(kept),
    }
    placed = [line["about"].get("corners_lonlat") is not None for line in lines]
    absent: dict[str, str] = {}
    more: dict[str, bytes] = {}
    parquet = _parquet(lines) if any(placed) else None
    if parquet is None:
        absent[PARQUET] = "pyarrow was not installed" if any(placed) else _NO_PLACE
    else:
        more[PARQUET] = parquet
    if all(placed) and all("clear_date" in line["about"] for line in lines):
        more |= stac_files(lines)
    else:
        absent[f"{STAC_FOLDER}/"] = _NO_DATE if all(placed) else _NO_PLACE
    facts = _facts(told, look)
    return {
        TOLD: (json.dumps(told, indent=1) + "\n").encode(),
        "chips.csv": _chips(found, lines, left_out).encode(),
        "copies.csv": _copies(copies).encode(),
        **histograms(lines),
        CARD: _card(told, kept, copies, facts, absent, origin.facts).encode(),
        "index.html": _sheet(work, lines, told, facts).encode(),
        "croissant.json": croissant(lines).encode(),
        **more,
    }


def _counts(found: Sequence[Found]) -> str:
    """Pairs by split, as sets are quoted: "534/134 (train/test)"."""
    sides = Counter(f.split for f in found)
    there = [side for side in SPLITS if sides[side]]
    return f"{'/'.join(str(sides[side]) for side in there)} ({'/'.join(there)})"


def _facts(told: Mapping[str, Any], look: Looking) -> dict[str, str]:
    """What decided, for people."""
    split = {
        "folders": "the set's own folders",
        BY_NAME: "by decr, from a hash of the names: the set states none",
        "ground": "by decr, images that share ground on one side: the set states none",
    }
    return {
        "Imported from": f"{told['set']}, layout {told['layout']}: {told['published']}",
        "Images": "copied byte for byte; nothing is re-encoded, shifted or matched",
        "Split": split.get(told["split"], f"the set's own {told['split']}"),
        "Left out": "test images that copy training images"
        if told["drop_duplicates"]
        else "nothing: copies are named, not removed",
        **clouds_found_by(look),
        **({"DN range": range_said(told["ranges"])} if told["ranges"] else {}),
        "decr": decr.__version__,
    }


def ground_said(names: Sequence[str]) -> str:
    """How many such images there are, for people."""
    return f"{len(names)} images held out of training share ground with training images"


def range_said(ranges: Ranges) -> str:
    """Ranges, for people."""
    each = ", ".join(f"{low:g} to {high:g} for {dtype}" for dtype, (low, high) in ranges.items())
    return f"{each}, for 99.9 % of the numbers of the whole set"


def _chips(
    found: Sequence[Found], lines: Sequence[Mapping[str, Any]], left_out: Mapping[str, str]
) -> str:
    """chips.csv: every pair of the set that is imported, with the reason if it was left out."""
    by_name = {line["about"]["name"]: line for line in lines}
    rows = []
    for one in found:
        line = by_name.get(one.name)
        measured = ["", ""] if line is None else [line["ccp"], line["about"]["clear_ccp"]]
        rows.append(
            [one.name, one.split, left_out.get(one.name, ""), one.height, one.width, *measured]
        )
    return csv_text(["chip", "split", "reason", "height", "width", "ccp", "clear_ccp"], rows)


def _copies(copies: Copies) -> str:
    """copies.csv: every two images that show the same."""
    rows = [[c.first, c.second, c.where, "exact" if c.exact else "near", c.bits]
            for c in copies.copies]  # fmt: skip
    return csv_text(["first", "second", "where", "kind", "bits"], rows)


def _card(
    told: Mapping[str, Any],
    kept: Sequence[Found],
    copies: Copies,
    facts: Mapping[str, str],
    absent: Mapping[str, str],
    published: Layout,
) -> str:
    """The dataset card, in Markdown."""
    shared = told["shared_ground"]
    whole = "published set"
    stated = "Source and time gap are as published, resolution too where the files do not say; the "
    if not published.source:
        whole = "folder"
        stated = "Nothing is known of source and time gap; the "
    columns = {
        "site": cell(told["set"]),
        "source": published.source or _UNKNOWN,
        "dates": _dates(kept),
        "time gap": published.gap or _UNKNOWN,
        "pairs": told["counts"],
        "size": _each(f"{f.height} x {f.width} px" for f in kept),
        "resolution": _each(_UNKNOWN if f.gsd_m is None else f"{f.gsd_m:.3g} m" for f in kept),
        "bands": _each(f.bands for f in kept),
        "km2": _km2(kept),
    }
    lines = [
        f"# {cell(told['set'])}",
        "",
        f"{len(kept)} pairs, {told['counts']}, imported by `decr dataset import`. Images are those "
        f"of the {whole}, byte for byte. {stated}rest was read from the files.",
        "",
        f"| {' | '.join(columns)} |",
        "|" + "---|" * len(columns),
        f"| {' | '.join(columns.values())} |",
        "",
        "![CCP of cloudy chips](histogram.svg)",
        "",
        "## Copies",
        "",
        f"Clear images were compared, exactly and by what they look like: {told['copies_said']}. "
        "Those among the test images make scores better than they are.",
        "",
        *_leaks(told, copies),
        *([f"By their places, {ground_said(shared)}.", ""] if shared else []),
        *facts_table(facts),
        "## Files",
        "",
        *_files(kept, absent, whole),
        "",
    ]
    return "\n".join(lines)


def _leaks(told: Mapping[str, Any], copies: Copies) -> list[str]:
    """The test images that copy training images, as lines of the card."""
    if not copies.leaked:
        return []
    fate = "They were left out:" if told["drop_duplicates"] else "They are in the set:"
    lines = [fate, "", "| test image | training image | alike |", "|---|---|---|"]
    for name, copy in sorted(copies.leaked.items())[:_MOST_ROWS]:
        kind = "exact" if copy.exact else f"near, {copy.bits} of {HASH_BITS} bits differ"
        lines.append(f"| {cell(name)} | {cell(copy.first)} | {kind} |")
    more = len(copies.leaked) - _MOST_ROWS
    return [*lines, "", *([f"And {more} more, see `copies.csv`.", ""] if more > 0 else [])]


def _files(kept: Sequence[Found], absent: Mapping[str, str], whole: str) -> list[str]:
    """What lies in the set, and what does not, and why; ``whole`` is what it was imported from."""
    sides = "cloudy,clear,cloudy_nir,clear_nir" if any(f.nir for f in kept) else "cloudy,clear"
    lines = [
        f"- `SPLIT/{{{sides}}}/NAME`: the images of the {whole}.",
        "- `SPLIT/mask/NAME.tif`: mask of the cloudy image; 1 cloudy, 0 clear, 255 no data.",
        f"- `{MANIFEST}`: one pair a line.",
        f"- `chips.csv`: every pair of the {whole}. `copies.csv`: all copies.",
        "- `croissant.json`: description for catalogues. `index.html`: contact sheet.",
        "- `SHA256SUMS`: of all files but itself (`sha256sum -c SHA256SUMS`).",
        f"- No licence: the terms of the {whole} hold.",
    ]
    if PARQUET not in absent:
        lines.append(f"- `{PARQUET}`: the pairs with footprints.")
    if f"{STAC_FOLDER}/" not in absent:
        lines.append(f"- `{STAC_FOLDER}/`: a STAC collection.")
    return [*lines, *(f"- No `{name}`: {why}." for name, why in absent.items())]


def _each(values: Iterable[str]) -> str:
    """One value, or each with its count."""
    counts = Counter(values).most_common()
    if len(counts) == 1:
        return counts[0][0]
    return "; ".join(f"{value} ({n})" for value, n in counts)


def _dates(kept: Sequence[Found]) -> str:
    days = sorted(date[:10] for f in kept for date in f.dates or ())
    return f"{days[0]} to {days[-1]}" if days else _UNKNOWN


def _km2(kept: Sequence[Found]) -> str:
    sizes = [f.height * f.width * f.gsd_m**2 / 1e6 for f in kept if f.gsd_m is not None]
    return f"{sum(sizes):.3f}" if len(sizes) == len(kept) else _UNKNOWN


def _sheet(
    work: Path,
    lines: Sequence[Mapping[str, Any]],
    told: Mapping[str, Any],
    facts: Mapping[str, str],
) -> str:
    """The contact sheet."""
    pairs, said = pair_files(work, lines)
    mean = sum(line["ccp"] for line in lines) / len(lines)
    copies = told["copies"]
    figures = [
        ("Pairs", f"{len(lines):,}", told["counts"]),
        ("Mean CCP", f"{mean:.3f}", "of the cloudy images"),
        (
            "Test images that copy",
            f"{len(copies['leaked']):,}",
            f"training images, of {copies['held_out']:,}",
        ),
    ]
    return sheet_of(told["set"], pairs, figures, facts, said)


def _parquet(lines: Sequence[Mapping[str, Any]]) -> bytes | None:
    """The pairs with footprints in longitude and latitude, or None without pyarrow."""
    columns: dict[str, list[Any]] = {
        key: [line[key] for line in lines] for key in ("cloudy", "clear", "split", "ccp", "gsd_m")
    }
    columns["name"] = [line["about"]["name"] for line in lines]
    corners = [line["about"].get("corners_lonlat") for line in lines]
    # In one piece across the date line.
    outlines = [None if c is None else shapely.Polygon(unwrapped(np.asarray(c))) for c in corners]
    return parquet_bytes(columns, outlines, [None if c is None else LONLAT for c in corners])
