"""The frame of every page: one HTML file that asks nothing of any network; numbers in words."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

DEFINITION = (
    "cloudy valid pixels / valid pixels; cloudy = probability at or above the threshold; "
    "1 = all cloud"
)
"""What CCP is where a detector looked."""
MADE_BY = '<meta name="generator" content="decr">'
"""Near the top of every page."""
SORT = '<span class="screen">Press a heading to sort.</span>'
"""A note above a table of `sortable`."""
_MOST_OBLONG = 16
"""Length over breadth of a picture; of a longer one hardly a line would be seen."""


def is_page(file: Path) -> bool:
    """Whether a file is a page that decr has made."""
    try:
        with file.open("rb") as stream:
            return MADE_BY.encode() in stream.read(1000)
    except OSError:
        return False


def text(value: object) -> str:
    """A value as text that is safe between tags and in quoted attributes.

    Examples
    --------
    >>> text('<b> & "c"')
    '&lt;b&gt; &amp; &quot;c&quot;'
    """
    # File names may hold bytes that are no text in any encoding.
    return html.escape(str(value).encode("utf-8", "backslashreplace").decode())


def name(value: object) -> str:
    """A name kept apart from the direction of the text around it."""
    return f"<bdi>{text(value)}</bdi>"


def ccp_of(cloudy_px: int, valid_px: int) -> float:
    """Cloud coverage, 0..1; NaN without a valid pixel."""
    return cloudy_px / valid_px if valid_px else math.nan


def number(value: float | None, digits: int = 3) -> str:
    """A number with fixed decimals, so that columns line up; a dash for what is not known.

    Examples
    --------
    >>> number(0.18), number(None), number(float("nan"))
    ('0.180', '–', '–')
    """
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def sort_key(value: float | None) -> str:
    """What a number is sorted by in a table of `sortable`."""
    return "NaN" if value is None or not math.isfinite(value) else f"{value:.6f}"


def percent(value: float | None) -> str:
    """A share of 1 in per cent.

    Examples
    --------
    >>> percent(0.18)
    '18.0 %'
    """
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """Seconds for people.

    Examples
    --------
    >>> duration(0.034), duration(48.21), duration(200), duration(7500)
    ('0.03 s', '48.2 s', '3 min 20 s', '2 h 5 min')
    """
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def document(title: str, kicker: str, lead: str, body: str, scripts: Sequence[str]) -> str:
    """A whole page.

    Parameters
    ----------
    title
        Plain text; the heading too.
    kicker
        What kind of page this is; plain text.
    lead, body
        HTML, in which all foreign text went through `text` already.
    scripts
        Names of files in ``assets``; the page runs these and nothing else.

    Returns
    -------
    str
        HTML that shows the same without a network: styles, scripts and pictures are inside, and a
        Content-Security-Policy forbids all else.
    """
    code = "".join(f'"use strict";{{\n{_asset(file)}}}\n' for file in scripts)
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {_hash(code) if code else chr(39) + 'none' + chr(39)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{MADE_BY}
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{text(title)} – {text(kicker)}</title>
<style>
{_asset("page.css")}</style>
<style media="print">{_asset("still.css")}</style>
<noscript><style>{_asset("still.css")}</style></noscript>
</head>
<body>
<header>
<p class="kicker">{text(kicker)}</p>
<h1>{name(title)}</h1>
{lead}
</header>
<main>
{body}
</main>
{f"<script>{code}</script>" if code else ""}
</body>
</html>
"""


def shape(height: int, width: int) -> str:
    """Proportions of a picture as a style, at most `_MOST_OBLONG`."""
    return f'style="--shape:{min(max(width / height, 1 / _MOST_OBLONG), _MOST_OBLONG):.4f}"'


def drawn_out(height: int, width: int) -> str:
    """A sentence for pictures that `shape` does not show in their proportions; empty for others."""
    if max(height, width) <= _MOST_OBLONG * min(height, width):
        return ""
    return f" The scene is longer than {_MOST_OBLONG} : 1 and drawn less oblong than it is."


def section(heading: str, content: str, note: str = "", *, long: bool = False) -> str:
    """A part of a page; heading is plain text, the rest HTML; a long one may go over two sheets."""
    said = f'<p class="note">{note}</p>' if note else ""
    kind = ' class="long"' if long else ""
    return f"<section{kind}>\n<h2>{text(heading)}</h2>\n{said}{content}\n</section>\n"


def headline(figures: Sequence[tuple[str, str, str]]) -> str:
    """The few numbers that matter, large: (label, value, definition), all plain text."""
    cards = "".join(
        f'<div><dt>{text(label)}</dt><dd>{text(value)}</dd><dd class="note">{text(said)}</dd></div>'
        for label, value, said in figures
    )
    return f'<dl class="headline">{cards}</dl>'


def sortable(heads: Sequence[tuple[str, bool]], rows: str) -> str:
    """A table to sort and to filter by name; see ``assets/table.js`` and `SORT`.

    Parameters
    ----------
    heads
        Plain text, and whether the column holds numbers.
    rows
        HTML of the table's body.
    """
    head = "".join(
        f'<th scope="col" aria-sort="none"{" class=n" if numeric else ""}>'
        f'<button type="button">{words}</button></th>'
        for words, numeric in heads
    )
    return (
        '<div class="tools screen"><label for="filter">Name contains</label>'
        '<input type="search" id="filter" autocomplete="off" spellcheck="false">'
        '<span class="note" id="shown" role="status" style="margin:0"></span></div>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Table of scenes">'
        f'<table class="list sortable"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div>"
    )


def facts(values: Mapping[str, str]) -> str:
    """Names and values, one a row."""
    rows = "".join(
        f'<tr><th scope="row">{text(key)}</th><td>{name(value)}</td></tr>'
        for key, value in values.items()
    )
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def data_block(identity: str, value: Any) -> str:
    """Numbers for a script of the page; a data block is never run."""
    packed = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{identity}">{packed}</script>'


def choice(legend: str, kind: str, options: Sequence[tuple[str, str]], chosen: str) -> str:
    """Buttons that show layers; see ``assets/layers.js``.

    Parameters
    ----------
    kind
        "radio" or "checkbox".
    options
        (name of the layer, words for people).
    """
    buttons = "".join(
        f'<label><input type="{kind}" name="layer" value="{layer}"'
        f"{' checked' if layer == chosen else ''}><span>{text(words)}</span></label>"
        for layer, words in options
    )
    return f'<fieldset class="choice"><legend>{text(legend)}</legend>{buttons}</fieldset>'


def _asset(file: str) -> str:
    return resources.files("decr.report").joinpath("assets", file).read_text(encoding="utf-8")


def _hash(code: str) -> str:
    digest = hashlib.sha256(code.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
