"""A contact sheet of a set of pairs: cloudy and clear side by side, with mask and CCP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decr.report.document import (
    choice,
    document,
    facts,
    headline,
    name,
    number,
    section,
    shape,
    text,
)
from decr.report.histogram import histogram_svg
from decr.report.page import key
from decr.report.pictures import CLOUD, NO_DATA, cloud_layer, photograph

MOST_PAIRS = 240
"""Pairs on a sheet: more would make a page that browsers open slowly."""
SIDE_PX = 160


@dataclass(frozen=True, slots=True, eq=False)
class PairPicture:
    """One pair of a sheet.

    Attributes
    ----------
    cloudy, clear
        (h, w, 3) uint8 RGB, with one stretch.
    overlay
        (h, w) uint8: 0 clear, 1 cloudy, 2 no data; None without a mask.
    ccp
        0..1, or None.
    said
        A few words below: the subset, the split.
    """

    name: str
    cloudy: NDArray[np.uint8]
    clear: NDArray[np.uint8]
    overlay: NDArray[np.uint8] | None
    ccp: float | None
    said: str


def contact_sheet(
    title: str,
    pictures: Sequence[PairPicture],
    pairs: int,
    groups: Mapping[str, Sequence[float]],
    figures: Sequence[tuple[str, str, str]],
    known: Mapping[str, str],
) -> str:
    """A self-contained HTML page.

    Parameters
    ----------
    pictures
        At most `MOST_PAIRS`, in the order shown.
    pairs
        How many there are.
    groups
        CCP of those whose CCP is known, by split.
    figures
        Numbers at the top: label, value, definition.
    known
        Facts at the end.
    """
    masked = any(p.overlay is not None for p in pictures)
    tools = ""
    if masked:
        options = [("none", "Pictures only"), ("mask", "Cloud mask")]
        legend = f'<div class="legend" data-layer="mask" hidden>{key(CLOUD, "cloudy")}'
        legend += f"{key(NO_DATA, 'no data')}</div>"
        tools = f'<div class="tools">{choice("Show", "radio", options, "none")}{legend}</div>'
    note = "" if pairs <= len(pictures) else f"{len(pictures):,} of {pairs:,} pairs, evenly spaced."
    sheet = "".join(_figure(picture) for picture in pictures)
    body = headline(figures)
    body += section("Pairs", f'{tools}<div class="sheet">{sheet}</div>', note, long=True)
    if any(groups.values()):
        known_ccp = sum(len(values) for values in groups.values())
        svg = histogram_svg(groups, f"CCP of {known_ccp:,} cloudy images", "pairs")
        body += section("Distribution", svg)
    body += section("How it was made", facts(known))
    lead = '<p class="lead">Each picture: the cloudy image on the left, the clear one right.</p>'
    return document(title, "Contact sheet", lead, body, ["layers.js"])


def _figure(picture: PairPicture) -> str:
    height, width = picture.cloudy.shape[:2]
    gap = np.full((height, max(1, width // 40), 3), 255, np.uint8)
    joined = np.concatenate([picture.cloudy, gap, picture.clear], axis=1)
    layer = ""
    if picture.overlay is not None:
        wide = np.zeros(joined.shape[:2], np.uint8)
        wide[:, :width] = picture.overlay
        source = cloud_layer(wide, 2 * SIDE_PX)
        layer = (
            f'<img class="layer" data-layer="mask" hidden src="{source}" '
            f'alt="Cloud mask of {text(picture.name)}">'
        )
    ccp = number(picture.ccp)
    return (
        f'<figure class="view" {shape(*joined.shape[:2])}><div class="pile">'
        f'<img src="{photograph(joined, 2 * SIDE_PX)}" '
        f'alt="{text(picture.name)}: cloudy and clear, CCP {ccp}">{layer}</div>'
        f'<figcaption><span class="who" title="{text(picture.name)}">{name(picture.name)}</span>'
        f"<b>CCP {ccp}</b> {text(picture.said)}</figcaption></figure>"
    )
