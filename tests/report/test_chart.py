"""Tests of figures: what is drawn where, on PNG pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageColor

from decr.report.chart import Panel, bars, chart, png, strip, ticks
from decr.report.histogram import COLOURS


def of_colour(image: Image.Image, colour: str) -> np.ndarray:
    """(N, 2) row and column of pixels of a colour."""
    return np.argwhere((np.array(image) == ImageColor.getrgb(colour)).all(axis=2))


@given(low=st.floats(-1e4, 1e4), span=st.floats(1e-3, 1e4))
def test_ticks_are_round_few_and_inside(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert 1 <= len(found) <= 7
    slack = 1e-6 * (1 + abs(low) + span)
    assert all(low - slack <= value <= low + span + slack for value in found)


def test_a_rising_line_rises_and_levels_are_drawn() -> None:
    image = chart([Panel("y", "x", {"a": [(0, 0), (1, 1), (2, 4)]}, {"b": 2.0})])
    at = of_colour(image, COLOURS[0])
    plot = at[at[:, 0] > 100]
    left, right = plot[:, 1].min(), plot[:, 1].max()
    assert plot[plot[:, 1] <= left + 6, 0].mean() > plot[plot[:, 1] >= right - 6, 0].mean() + 100
    assert len(of_colour(image, COLOURS[1])) > 100
    logged = chart([Panel("y", "x", {"a": [(1, 0), (10, 1), (100, 2)]}, log_x=True)])
    columns = of_colour(logged, COLOURS[0])
    columns = columns[columns[:, 0] > 100][:, 1]
    assert (columns.min() + columns.max()) / 2 == pytest.approx(np.median(columns), abs=12)


def test_a_legend_is_never_cut_off() -> None:
    few = chart([Panel("y", "x", {"a": [(0, 0), (1, 1)]})])
    long = {f"a very long name number {n}": [(0, n), (1, n)] for n in range(4)}
    assert chart([Panel("y", "x", long)]).width > few.width


def test_what_is_not_finite_is_left_out_and_nothing_at_all_is_said() -> None:
    chart([Panel("y", "x", {"a": [(0, 1.0), (1, float("inf"))]}, {"b": float("nan")})])
    with pytest.raises(ValueError, match="no finite point"):
        chart([Panel("y", "x", {"a": [(0, float("nan"))]})])
    with pytest.raises(ValueError, match="no positive"):
        bars("t", {"a": {"b": 0.0}}, "u")


def test_longer_bars_are_of_larger_numbers() -> None:
    image = bars("t", {"small": {"k": 2.0}, "large": {"k": 200.0}}, "u")
    at = of_colour(image, COLOURS[0])
    at = at[at[:, 0] > 110]
    rows = np.unique(at[:, 0])
    first, last = at[at[:, 0] == rows[3]][:, 1], at[at[:, 0] == rows[-3]][:, 1]
    assert last.max() > first.max() + 100


def test_pictures_stand_in_a_strip_and_below_one_another() -> None:
    red, blue = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = blue[..., 2] = 255
    image = strip([("row", [("one", red), ("two", blue)])], side_px=40)
    reds, blues = of_colour(image, "#ff0000"), of_colour(image, "#0000ff")
    assert len(reds) == len(blues) == 80 * 80
    assert reds[:, 1].max() < blues[:, 1].min()
    with Image.open(io.BytesIO(png(image, image))) as both:
        assert both.size == (image.width, 2 * image.height)
