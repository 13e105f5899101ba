"""Reports on disk: one JSON and one page a scene, and a page that leads to all of one call."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from decr.files import check_replaced, json_object, write_report_file
from decr.geo.names import without_keys
from decr.pipeline.declouds import DecloudResult
from decr.pipeline.many import Outcome
from decr.report.document import is_page
from decr.report.index import Entry, index_page
from decr.report.restoration import restoration_page
from decr.report.values import RestorationReport

INDEX, OTHER_INDEX = "index.html", "index_of_scenes.html"
"""The second is for a call in which a scene itself is called index."""


def check_report(folder: Path, outs: Sequence[Path], index: bool) -> None:
    """Refuse a folder for reports in which one would replace a file that decr did not make.

    Reports are of the outputs ``outs``; with ``index``, a page will lead to them.

    Raises
    ------
    OutputError
        If that is so.
    """
    pages = [folder / f"{out.stem}.html" for out in outs]
    for page in [*pages, _index(folder, outs)] if index else pages:
        check_replaced(page, is_page(page))
    for out in outs:
        values = folder / f"{out.stem}.json"
        check_replaced(values, {"ccp_before", "stages_s"} <= json_object(values).keys())


def _index(folder: Path, outs: Sequence[Path]) -> Path:
    return folder / (OTHER_INDEX if any(out.stem == "index" for out in outs) else INDEX)


def write_report(folder: Path, result: DecloudResult, report: RestorationReport) -> Path:
    """Write ``NAME.json`` and ``NAME.html``, named after the output; return the page.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    stem = Path(result.out).stem
    write_report_file(folder / f"{stem}.json", json.dumps(asdict(result), indent=1) + "\n")
    page = folder / f"{stem}.html"
    write_report_file(page, restoration_page(report))
    return page


def has_report(folder: Path, out: Path) -> bool:
    """Whether both files of `write_report` are there, made since the output was."""
    try:
        made = out.stat().st_mtime_ns
        written = [(folder / f"{out.stem}{kind}").stat().st_mtime_ns for kind in (".json", ".html")]
    except OSError:
        return False
    return min(written) >= made


def write_index(folder: Path, outcomes: Sequence[Outcome]) -> Path:
    """Write a page with a row for each scene of a call; return it.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    page = _index(folder, [outcome.out for outcome in outcomes])
    write_report_file(page, index_page([_entry(folder, outcome) for outcome in outcomes]))
    return page


def _entry(folder: Path, outcome: Outcome) -> Entry:
    """A row: of this call, or of an earlier one whose report is there."""
    name, stem = outcome.out.name, outcome.out.stem
    if outcome.error is not None:
        return Entry(name, note=without_keys(outcome.error))
    values, note = {}, ""
    if outcome.result is not None:
        values = asdict(outcome.result)
    else:
        values, note = json_object(folder / f"{stem}.json"), "finished by an earlier call"
    page = folder / f"{stem}.html"
    seams = values.get("seams")
    return Entry(
        name,
        page.name if page.is_file() else None,
        _number(values.get("ccp_before")),
        _number(values.get("ccp_after")),
        _number(seams.get("score")) if isinstance(seams, dict) else None,
        _seconds(values.get("stages_s")),
        note,
    )


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and math.isfinite(value) else None


def _seconds(stages: Any) -> float | None:
    """Seconds up to the finished file; the report came after it."""
    if not isinstance(stages, dict):
        return None
    return sum(_number(value) or 0.0 for stage, value in stages.items() if stage != "report")
