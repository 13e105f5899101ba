"""The page of a CCP report: how cloudy, and where; for one scene as for a thousand chips."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from decr.report.document import (
    DEFINITION,
    SORT,
    ccp_of,
    choice,
    document,
    drawn_out,
    facts,
    headline,
    name,
    number,
    percent,
    section,
    shape,
    sort_key,
    sortable,
    text,
)
from decr.report.histogram import histogram_svg
from decr.report.pictures import CLOUD, NO_DATA, THIN, cloud_layer, photograph
from decr.report.tilemap import figure, layer, scale
from decr.report.values import CcpReport, SceneReport

MOST_PICTURES = 24
"""Scenes whose pictures are in a page: see `pictured`."""
SHEET_PX = 256
"""Longest side of a picture on a sheet of them."""
MOST_ROWS = 5000
"""Rows of the table; of more scenes, the cloudiest are in it."""

_FEW = 4


def ccp_page(report: CcpReport) -> str:
    """A self-contained HTML page of a CCP report.

    Parameters
    ----------
    report
        One scene or many. Pictures are in the page for at most `MOST_PICTURES` scenes and rows for
        at most `MOST_ROWS`; the page says what is left out.

    Raises
    ------
    ValueError
        If a report holds no scene, or a scene's overlay has not the size of its quicklook.
    """
    scenes = report.scenes
    if not scenes:
        raise ValueError("a report needs at least one scene")
    for scene in scenes:
        picture, overlay = scene.quicklook, scene.overlay
        if picture is not None and overlay is not None and picture.shape[:2] != overlay.shape:
            raise ValueError(
                f"{scene.name}: the overlay {overlay.shape} is not of the size of the quicklook "
                f"{picture.shape[:2]}"
            )
    body = headline(_figures(scenes)) + _pictures(scenes) + _histogram(scenes)
    if len(scenes) > 1:
        body += _table(scenes)
    body += _features(scenes)
    body += _failures(report.failed)
    own: dict[str, str] = {}
    if len(scenes) == 1:
        size = f"{scenes[0].width:,} × {scenes[0].height:,} px (width × height)"
        own = {"Size": size, **scenes[0].facts}
    body += section("How it was measured", facts({"CCP": DEFINITION, **report.facts, **own}))
    lead = (
        '<p class="lead">CCP is the cloud coverage: the share of valid pixels that are cloudy, '
        "from 0 (clear) to 1 (all cloud).</p>"
    )
    scripts = ["layers.js"]
    scripts += ["table.js"] if len(scenes) > 1 else []
    scripts += ["tiles.js"] if len(scenes) == 1 and scenes[0].tiles else []
    return document(report.title, "Cloud coverage report", lead, body, scripts)


def _failures(failed: Mapping[str, str]) -> str:
    """Images that could not be measured, and why; nothing if there are none."""
    if not failed:
        return ""
    listed = dict(list(failed.items())[:MOST_ROWS])
    note = f"{len(failed):,} could not be measured and count nowhere on this page."
    if len(listed) < len(failed):
        note += f" The first {len(listed):,} are listed."
    return section("Failed", facts(listed), note, long=True)


def _figures(scenes: Sequence[SceneReport]) -> list[tuple[str, str, str]]:
    if len(scenes) == 1:
        scene = scenes[0]
        cloudy, valid, every = scene.cloudy_px, scene.valid_px, scene.height * scene.width
        ccp = ccp_of(cloudy, valid)
        found = [
            ("CCP", number(ccp), f"{percent(ccp)} of valid pixels are cloudy"),
            ("Cloudy", f"{cloudy:,} px", "pixels, by the definition below"),
            ("Valid", f"{valid:,} px", f"{percent(ccp_of(valid, every))} of all pixels hold data"),
        ]
        if scene.thin_px is not None:
            thin = ccp_of(scene.thin_px, valid)
            found.append(("Thin", percent(thin), "of valid pixels are thin cloud"))
        return found
    cloudy = sum(round(s.cloudy_px * s.file_px) for s in scenes)
    valid = sum(round(s.valid_px * s.file_px) for s in scenes)
    which = "valid px" if all(s.file_px == 1 for s in scenes) else "valid px of the files"
    known = [ccp_of(s.cloudy_px, s.valid_px) for s in scenes if s.valid_px]
    ccp, middle = ccp_of(cloudy, valid), float(np.median(known)) if known else math.nan
    empty = len(scenes) - len(known)
    return [
        (
            "Scenes",
            f"{len(scenes):,}",
            f"{empty:,} without a valid pixel" if empty else "all with valid pixels",
        ),
        ("CCP of all pixels", number(ccp), f"{cloudy:,} cloudy of {valid:,} {which}"),
        ("Median CCP", number(middle), "half of the scenes are below it"),
        ("Clear", f"{sum(c < 0.01 for c in known):,}", "scenes with a CCP below 0.01"),
    ]


def _pictures(scenes: Sequence[SceneReport]) -> str:
    """Quicklooks with masks: one large beside the map of its tiles, or a sheet of small ones."""
    seen = [s for s in scenes if s.quicklook is not None]
    shown = pictured(seen)
    if len(shown) < len(scenes):
        shown = sorted(shown, key=_known)
    if len(scenes) == 1:
        scene = scenes[0]
        tools, parts = _tools(shown, False), []
        if shown:
            parts.append(_figure(scene, 1024, False))
        if scene.tiles:
            parts.append(figure(scene.tiles, scene.height, scene.width))
        return (
            section("Where the clouds are", tools + f'<div class="pair">{"".join(parts)}</div>')
            if parts
            else ""
        )
    if not shown:
        return ""
    side = 640 if len(shown) <= _FEW else SHEET_PX
    note = f"{len(shown):,} of {len(scenes):,} scenes have a picture here, "
    note += "from the least to the most cloudy."
    sheet = "".join(_figure(scene, side, True) for scene in shown)
    few = " few" if len(shown) <= _FEW else ""
    return section(
        "Where the clouds are",
        _tools(shown, any(s.tiles for s in shown)) + f'<div class="sheet{few}">{sheet}</div>',
        note if len(shown) < len(scenes) else "",
        long=True,
    )


def pictured(scenes: Sequence[SceneReport]) -> list[SceneReport]:
    """The scenes whose pictures a page shows; others need no quicklook.

    All if they are at most `MOST_PICTURES`, else as many, evenly spaced from the least to the most
    cloudy. Scenes without a valid pixel are left out first.
    """
    if len(scenes) <= MOST_PICTURES:
        return list(scenes)
    ranked = sorted((s for s in scenes if s.valid_px), key=_known)
    if len(ranked) <= MOST_PICTURES:
        return ranked
    last = len(ranked) - 1
    return [ranked[round(i * last / (MOST_PICTURES - 1))] for i in range(MOST_PICTURES)]


def _tools(scenes: Sequence[SceneReport], tiles: bool) -> str:
    """Buttons for the layers, and what their colours mean."""
    masked = [s.overlay for s in scenes if s.overlay is not None]
    if not masked and not tiles:
        return ""
    options = [("none", "Picture only")]
    options += [("mask", "Cloud mask")] if masked else []
    options += [("tiles", "Tile CCP")] if tiles else []
    codes = {int(code) for overlay in masked for code in np.unique(overlay)}
    thin = 3 in codes
    keys = [(CLOUD, "thick cloud" if thin else "cloudy")]
    keys += [(THIN, "thin cloud")] if thin else []
    keys += [(NO_DATA, "no data")] if 2 in codes else []
    legend = f'<div class="legend" data-layer="mask">{"".join(key(*k) for k in keys)}</div>'
    legend += f'<div class="legend" data-layer="tiles" hidden>{scale("CCP", "0", "1")}</div>'
    start = "mask" if masked else "none"
    return f'<div class="tools">{choice("Show", "radio", options, start)}{legend}</div>'


def key(colour: tuple[int, int, int], words: str) -> str:
    """A patch of colour and what it means, for a legend."""
    r, g, b = colour
    style = f"background:rgb({r} {g} {b} / .38);border-color:rgb({r} {g} {b})"
    return f'<span><i style="{style}"></i>{text(words)}</span>'


def _figure(scene: SceneReport, side: int, captioned: bool) -> str:
    ccp = number(ccp_of(scene.cloudy_px, scene.valid_px))
    assert scene.quicklook is not None
    layers = ""
    if scene.overlay is not None:
        layers = (
            f'<img class="layer" data-layer="mask" '
            f'src="{cloud_layer(scene.overlay, side)}" alt="Cloud mask of {text(scene.name)}">'
        )
    if scene.tiles and captioned:
        source = layer(scene.tiles, scene.height, scene.width)
        layers += (
            f'<img class="layer crisp" data-layer="tiles" hidden src="{source}" '
            f'alt="Tile CCP of {text(scene.name)}">'
        )
    picture = scene.quicklook
    caption = (
        f'<span class="who" title="{text(scene.name)}">{name(scene.name)}</span><b>CCP {ccp}</b>'
    )
    size = (scene.height, scene.width)
    if captioned:
        caption += drawn_out(*size)
    else:
        high, wide = (max(1, round(s / p)) for s, p in zip(size, picture.shape, strict=False))
        caption = drawn_out(*size)
        if max(high, wide) > 1:
            caption = f"One pixel of the picture is {wide:,} × {high:,} of the scene.{caption}"
    return (
        f'<figure class="view" {shape(*picture.shape[:2])}><div class="pile">'
        f'<img src="{photograph(picture, side)}" '
        f'alt="Quicklook of {text(scene.name)}, CCP {ccp}">{layers}</div>'
        f"{f'<figcaption>{caption}</figcaption>' if caption else ''}</figure>"
    )


def _histogram(scenes: Sequence[SceneReport]) -> str:
    """Of scenes by group; of one scene's tiles; nothing for a single number."""
    if len(scenes) == 1 and len(scenes[0].tiles) < 2:
        return ""
    groups, what = grouped(scenes)
    counted = scenes[0].tiles if len(scenes) == 1 else scenes
    missing = sum(not one.valid_px for one in counted)
    note = "Bins of 0.1; a border belongs to the bin above it, 1 to the last."
    if missing:
        words = (
            f"{what} without a valid pixel are"
            if missing > 1
            else f"{what[:-1]} without a valid pixel is"
        )
        note += f" {missing:,} {words} in no bin."
    many = sum(len(values) for values in groups.values())
    return section("Distribution", histogram_svg(groups, f"CCP of {many:,} {what}", what), note)


def grouped(scenes: Sequence[SceneReport]) -> tuple[dict[str, list[float]], str]:
    """CCP by group, as a histogram takes it, and what is counted; of one scene, of its tiles.

    "train" and "test" are first. Scenes of no group are together under "". Groups without a valid
    pixel are left out.
    """
    if len(scenes) == 1:
        return {"": [ccp_of(tile.cloudy_px, tile.valid_px) for tile in scenes[0].tiles]}, "tiles"
    found: dict[str, list[float]] = {}
    for scene in scenes:
        found.setdefault(scene.group or "", []).append(ccp_of(scene.cloudy_px, scene.valid_px))
    first = [group for group in ("train", "test") if group in found]
    every = {group: found[group] for group in [*first, *(g for g in found if g not in first)]}
    return {g: v for g, v in every.items() if not all(map(math.isnan, v))} or every, "scenes"


def _table(scenes: Sequence[SceneReport]) -> str:
    rows = (
        sorted(scenes, key=lambda s: -_known(s))[:MOST_ROWS] if len(scenes) > MOST_ROWS else scenes
    )
    with_group = any(s.group for s in scenes)
    with_thin = any(s.thin_px is not None for s in scenes)
    heads = [("Scene", False), *([("Group", False)] if with_group else []), ("CCP", True)]
    heads += [("Thin share", True)] if with_thin else []
    heads += [("Cloudy px", True), ("Valid px", True), ("Width px", True), ("Height px", True)]
    body = "".join(_row(scene, with_group, with_thin) for scene in rows)
    note = SORT
    if len(rows) < len(scenes):
        note += f" Of {len(scenes):,} scenes, the {len(rows):,} cloudiest are listed."
    if with_thin:
        note += " Thin share: thin cloud / valid pixels."
    return section("Scenes", sortable(heads, body), note, long=True)


def _features(scenes: Sequence[SceneReport]) -> str:
    """CCP of the features of a vector file; nothing without any."""
    found = [(scene, feature) for scene in scenes for feature in scene.features]
    if not found:
        return ""
    several = len(scenes) > 1
    with_thin = any(feature.thin_px is not None for _, feature in found)
    heads = [*(["Scene"] if several else []), "Feature", "CCP"]
    heads += [*(["Thin share"] if with_thin else []), "Cloudy px", "Valid px"]
    head = "".join(
        f'<th scope="col"{" class=n" if place >= heads.index("CCP") else ""}>{words}</th>'
        for place, words in enumerate(heads)
    )
    rows = ""
    for scene, feature in found[:MOST_ROWS]:
        names = [*([scene.name] if several else []), feature.name]
        numbers = [number(ccp_of(feature.cloudy_px, feature.valid_px))]
        if with_thin:
            thin = feature.thin_px
            share = None if thin is None else ccp_of(thin, feature.valid_px)
            numbers.append(number(share))
        numbers += [f"{feature.cloudy_px:,}", f"{feature.valid_px:,}"]
        cells = "".join(f'<td title="{text(said)}">{name(said)}</td>' for said in names)
        cells += "".join(f'<td class="n">{said}</td>' for said in numbers)
        rows += f"<tr>{cells}</tr>\n"
    note = "Pixels whose centres lie in the feature. One without a valid pixel has no CCP."
    if len(found) > MOST_ROWS:
        note += f" Of {len(found):,}, the first {MOST_ROWS:,} are listed; features.csv has all."
    return section(
        "Features",
        '<div class="scroll" tabindex="0" role="region" aria-label="Table of features">'
        f'<table class="list"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>',
        note,
        long=True,
    )


def _known(scene: SceneReport) -> float:
    return scene.cloudy_px / scene.valid_px if scene.valid_px else -1.0


def _row(scene: SceneReport, with_group: bool, with_thin: bool) -> str:
    ccp = ccp_of(scene.cloudy_px, scene.valid_px)
    bar = "" if math.isnan(ccp) else f'<b style="width:{100 * ccp:.1f}%"></b>'
    cells = [f'<td title="{text(scene.name)}">{name(scene.name)}</td>']
    cells += [f"<td>{text(scene.group or '–')}</td>"] if with_group else []
    cells.append(
        f'<td class="n" data-v="{sort_key(ccp)}"><span class="meter" aria-hidden="true">{bar}'
        f"</span>{number(ccp)}</td>"
    )
    if with_thin:
        thin = None if scene.thin_px is None else ccp_of(scene.thin_px, scene.valid_px)
        cells.append(f'<td class="n" data-v="{sort_key(thin)}">{number(thin)}</td>')
    for count in (scene.cloudy_px, scene.valid_px, scene.width, scene.height):
        cells.append(f'<td class="n" data-v="{count}">{count:,}</td>')
    return f"<tr>{''.join(cells)}</tr>\n"
