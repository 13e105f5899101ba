"""Figures of analyses as PNG: panels with lines, horizontal bars, strips of pictures."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from decr.report.histogram import COLOURS

UInt8 = NDArray[np.uint8]
Points = Sequence[tuple[float, float]]

_INK, _SOFT, _LINE, _PAPER = "#1b2126", "#56606a", "#d9dde1", "#ffffff"
_SCALE = 2
"""Pixels per unit, so that text is sharp."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 16, 30, 46
_PANEL_W, _PANEL_H, _LEGEND_H = 360, 260, 26
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes.

    Attributes
    ----------
    title, x_label
        Plain text.
    lines
        (x, y) points by name; points that are not finite are left out.
    levels
        Dashed horizontal lines by name.
    log_x
        Whether x is logarithmic; then the points' own x are its ticks.
    """

    title: str
    x_label: str
    lines: Mapping[str, Points]
    levels: Mapping[str, float] = field(default_factory=dict)
    log_x: bool = False


def chart(panels: Sequence[Panel]) -> Image.Image:
    """Panels side by side, under one legend.

    Raises
    ------
    ValueError
        Without a finite point to draw.
    """
    names = list(dict.fromkeys(n for p in panels for n in (*p.lines, *p.levels)))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    dashed = {name for panel in panels for name in panel.levels}
    legend = _LEFT + sum(44 + _wide(name) for name in names)
    image = _sheet(max(_PANEL_W * len(panels), legend), _PANEL_H + _LEGEND_H)
    draw = ImageDraw.Draw(image)
    x = float(_LEFT)
    for name in names:
        _stroke(draw, [(x, 13), (x + 22, 13)], colours[name], name in dashed)
        _write(draw, x + 28, 18, name)
        x += 44 + _wide(name)
    for index, panel in enumerate(panels):
        _panel(draw, panel, index * _PANEL_W, colours)
    return image


def bars(title: str, values: Mapping[str, Mapping[str, float]], unit: str) -> Image.Image:
    """Horizontal bars of positive numbers on a logarithmic axis: a group per name, a colour a kind.

    Raises
    ------
    ValueError
        Without a positive number.
    """
    kinds = list(dict.fromkeys(kind for row in values.values() for kind in row))
    numbers = [v for row in values.values() for v in row.values() if v > 0]
    if not numbers:
        raise ValueError(f"{title}: no positive number to draw")
    low, high = math.floor(math.log10(min(numbers))), math.ceil(math.log10(max(numbers)) + 1e-9)
    left, right = 24 + max(_wide(name) for name in values), 90
    height = 16 * len(kinds) + 10
    image = _sheet(720, 60 + height * len(values) + 34)
    draw = ImageDraw.Draw(image)
    _write(draw, 12, 22, title, _INK, 15)
    x = float(left)
    for index, kind in enumerate(kinds):
        _box(draw, x, 34, 12, 12, COLOURS[index % len(COLOURS)])
        _write(draw, x + 18, 45, kind)
        x += 40 + _wide(kind)
    span = 720 - left - right
    foot = 58 + height * len(values)
    for power in range(low, high + 1):
        at = left + span * (power - low) / max(1, high - low)
        _stroke(draw, [(at, 56), (at, foot)], _LINE)
        _write(draw, at, foot + 15, f"{10.0**power:g}", anchor="ms")
    _write(draw, left + span / 2, foot + 31, unit, anchor="ms")
    for row, (name, found) in enumerate(values.items()):
        top = 60 + height * row
        _write(draw, left - 8, top + height / 2 + 2, name, _INK, anchor="rs")
        for index, kind in enumerate(kinds):
            if found.get(kind, 0) > 0:
                share = (math.log10(found[kind]) - low) / max(1, high - low)
                y = top + 16 * index
                _box(draw, left, y, max(1.0, span * share), 13, COLOURS[index % len(COLOURS)])
                _write(draw, left + span * share + 5, y + 11, f"{found[kind]:.4g}", size=12)
    return image


def strip(
    rows: Sequence[tuple[str, Sequence[tuple[str, UInt8]]]], side_px: int = 128
) -> Image.Image:
    """Rows of square pictures, each with a caption below, after the row's name.

    Parameters
    ----------
    rows
        (name, ((caption, (h, w, 3) uint8), ...)).
    side_px
        Side of each picture in the figure.
    """
    most = max(len(pictures) for _, pictures in rows)
    step, left = side_px + 8, 110
    image = _sheet(left + step * most + 8, (side_px + 28) * len(rows) + 8)
    draw = ImageDraw.Draw(image)
    for row, (name, pictures) in enumerate(rows):
        top = 8 + row * (side_px + 28)
        for line, word in enumerate(_wrapped(name)):
            _write(draw, 10, top + 20 + 17 * line, word, _INK)
        for index, (caption, picture) in enumerate(pictures):
            size = (side_px * _SCALE, side_px * _SCALE)
            shown = Image.fromarray(np.ascontiguousarray(picture)).resize(
                size, Image.Resampling.NEAREST
            )
            image.paste(shown, (round((left + step * index) * _SCALE), top * _SCALE))
            _write(
                draw, left + step * index + side_px / 2, top + side_px + 15, caption, anchor="ms"
            )
    return image


def png(*images: Image.Image) -> bytes:
    """Images below one another as one PNG."""
    sheet = Image.new("RGB", (max(i.width for i in images), sum(i.height for i in images)), _PAPER)
    top = 0
    for image in images:
        sheet.paste(image, (0, top))
        top += image.height
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def ticks(low: float, high: float) -> list[float]:
    """Round numbers over a range, at most about six.

    Examples
    --------
    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def _panel(
    draw: ImageDraw.ImageDraw, panel: Panel, left: float, colours: Mapping[str, str]
) -> None:
    lines = {
        name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        for name, points in panel.lines.items()
    }
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    ys += [y for y in panel.levels.values() if math.isfinite(y)]
    if not xs:
        raise ValueError(f"{panel.title}: no finite point to draw")
    x_low, x_high = _range(xs, 0.0)
    y_low, y_high = _range(ys, 0.06)
    wide, high = _PANEL_W - _LEFT - _RIGHT, _PANEL_H - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        ends = (math.log(x_low), math.log(x_high)) if panel.log_x else (x_low, x_high)
        share = ((math.log(x) if panel.log_x else x) - ends[0]) / (ends[1] - ends[0])
        return (
            left + _LEFT + wide * share,
            _LEGEND_H + _TOP + high * (1 - (y - y_low) / (y_high - y_low)),
        )

    _write(draw, left + _LEFT, _LEGEND_H + 20, panel.title, _INK, 14)
    for y in ticks(y_low, y_high):
        _stroke(draw, [place(x_low, y), place(x_high, y)], _LINE)
        _write(draw, left + _LEFT - 7, place(x_low, y)[1] + 4, f"{y:g}", size=12, anchor="rs")
    for x in sorted(set(xs)) if panel.log_x else ticks(x_low, x_high):
        at = place(x, y_low)
        _write(draw, at[0], at[1] + 16, f"{x:g}", size=12, anchor="ms")
    _write(draw, left + _LEFT + wide / 2, _LEGEND_H + _PANEL_H - 8, panel.x_label, anchor="ms")
    for name, y in panel.levels.items():
        if math.isfinite(y):
            _stroke(draw, [place(x_low, y), place(x_high, y)], colours[name], dashed=True)
    for name, points in lines.items():
        placed = [place(x, y) for x, y in points]
        if len(placed) > 1:
            _stroke(draw, placed, colours[name])
        for x, y in placed:
            draw.ellipse(
                [round(v * _SCALE) for v in (x - 3, y - 3, x + 3, y + 3)], fill=colours[name]
            )


def _range(values: Sequence[float], margin: float) -> tuple[float, float]:
    """Ends of an axis, never equal."""
    low, high = min(values), max(values)
    if high - low < 1e-9 * max(1.0, abs(high)):
        pad = 0.05 * abs(high) or 1.0
        return low - pad, high + pad
    return low - margin * (high - low), high + margin * (high - low)


def _sheet(width: float, height: float) -> Image.Image:
    return Image.new("RGB", (round(width * _SCALE), round(height * _SCALE)), _PAPER)


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size * _SCALE)


def _wide(words: str) -> float:
    return float(_font(13).getlength(words)) / _SCALE


def _wrapped(name: str) -> list[str]:
    """Words in lines of at most 14 letters, but for longer words."""
    words = " ".join(name.split())
    return textwrap.wrap(words, 14, break_long_words=False, break_on_hyphens=False)


def _write(
    draw: ImageDraw.ImageDraw,
    x: float,
    y: float,
    words: str,
    colour: str = _SOFT,
    size: int = 13,
    anchor: str = "ls",
) -> None:
    shown = words.encode("utf-8", "backslashreplace").decode()
    draw.text((x * _SCALE, y * _SCALE), shown, colour, _font(size), anchor)


def _box(
    draw: ImageDraw.ImageDraw, x: float, y: float, width: float, height: float, colour: str
) -> None:
    draw.rectangle([round(v * _SCALE) for v in (x, y, x + width, y + height)], fill=colour)


def _stroke(
    draw: ImageDraw.ImageDraw,
    points: Sequence[tuple[float, float]],
    colour: str,
    dashed: bool = False,
) -> None:
    at = [(round(x * _SCALE), round(y * _SCALE)) for x, y in points]
    if not dashed:
        draw.line(at, colour, _SCALE if colour == _LINE else 2 * _SCALE)
        return
    (x0, y0), (x1, _) = at[0], at[-1]
    for x in range(x0, x1, 10 * _SCALE):
        draw.line([(x, y0), (min(x + 6 * _SCALE, x1), y0)], colour, _SCALE)
