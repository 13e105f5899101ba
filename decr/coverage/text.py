"""A report of cloud coverage for the terminal: a table and a histogram in bins of 0.1."""

from __future__ import annotations

from collections.abc import Sequence

from decr.bins import BINS
from decr.cloud.coverage import Coverage, statistics
from decr.coverage.ccp import SceneCcp
from decr.coverage.report_files import by_group, shared_facts
from decr.errors import one_line

_BAR = 40
_ROWS = 40
"""Most scenes that the table lists."""


def described(scenes: Sequence[SceneCcp]) -> str:
    """What was found, in lines of at most about 100 characters."""
    facts = shared_facts(scenes)
    read = facts.get("read", "some at coarser overviews than others")
    detector = ", ".join(sorted({scene.facts["detector"] for scene in scenes}))
    lines = [facts["definition"]]
    lines += [f"over {facts['denominator']}; detector {detector}; read: {read}"]
    rows = [(scene.name, scene.group or "", scene.coverage) for scene in scenes[:_ROWS]]
    rows += [
        (f"{scene.name}: {name}", "", counts)
        for scene in scenes[:_ROWS]
        for name, counts in scene.features
    ]
    lines += ["", *_table(rows)]
    if len(scenes) > _ROWS:
        lines.append(f"... and {len(scenes) - _ROWS} more")
    if len(scenes) == 1:
        tiles = statistics(counts for _, counts in scenes[0].tiles.windows(scenes[0].grid))
        return "\n".join([*lines, "", *_histogram("tiles", tiles.histogram)])
    for name, found in by_group(scenes).items():
        assert found.total is not None
        lines += ["", *_histogram(f"{name}: CCP {_percent(found.total)}; scenes", found.histogram)]
    return "\n".join(lines)


def _table(rows: Sequence[tuple[str, str, Coverage]]) -> list[str]:
    """Name, split, CCP and counts, a line each; thin cloud where somebody can tell."""
    rows = [(one_line(name), group, counts) for name, group, counts in rows]
    thin = any(counts.thin_px is not None for _, _, counts in rows)
    wide = max(5, *(len(name) for name, _, _ in rows))
    lines = [f"{'scene':{wide}}  {'CCP':>8}  {'cloudy px':>14}  {'valid px':>14}"]
    lines[0] += f"  {'thin/valid':>10}" if thin else ""
    for name, group, counts in rows:
        line = (
            f"{name:{wide}}  {_percent(counts):>8}  {counts.cloudy_px:14,}  {counts.valid_px:14,}"
        )
        if thin:
            line += f"  {'?' if counts.thin is None else f'{100 * counts.thin:.2f} %':>10}"
        lines.append(f"{line}  {group}".rstrip())
    return lines


def _percent(counts: Coverage) -> str:
    return "no data" if counts.ccp is None else f"{100 * counts.ccp:.2f} %"


def _histogram(title: str, counts: Sequence[int]) -> list[str]:
    most = max(1, *counts)
    lines = [f"{title} by CCP"]
    for number, count in enumerate(counts):
        close = "]" if number == BINS - 1 else ")"
        bar = "#" * -(-_BAR * count // most)
        lines.append(
            f"[{number / BINS:.1f}, {(number + 1) / BINS:.1f}{close} {count:7} {bar}".rstrip()
        )
    return lines
