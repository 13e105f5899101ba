"""The page of a restoration: before and after under a slider, what was changed, and how."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from decr.report.document import (
    DEFINITION,
    choice,
    document,
    drawn_out,
    duration,
    facts,
    headline,
    number,
    percent,
    section,
    shape,
    text,
)
from decr.report.page import key
from decr.report.pictures import (
    CLOUD,
    NO_DATA,
    WEIGHT,
    UInt8,
    cloud_layer,
    photograph,
    ramp_layer,
    weight_layer,
)
from decr.report.tilemap import scale
from decr.report.values import RestorationReport

_SEAMS = {
    "score": (
        "Seam score",
        "ratio",
        "mean squared difference of neighbouring pixels across tile borders, over that elsewhere, "
        "where pixels are wholly restored; 1 or less: none shows",
    ),
    "score_on_grid": (
        "Seam score on the networks' grid",
        "ratio",
        "the same over differences on the grid of 16 px that the networks leave all over the "
        "scene, on which the borders lie; 1 or less: tiles add nothing",
    ),
    "overlap_rms": (
        "Tiles apart in their overlaps",
        "grey levels of 8 bits",
        "root mean square difference of neighbouring tiles where they overlap, before blending",
    ),
    "tone_rms_before": (
        "Tones apart, before settling",
        "grey levels of 8 bits",
        "the same for means of cells of a sixteenth of a tile: what shows from afar",
    ),
    "tone_rms": (
        "Tones apart, after settling",
        "grey levels of 8 bits",
        "what is left of it when neighbouring tiles have been brought together",
    ),
}
_STAGES = {
    "preparing": "opening the scene, loading the networks",
    "survey": "finding the clouds of the whole scene",
    "ground": "measuring clear ground around what is to be restored",
    "restore": "restoring tiles, settling their tones",
    "write": "writing and checking the output",
    "report": "this page: quicklooks and the clouds of the output",
}


def restoration_page(report: RestorationReport) -> str:
    """A self-contained HTML page of a restoration.

    Raises
    ------
    ValueError
        If the pictures of a report are not of one size.
    """
    _check(report)
    body = headline(_figures(report)) + _view(report)
    body += _seams(report.seams) + _stages(report.stages_s)
    body += section("Provenance", facts({"CCP": DEFINITION, **report.facts}))
    lead = (
        '<p class="lead">Only pixels with a change weight above 0 may differ from the input. '
        "Under thick cloud the restored ground is invented: do not measure anything there.</p>"
    )
    return document(report.name, "Restoration report", lead, body, ["layers.js", "slider.js"])


def _check(report: RestorationReport) -> None:
    shape = report.before.shape[:2]
    layers = {"after": report.after, "overlay": report.overlay, "weight": report.weight}
    if report.allocation is not None:
        layers["allocation"] = report.allocation
    for words, values in layers.items():
        if values.shape[:2] != shape:
            raise ValueError(
                f"{report.name}: {words} {values.shape[:2]} is not of the size of before {shape}"
            )


def _figures(report: RestorationReport) -> list[tuple[str, str, str]]:
    after = report.ccp_after
    found = [
        (
            "CCP before",
            number(report.ccp_before),
            f"{percent(report.ccp_before)} of valid pixels were cloudy",
        ),
        (
            "CCP after",
            number(after),
            "not measured" if after is None else f"{percent(after)}, by the same detector",
        ),
    ]
    if "score" in report.seams:
        found.append(("Seam score", number(report.seams["score"]), "1 or less: no border shows"))
    if report.stages_s:
        stages = [s for s in report.stages_s if s != "report"]
        total = sum(report.stages_s[s] for s in stages)
        found.append(("Time", duration(total), "from opening the scene to the finished file"))
    return found


def _view(report: RestorationReport) -> str:
    """The two pictures, the slider, and layers over both."""
    layers = [
        ("mask", "Cloud mask", cloud_layer(report.overlay)),
        ("weight", "Change weight", weight_layer(report.weight)),
    ]
    if report.allocation is not None:
        shown = _allocated(report.allocation, report.weight)
        low, high = _range(report.allocation, shown)
        spread = (report.allocation.astype(np.float32) - low) * (255 / max(1, high - low))
        values = np.clip(np.rint(spread), 0, 255).astype(np.uint8)
        layers.append(("allocation", "Mean W", ramp_layer(values, shown)))
    options = [("none", "Pictures only"), *((layer, words) for layer, words, _ in layers)]
    drawn = "".join(
        f'<img class="layer" data-layer="{layer}" hidden src="{source}" alt="{words}">'
        for layer, words, source in layers
    )
    height, width = report.before.shape[:2]
    view = (
        f'<div class="pile compare">'
        f'<img class="before" src="{photograph(report.before)}" alt="Quicklook before" '
        f'draggable="false">'
        f'<img class="after" src="{photograph(report.after)}" alt="Quicklook after" '
        f'draggable="false">{drawn}'
        f'<span class="rule"></span><span class="tag left">Before</span>'
        f'<span class="tag right">After</span></div>'
        f'<div class="slide"><label for="position">Before</label>'
        f'<input type="range" id="position" min="0" max="100" step="0.5" value="50" '
        f'aria-label="Line between before and after"><span>After</span></div>'
    )
    tools = choice("Layer", "radio", options, "none") + _legends(report)
    note = (
        '<span class="screen">Drag over the picture, or use the slider.</span> '
        f"Both pictures have one stretch.{drawn_out(height, width)}"
    )
    return section(
        "Before and after",
        f'<div class="tools screen">{tools}</div>'
        f'<figure class="view" {shape(height, width)}>{view}</figure>',
        note,
    )


def _allocated(allocation: UInt8, weight: UInt8) -> NDArray[np.bool_]:
    """Where W is known and matters."""
    return np.asarray((allocation > 0) & (weight > 0))


def _range(allocation: UInt8, shown: NDArray[np.bool_]) -> tuple[int, int]:
    """Least and greatest W of a map, in 255ths: all of it lies close together."""
    values = allocation[shown]
    return (int(values.min()), int(values.max())) if values.size else (0, 255)


def _legends(report: RestorationReport) -> str:
    mask = key(CLOUD, "cloudy before") + (key(NO_DATA, "no data") if 2 in report.overlay else "")
    r, g, b = WEIGHT
    bar = (
        f'<span class="scale">0: left as it is<b style="background:linear-gradient(90deg,'
        f"rgb({r} {g} {b} / 0),rgb({r} {g} {b} / .75))\"></b>1: wholly the model's</span>"
    )
    parts = {"mask": mask, "weight": bar}
    if report.allocation is not None:
        low, high = _range(report.allocation, _allocated(report.allocation, report.weight))
        ends = f"{low / 255:.2f}", f"{high / 255:.2f}"
        parts["allocation"] = (
            f"{scale('W', *ends)}<span>Weight of the reference network's output beside "
            f"diffusion's, mean over steps and bands; shown where pixels may change</span>"
        )
    return "".join(
        f'<div class="legend" data-layer="{layer}" hidden>{content}</div>'
        for layer, content in parts.items()
    )


def _seams(seams: Mapping[str, float]) -> str:
    if not seams:
        return ""
    rows = ""
    for which, value in seams.items():
        words, unit, said = _SEAMS.get(which, (which, "", ""))
        digits = 3 if which.startswith("score") else 2
        rows += (
            f'<tr><th scope="row">{text(words)}</th>'
            f'<td class="n">{number(value, digits)}</td><td>{text(unit)}</td>'
            f"<td class=wrap>{text(said)}</td></tr>"
        )
    return section(
        "Tile borders",
        f'<div class="flow"><table class="list plain"><tbody>{rows}</tbody></table></div>',
    )


def _stages(stages: Mapping[str, float]) -> str:
    total = sum(stages.values())
    if not stages or not total > 0 or not math.isfinite(total):
        return ""
    bar, rows = "", ""
    for index, (stage, seconds) in enumerate(stages.items()):
        share = seconds / total
        colour = f"c{index % 6}"
        bar += f'<b class="{colour}" style="flex:{share:.5f} 0 0"></b>'
        rows += (
            f'<tr><th scope="row"><i class="dot {colour}"></i>{text(stage)}</th>'
            f'<td class="n">{seconds:,.2f} s</td><td class="n">{percent(share)}</td>'
            f"<td class=wrap>{text(_STAGES.get(stage, ''))}</td></tr>"
        )
    rows += (
        f'<tr><th scope="row">all</th><td class="n">{total:,.2f} s</td>'
        f'<td class="n">100.0 %</td><td></td></tr>'
    )
    told = ", ".join(f"{stage} {percent(s / total)}" for stage, s in stages.items())
    return section(
        "Time by stage",
        f'<div class="stages" role="img" aria-label="{text(told)}">{bar}</div>'
        f'<div class="flow"><table class="list plain"><tbody>{rows}</tbody></table></div>',
        "Wall-clock seconds, one stage after the other.",
    )
