"""Files that describe a built set: tables, card, histogram, sheet, Croissant, STAC."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import decr
from decr.coverage.ccp import Looking
from decr.dataset.acquisitions import Acquisitions
from decr.dataset.build_set import BuildOptions, Considered, Decided, export_manifests, window_of
from decr.dataset.chip_rules import REASONS
from decr.dataset.croissant import croissant
from decr.dataset.manifest import MANIFEST
from decr.dataset.measure import PairFacts
from decr.dataset.set_folder import Record
from decr.dataset.stac import stac_files
from decr.files import csv_text
from decr.sets.build_measure import Run
from decr.sets.contact import sheet_of
from decr.sets.files import (
    CARD,
    PARQUET,
    cell,
    clouds_found_by,
    facts_table,
    histograms,
    pair_files,
    parquet_bytes,
    signed,
)

BUILD_JOB = "build.json"

_TITLE = "Cloudy and clear pairs"


def describing_files(
    run: Run,
    facts: Mapping[str, PairFacts],
    chips: Sequence[Considered],
    decided: Decided,
    records: Sequence[Record],
) -> dict[str, bytes]:
    """Bytes of each file by name; the same for the same set, on any day and in any folder.

    Warns
    -----
    DecrWarning
        If chips.parquet is left out, since pyarrow is not installed.
    """
    entries = [record.entry for record in records]
    told = _acquisitions(run.pairs, facts, chips, decided)
    thresholds = _thresholds(run.options, run.look)
    parquet = _parquet(chips, decided, run.pairs, entries, run.options)
    files = {
        "acquisitions.json": json.dumps(told, indent=1).encode(),
        "chips.csv": _table(chips, decided).encode(),
        **histograms(entries),
        CARD: _card(told, entries, thresholds, run.options, parquet is not None).encode(),
        "index.html": _sheet(run.work, entries, told, thresholds).encode(),
        "croissant.json": croissant(entries).encode(),
        **stac_files(entries),
        **export_manifests(entries, run.options.exports),
    }
    return files if parquet is None else {**files, PARQUET: parquet}


def _acquisitions(
    pairs: Mapping[str, Acquisitions],
    facts: Mapping[str, PairFacts],
    chips: Sequence[Considered],
    decided: Decided,
) -> dict[str, Any]:
    """What was measured of each pair, and how many chips were left out for which reason."""
    found = []
    for name, pair in pairs.items():
        grid = pair.cloudy.grid
        found.append(
            {
                "name": name,
                "site": pair.site,
                "source": pair.source,
                "cloudy": Path(pair.cloudy.path).name,
                "clear": Path(pair.clear.path).name,
                "cloudy_date": pair.cloudy_date.when.isoformat(),
                "clear_date": pair.clear_date.when.isoformat(),
                "dates_from": [pair.cloudy_date.source, pair.clear_date.source],
                "gap_days": round(pair.gap_days, 4),
                "gsd_m": grid.gsd_m,
                "crs": "" if grid.crs is None else grid.crs.to_string(),
                "bands": list(pair.bands),
                "corrected_px": list(facts[name].corrected),
                "chips": sum(c.pair == name and c.name in decided.side for c in chips),
                **asdict(facts[name]),
            }
        )
    counted = Counter(decided.reasons.values())
    rejected = {why: counted[why] for why in REASONS if counted[why]}
    return {"acquisitions": found, "considered": len(chips), "rejected": rejected}


def _table(chips: Sequence[Considered], decided: Decided) -> str:
    """chips.csv: every chip that was looked at, with the reason if it was left out."""
    measured = ("overlap", "nodata", "clear_ccp", "ccp", "occluded", "tau", "residual_px")
    rows = []
    for chip in chips:
        values = [getattr(chip.facts, name) for name in measured]
        decision = decided.side.get(chip.name, ""), decided.reasons.get(chip.name, "")
        said = ("" if value is None else f"{value:.6g}" for value in values)
        rows.append([chip.name, chip.pair, chip.row, chip.col, *decision, *said])
    return csv_text(["chip", "pair", "row", "col", "split", "reason", *measured], rows)


def _thresholds(options: BuildOptions, look: Looking) -> dict[str, str]:
    """Everything that decided, for people."""
    limits, detector = options.limits, look.detector
    split = f"{options.split}, {options.test_share:.0%} for testing, seed {options.seed}"
    if options.split == "block":
        split += f"; blocks of {options.block_m:g} m, buffer of {options.buffer_m:g} m"
    else:
        split += "; neighbours may lie on both sides"
    return {
        **clouds_found_by(look),
        "Days between the acquisitions": f"at most {limits.max_gap_days:g}",
        "Shift of the clear image": f"corrected up to {limits.max_shift_px:g} px",
        "Shift left in a chip": f"at most {limits.max_residual_px:g} px",
        "Pixels without data": f"at most {limits.max_nodata:.1%} of a chip"
        if limits.max_nodata
        else "none",
        "CCP of the clear chip": f"at most {limits.max_clear_ccp:g}",
        "Opaque cloud": f"optical thickness {limits.opaque_tau:g} or more; at most "
        f"{limits.max_occluded:.0%} of a chip",
        "Thin and thick": "more than half of the cloudy pixels thin by the detector"
        if detector is not None and detector.tells_thin
        else f"median optical thickness of cloudy pixels below {limits.thin_tau:g}, or not",
        "Radiometry": "clear chips matched to the cloudy image, band by band"
        if options.match
        else "as delivered; acquisitions.json has gain and offset",
        "Split": split,
        "decr": decr.__version__,
    }


def _card(
    told: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    thresholds: Mapping[str, str],
    options: BuildOptions,
    footprints: bool,
) -> str:
    """The dataset card, in Markdown."""
    sides, subsets = (
        Counter(e["split"] for e in entries), Counter(e["about"]["subset"] for e in entries),
    )  # fmt: skip
    rejected = [f"| {why} | {n} |" for why, n in told["rejected"].items()]
    lines = [
        f"# {_TITLE}",
        "",
        f"{len(entries)} pairs ({sides['train']} train, {sides['test']} test) of {options.size_px} "
        f"x {options.size_px} px, made by `decr dataset build`. By the cloud in them: "
        + ", ".join(f"{n} {name}" for name, n in sorted(subsets.items()))
        + ".",
        "",
        *_sites(told["acquisitions"], options),
        "",
        "![CCP of cloudy chips](histogram.svg)",
        "",
        "## Registration and radiometry",
        "",
        *_fits(told["acquisitions"]),
        "",
        f"## Left out: {sum(told['rejected'].values())} of {told['considered']} chips",
        "",
        "| reason | chips |",
        "|---|---|",
        *(rejected or ["| none | 0 |"]),
        "",
        *facts_table(thresholds),
        "## Files",
        "",
        *_files(options, footprints),
        "",
    ]
    return "\n".join(lines)


def _sites(acquisitions: Sequence[Mapping[str, Any]], options: BuildOptions) -> list[str]:
    """What there is of each pair, as lines of the card."""
    lines = [
        "| site | source | dates | time gap | pairs | size | resolution | bands | km2 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in acquisitions:
        gsd = one["gsd_m"] or float("nan")
        km2 = one["chips"] * (options.size_px * gsd / 1000) ** 2
        cells = [
            cell(one["site"]),
            cell(one["source"]) or "not stated",
            f"{one['cloudy_date'][:10]}, {one['clear_date'][:10]}",
            f"{one['gap_days']:.1f} days",
            one["reason"] or str(one["chips"]),
            f"{options.size_px} x {options.size_px} px",
            f"{gsd:.3g} m",
            ", ".join(one["bands"]),
            f"{km2:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _fits(acquisitions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Shift and radiometry of each pair that was used, as lines of the card."""
    lines = [
        "| cloudy, clear | rows | cols | correlation | gain | offset | correlation of bands |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in acquisitions:
        if one["reason"] is None:
            shift, match = one["shift"], one["match"]
            gain, offset, alike = (
                "not known" if match is None else ", ".join(said(v) for v in match[key])
                for key, said in (
                    ("gain", "{:.4f}".format),
                    ("offset", _offset),
                    ("correlation", "{:.2f}".format),
                )
            )
            lines.append(
                f"| {cell(one['cloudy'])}, {cell(one['clear'])} | {signed(shift['rows'], 3)} px "
                f"| {signed(shift['cols'], 3)} px "
                f"| {shift['correlation']:.3f} | {gain} | {offset} | {alike} |"
            )
    return lines


def _files(options: BuildOptions, footprints: bool) -> list[str]:
    """What lies in the folder."""
    return [
        "- `{train,test}/{cloudy,clear,mask}/NAME.tif`: GeoTIFF with grid; mask 1 cloudy, 0 clear, "
        "255 no data.",
        f"- `{MANIFEST}`: one pair a line."
        + (f" `{PARQUET}`: the same with footprints." if footprints else ""),
        "- `chips.csv`: every chip looked at, and why it was left out.",
        "- `croissant.json`, `stac/`: descriptions for catalogues. `index.html`: contact sheet.",
        *(
            f"- `{name}/`: 8-bit PNG in that layout; metres per pixel are in its `{MANIFEST}`."
            for name in options.exports
        ),
        "- `SHA256SUMS`: of all files but itself (`sha256sum -c SHA256SUMS`).",
    ]


def _offset(value: float) -> str:
    """An offset in DN or in reflectance, without the noise of sums that should be 0."""
    return f"{value if abs(value) > 1e-6 else 0.0:+.4g}"


def _sheet(
    work: Path,
    entries: Sequence[Mapping[str, Any]],
    told: Mapping[str, Any],
    thresholds: Mapping[str, str],
) -> str:
    """The contact sheet."""
    pairs, said = pair_files(work, entries)
    sides = Counter(e["split"] for e in entries)
    mean = sum(e["ccp"] for e in entries) / len(entries)
    figures = [
        ("Pairs", f"{len(entries):,}", f"{sides['train']:,} train, {sides['test']:,} test"),
        ("Mean CCP", f"{mean:.3f}", "of the cloudy chips"),
        ("Left out", f"{sum(told['rejected'].values()):,}", f"of {told['considered']:,} chips"),
    ]
    rejected = ", ".join(f"{n} {why}" for why, n in told["rejected"].items()) or "none"
    return sheet_of(_TITLE, pairs, figures, {"Left out": rejected, **thresholds}, said)


def _parquet(
    chips: Sequence[Considered],
    decided: Decided,
    pairs: Mapping[str, Acquisitions],
    entries: Sequence[Mapping[str, Any]],
    options: BuildOptions,
) -> bytes | None:
    """The accepted chips with footprints, or None without pyarrow."""
    accepted = [chip for chip in chips if chip.name in decided.side]
    plain = ("cloudy", "clear", "split", "ccp", "white", "gsd_m")
    told = ("name", "subset", "site", "cloudy_date", "clear_date", "tau", "clear_ccp")
    columns: dict[str, list[Any]] = {key: [e["about"][key] for e in entries] for key in told}
    columns |= {key: [e[key] for e in entries] for key in plain}
    grids = [pairs[chip.pair].cloudy.grid for chip in accepted]
    outlines = [g.footprint(window_of(c, options)) for g, c in zip(grids, accepted, strict=True)]
    return parquet_bytes(columns, outlines, [grid.crs for grid in grids])
