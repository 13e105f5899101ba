"""The page that leads to the pages of several restorations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from decr.report.document import (
    DEFINITION,
    SORT,
    document,
    facts,
    name,
    number,
    section,
    sort_key,
    sortable,
    text,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One scene of a call.

    Attributes
    ----------
    name
        For people; any text.
    page
        File name of its page beside the index, or None.
    ccp_before, ccp_after, seam_score, seconds
        None if not known.
    note
        What went wrong, or why there are no numbers; empty if all is well.
    """

    name: str
    page: str | None = None
    ccp_before: float | None = None
    ccp_after: float | None = None
    seam_score: float | None = None
    seconds: float | None = None
    note: str = ""


_HEADS = (
    ("Scene", False),
    ("CCP before", True),
    ("CCP after", True),
    ("Seam score", True),
    ("Time s", True),
    ("Note", False),
)


def index_page(entries: Sequence[Entry]) -> str:
    """A self-contained HTML page with one row a scene, in the order given."""
    table = sortable(_HEADS, "".join(_row(entry) for entry in entries))
    body = section("Scenes", table, SORT, long=True)
    meaning = {
        "CCP": f"{DEFINITION}; of a mask: cloudy = marked by it",
        "Seam score": "how far tile borders show; 1 or less: not at all",
        "Time": "from opening a scene to its finished file, wall-clock seconds",
    }
    body += section("What the numbers are", facts(meaning))
    done = sum(entry.page is not None for entry in entries)
    lead = f'<p class="lead">{done:,} of {len(entries):,} scenes have a page.</p>'
    return document("Restored scenes", "Restoration report", lead, body, ["table.js"])


def _row(entry: Entry) -> str:
    shown = name(entry.name)
    if entry.page is not None:
        shown = (
            f'<a href="{text(quote(entry.page.encode("utf-8", "surrogateescape")))}">{shown}</a>'
        )
    cells = f'<td title="{text(entry.name)}">{shown}</td>'
    shares = ((value, 3) for value in (entry.ccp_before, entry.ccp_after, entry.seam_score))
    for value, digits in (*shares, (entry.seconds, 1)):
        cells += f'<td class="n" data-v="{sort_key(value)}">{number(value, digits)}</td>'
    return f'<tr>{cells}<td class="wrap">{text(entry.note)}</td></tr>\n'
