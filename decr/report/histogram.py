"""Histogram of CCP in bins of 0.1, one colour a group: laid out once, drawn as SVG or as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from decr.bins import BINS, counts
from decr.report.document import text

COLOURS = ("#0072b2", "#c96a00", "#008a64", "#b85c93", "#7a5195", "#6b7680")
"""One per group, told apart with any colour vision; a seventh group begins again."""

_INK = {"ink": "#1b2126", "soft": "#56606a", "line": "#d9dde1", "paper": "#ffffff"}
_WIDTH, _HEIGHT = 720, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 72, 58
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle; tone is a name of a colour: ``g0``..``g5`` or "paper"."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    said: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A horizontal line from the left to the right of the plot."""

    y: float


@dataclass(frozen=True, slots=True)
class Label:
    """Text on its baseline; a spare one is left out where a page is narrow."""

    x: float
    y: float
    words: str
    anchor: Literal["start", "middle", "end"] = "middle"
    tone: str = "soft"
    size: int = 13
    upright: bool = False
    spare: bool = False


Mark = Box | Rule | Label


def histogram_svg(groups: Mapping[str, Sequence[float]], title: str, unit: str = "scenes") -> str:
    """Draw a histogram as SVG that stands alone, or in a page that gives its classes colours.

    Parameters
    ----------
    groups
        CCP values by group, such as "train" and "test"; one group alone gets no legend.
    title
        Plain text above.
    unit
        What is counted, in the plural.

    Raises
    ------
    ValueError
        For a value outside 0..1, or without a group.
    """
    marks = _layout(groups, title, unit)
    drawn = "\n".join(_svg(mark) for mark in marks)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="histogram" role="img" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'font-family="{_FONT}">\n'
        f"<title>{text(title)}</title>\n<desc>{text(_told(groups, unit))}</desc>\n{drawn}\n</svg>\n"
    )


def histogram_png(groups: Mapping[str, Sequence[float]], title: str, unit: str = "scenes") -> bytes:
    """Draw the same as PNG, on white, two pixels per unit of the SVG.

    Raises
    ------
    ValueError
        As `histogram_svg`.
    """
    scale = 2
    image = Image.new("RGB", (_WIDTH * scale, _HEIGHT * scale), _INK["paper"])
    draw = ImageDraw.Draw(image)
    for mark in _layout(groups, title, unit):
        if isinstance(mark, Box):
            corners = (mark.x, mark.y, mark.x + mark.width, mark.y + mark.height)
            left, top, right, bottom = (round(scale * value) for value in corners)
            right, top = max(left, right - 1), min(top, bottom - 1)  # a pixel at least
            draw.rectangle((left, top, right, bottom - 1), fill=_colour(mark.tone))
        elif isinstance(mark, Rule):
            y = round(scale * mark.y)
            draw.line((_LEFT * scale, y, (_WIDTH - _RIGHT) * scale, y), _INK["line"], scale)
        else:
            _write(image, draw, mark, scale)
    buffer = io.BytesIO()
    image.quantize(64).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _layout(groups: Mapping[str, Sequence[float]], title: str, unit: str) -> list[Mark]:
    """Where everything stands, whatever draws it."""
    if not groups:
        raise ValueError("a histogram needs at least one group of values")
    bins = {group: counts(values) for group, values in groups.items()}
    step = _step(max(max(found) for found in bins.values()))
    top = step * max(1, -(-max(max(found) for found in bins.values()) // step))
    floor, high = _HEIGHT - _BOTTOM, _HEIGHT - _BOTTOM - (_TOP if len(bins) > 1 else _TOP - 22)
    wide = (_WIDTH - _LEFT - _RIGHT) / BINS
    marks: list[Mark] = [Box(0, 0, _WIDTH, _HEIGHT, "paper")]
    marks += [Label(_LEFT, 24, title, "start", "ink", 16), *_legend(bins)]
    for value in range(0, top + 1, step):
        y = floor - high * value / top
        marks += [Rule(y), Label(_LEFT - 8, y + 4.5, f"{value:,}", "end")]
    bar = wide * 0.78 / len(bins)
    for index, (group, found) in enumerate(bins.items()):
        for place, count in enumerate(found):
            if count:
                x = _LEFT + wide * place + wide * 0.11 + bar * index
                y = floor - high * count / top
                said = f"{group + ', ' if group else ''}CCP {_range(place)}: {count:,} {unit}"
                marks.append(
                    Box(
                        x,
                        y,
                        bar - (1.5 if len(bins) > 1 else 0),
                        floor - y,
                        f"g{index % len(COLOURS)}",
                        said,
                    )
                )
                # A number over a bar needs the bar's width.
                if 7.5 * len(f"{count:,}") <= bar + 4:
                    marks.append(
                        Label(x + bar / 2, y - 5, f"{count:,}", tone="ink", size=12, spare=True)
                    )
    marks += [
        Label(_LEFT + wide * i, floor + 20, f"{i / BINS:g}", spare=i % 2 == 1)
        for i in range(BINS + 1)
    ]
    marks.append(Label(_LEFT + wide * BINS / 2, _HEIGHT - 8, "CCP (0: clear, 1: all cloud)"))
    marks.append(Label(16, floor - high / 2, unit, upright=True, spare=True))
    return marks


def _legend(bins: Mapping[str, Sequence[int]]) -> list[Mark]:
    if len(bins) < 2:
        return []
    marks: list[Mark] = []
    x = float(_LEFT)
    for index, (group, found) in enumerate(bins.items()):
        words = f"{group or 'no group'} ({sum(found):,})"
        marks.append(Box(x, 40, 13, 13, f"g{index % len(COLOURS)}"))
        marks.append(Label(x + 19, 51, words, "start"))
        x += 43 + 7.4 * len(words)
    return marks


def _step(largest: int) -> int:
    """A round distance of the lines, so that there are at most six."""
    step = 1
    while step * 5 < largest:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return step


def _range(place: int) -> str:
    last = place == BINS - 1
    return f"{place / BINS:g} to {'' if last else 'below '}{(place + 1) / BINS:g}"


def _told(groups: Mapping[str, Sequence[float]], unit: str) -> str:
    """The numbers, for those who cannot see the bars."""
    parts = []
    for group, values in groups.items():
        found = ", ".join(f"{_range(i)}: {n}" for i, n in enumerate(counts(values)) if n)
        parts.append(f"{group + ': ' if group else ''}{found or 'none'}")
    return f"Number of {unit} by CCP. {'; '.join(parts)}."


def _colour(tone: str) -> str:
    return COLOURS[int(tone[1:])] if tone[1:].isdigit() else _INK[tone]


def _svg(mark: Mark) -> str:
    if isinstance(mark, Box):
        tip = f"<title>{text(mark.said)}</title>" if mark.said else ""
        return (
            f'<rect class="{mark.tone}" x="{mark.x:.1f}" y="{mark.y:.1f}" '
            f'width="{mark.width:.1f}" height="{mark.height:.1f}" '
            f'fill="{_colour(mark.tone)}">{tip}</rect>'
        )
    if isinstance(mark, Rule):
        return (
            f'<path class="line" d="M{_LEFT} {mark.y:.1f}H{_WIDTH - _RIGHT}" '
            f'stroke="{_INK["line"]}"/>'
        )
    turned = f' transform="rotate(-90 {mark.x:.1f} {mark.y:.1f})"' if mark.upright else ""
    kind = f"{mark.tone} spare" if mark.spare else mark.tone
    return (
        f'<text class="{kind}" x="{mark.x:.1f}" y="{mark.y:.1f}" font-size="{mark.size}" '
        f'text-anchor="{mark.anchor}" fill="{_INK[mark.tone]}"{turned}>{text(mark.words)}</text>'
    )


def _write(image: Image.Image, draw: ImageDraw.ImageDraw, label: Label, scale: int) -> None:
    """Text of a PNG, in the font that Pillow brings along."""
    font = ImageFont.load_default(label.size * scale)
    at = label.x * scale, label.y * scale
    anchor = {"start": "ls", "middle": "ms", "end": "rs"}[label.anchor]
    words = label.words.encode("utf-8", "backslashreplace").decode()
    if not label.upright:
        draw.text(at, words, _INK[label.tone], font, anchor)
        return
    left, top, right, bottom = (round(v) for v in font.getbbox(words))
    sheet = Image.new("RGB", (right - left + 4, bottom - top + 4), _INK["paper"])
    ImageDraw.Draw(sheet).text((2 - left, 2 - top), words, _INK[label.tone], font)
    turned = sheet.rotate(90, expand=True)
    image.paste(turned, (round(at[0] - turned.width / 2), round(at[1] - turned.height / 2)))
