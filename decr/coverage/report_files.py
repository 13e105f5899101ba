"""Files of a report of cloud coverage: JSON, CSV, GeoParquet, SVG and HTML.

Each appears whole or not at all, and says how coverage is defined.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import decr
from decr.bins import BINS
from decr.cloud.coverage import Coverage, Statistics, statistics
from decr.coverage.ccp import SceneCcp
from decr.coverage.sources import PICTURE, REPORT
from decr.errors import ConfigError, warn
from decr.files import (
    check_replaced,
    csv_text,
    folder_there,
    json_object,
    writable_folder,
    write_report_file,
)
from decr.geo.geoparquet import geoparquet, in_one_crs, require_pyarrow
from decr.geo.names import without_keys
from decr.report.document import is_page
from decr.report.histogram import histogram_png, histogram_svg
from decr.report.page import ccp_page, grouped
from decr.report.values import CcpReport, FeatureCcp, SceneReport, TileCcp

_SHARED = ("definition", "polarity", "denominator")
_LABELS = {"definition": "CCP", "decr": "decr"}
"""What facts are called on the page, those whose first letter is not just made a capital."""
_COUNTS = ("ccp", "cloudy_px", "valid_px", "thin_px")
_FEATURES = "features.csv"
_FEATURE_HEAD = ("scene", "feature", "name", *_COUNTS)
_PAGE = "report.html"
_MOST_TOLD = 4


def check_folder(folder: Path, features: bool) -> None:
    """Refuse, before any work, a folder that cannot take a report; it is made if need be.

    With ``features``, a table of these will be written, too.

    Raises
    ------
    OutputError
        If it cannot be made or written to, or decr did not write a file there of a report's names.
    """
    values = writable_folder(folder) / REPORT
    ours = {"definition", "groups"} <= json_object(values).keys()
    for name in (REPORT, "ccp.csv", "tiles.parquet", "histogram.svg", PICTURE):
        # A folder of that name is told when it comes to writing.
        check_replaced(folder / name, ours or folder_there(folder / name))
    check_replaced(folder / _PAGE, ours or is_page(folder / _PAGE))
    if features:
        check_replaced(folder / _FEATURES, _is_feature_table(folder / _FEATURES))


def write_report(
    folder: Path, scenes: Sequence[SceneCcp], failed: Mapping[str, str] | None = None
) -> list[Path]:
    """Write ccp.json, ccp.csv, features.csv (if there are features), tiles.parquet and pages.

    A features.csv of an earlier report goes if there are none. What was written is returned.

    Parameters
    ----------
    folder
        Made if it is not there; files of these names are replaced: see `check_folder`.
    failed
        Images that could not be measured, by name: what was wrong. JSON and page tell them.

    Raises
    ------
    OutputError
        If a file cannot be written.

    Warns
    -----
    DecrWarning
        If tiles.parquet is left out, since pyarrow is not installed.
    """
    files: dict[str, str | bytes] = {
        REPORT: json.dumps(as_json(scenes, failed), indent=1) + "\n",
        "ccp.csv": _csv(
            ("scene", "group", *_COUNTS),
            ([scene.name, scene.group, *_counts(scene.coverage).values()] for scene in scenes),
            scenes[0].facts,
        ),
    }
    if any(scene.features for scene in scenes):
        rows = (
            [scene.name, number, name, *_counts(counts).values()]
            for scene in scenes
            for number, (name, counts) in enumerate(scene.features, 1)
        )
        files[_FEATURES] = _csv(_FEATURE_HEAD, rows, scenes[0].facts)
    elif _is_feature_table(folder / _FEATURES):
        # The table of an earlier report, which would be taken for this one's.
        with suppress(OSError):
            (folder / _FEATURES).unlink()
    title = scenes[0].name if len(scenes) == 1 else "Cloud coverage"
    files |= _pages(scenes, title, failed)
    written = []
    for name, content in files.items():
        write_report_file(writable_folder(folder) / name, content)
        written.append(folder / name)
    try:
        require_pyarrow()
    except ConfigError as error:
        warn(f"tiles.parquet is left out: {error}")
        return written
    write_report_file(folder / "tiles.parquet", tiles_parquet(scenes))
    return [*written, folder / "tiles.parquet"]


def _is_feature_table(file: Path) -> bool:
    """Whether a file is a table of features that decr has written."""
    try:
        with file.open("rb") as stream:
            return stream.readline().rstrip() == ",".join((*_FEATURE_HEAD, *_SHARED)).encode()
    except OSError:
        return False


def by_group(scenes: Sequence[SceneCcp]) -> dict[str, Statistics]:
    """Statistics of the scenes of each split, and of all under the name "all".

    Counts of several scenes are in pixels of the files, those of one in what was read of it.
    """
    if len(scenes) == 1:
        scenes = [replace(scenes[0], file_px=1.0)]
    groups = sorted({scene.group for scene in scenes if scene.group is not None})
    found = {
        group: statistics(scene.file_coverage for scene in scenes if scene.group == group)
        for group in groups
    }
    return {"all": statistics(scene.file_coverage for scene in scenes), **found}


def as_json(scenes: Sequence[SceneCcp], failed: Mapping[str, str] | None = None) -> dict[str, Any]:
    """All that is known but the tiles, as plain values; ``failed`` as for `write_report`."""
    groups = {
        name: {
            "scenes": found.parts,
            "histogram": list(found.histogram),
            **_counts(found.total or Coverage()),
        }
        for name, found in by_group(scenes).items()
    }
    shared = shared_facts(scenes)
    of_files = "pixels of the files, whatever was read of them"
    return {
        "decr": decr.__version__,
        **{key: scenes[0].facts[key] for key in _SHARED},
        "facts": {key: value for key, value in shared.items() if key not in _SHARED},
        "histogram_bins": [round(n / BINS, 1) for n in range(BINS + 1)],
        "groups_are_in": "pixels as read" if len(scenes) == 1 else of_files,
        "groups": groups,
        "scenes": [_scene_json(scene, shared) for scene in scenes],
        **({"failed": _failed(failed)} if failed else {}),
    }


def _failed(failed: Mapping[str, str] | None) -> dict[str, str]:
    return {name: without_keys(error) for name, error in (failed or {}).items()}


def shared_facts(scenes: Sequence[SceneCcp]) -> dict[str, str]:
    """Facts that are the same for all scenes."""
    return {
        key: value
        for key, value in scenes[0].facts.items()
        if all(scene.facts.get(key) == value for scene in scenes)
    }


def told_facts(scenes: Sequence[SceneCcp]) -> dict[str, str]:
    """Facts that every scene has: distinct values, or "several" if more than `_MOST_TOLD`."""
    told = {}
    for key in scenes[0].facts:
        found = list(dict.fromkeys(scene.facts.get(key, "") for scene in scenes))
        if all(found):
            told[key] = "; ".join(found) if len(found) <= _MOST_TOLD else "several"
    return told


def _own_facts(scene: SceneCcp, shared: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in scene.facts.items() if key not in shared}


def _scene_json(scene: SceneCcp, shared: Mapping[str, str]) -> dict[str, Any]:
    tiles = statistics(counts for _, counts in scene.tiles.windows(scene.grid))
    return {
        "name": scene.name,
        "path": without_keys(scene.path),
        "group": scene.group,
        "height": scene.grid.height,
        "width": scene.grid.width,
        **_counts(scene.coverage),
        "tiles": {"count": tiles.parts, "histogram": list(tiles.histogram)},
        "features": [{"name": name, **_counts(counts)} for name, counts in scene.features],
        "facts": _own_facts(scene, shared),
    }


def _counts(counts: Coverage) -> dict[str, float | int | None]:
    return {"ccp": counts.ccp, **asdict(counts)}


def _csv(head: Sequence[str], rows: Iterator[list[Any]], facts: Mapping[str, str]) -> str:
    """A table whose last columns repeat how coverage is defined; unknown values are empty."""
    shared = [facts[key] for key in _SHARED]
    return csv_text([*head, *_SHARED], ([*row, *shared] for row in rows))


def tiles_parquet(scenes: Sequence[SceneCcp]) -> bytes:
    """The tiles of all scenes with their footprints as GeoParquet 1.1.

    Footprints are in the CRS that all scenes share, else in longitude and latitude; tiles of scenes
    without map coordinates have none.

    Raises
    ------
    ConfigError
        If pyarrow is not installed.
    """
    columns: dict[str, list[Any]] = {
        name: [] for name in ("scene", "group", "row", "col", "height", "width", *_COUNTS)
    }
    outlines, crs = [], []
    for scene in scenes:
        windows = []
        for window, counts in scene.tiles.windows(scene.grid):
            place = (window.row, window.col, window.height, window.width)
            values = (scene.name, scene.group, *place, *_counts(counts).values())
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
            windows.append(window)
        outlines += scene.grid.footprints(windows)
        crs += [scene.grid.crs] * len(windows)
    placed, common = in_one_crs(outlines, crs)
    return geoparquet(columns, placed, common, told_facts(scenes))


def report_values(
    scenes: Sequence[SceneCcp], title: str, failed: Mapping[str, str] | None = None
) -> CcpReport:
    """The report as the page takes it: facts of all scenes, then those of each alone."""
    shared = shared_facts(scenes)
    values = [_scene_values(scene, shared) for scene in scenes]
    return CcpReport(title, values, _labelled(told_facts(scenes)), _failed(failed))


def _labelled(facts: Mapping[str, str]) -> dict[str, str]:
    """Facts under headings for people."""
    return {_LABELS.get(key, key[:1].upper() + key[1:]): value for key, value in facts.items()}


def _scene_values(scene: SceneCcp, shared: Mapping[str, str]) -> SceneReport:
    counts = scene.coverage
    tiles = [
        TileCcp(w.row, w.col, w.height, w.width, tile.cloudy_px, tile.valid_px)
        for w, tile in scene.tiles.windows(scene.grid)
    ]
    return SceneReport(
        scene.name,
        scene.grid.height,
        scene.grid.width,
        counts.cloudy_px,
        counts.valid_px,
        counts.thin_px,
        scene.group,
        tiles,
        scene.quicklook,
        scene.overlay,
        _labelled(_own_facts(scene, shared)),
        scene.file_px,
        [
            FeatureCcp(name, found.cloudy_px, found.valid_px, found.thin_px)
            for name, found in scene.features
        ],
    )


def _pages(
    scenes: Sequence[SceneCcp], title: str, failed: Mapping[str, str] | None
) -> dict[str, str | bytes]:
    """The histogram and the page, by file name."""
    report = report_values(scenes, title, failed)
    groups, unit = grouped(report.scenes)
    return {
        "histogram.svg": histogram_svg(groups, title, unit),
        PICTURE: histogram_png(groups, title, unit),
        _PAGE: ccp_page(report),
    }
