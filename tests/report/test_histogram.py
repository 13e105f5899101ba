"""Tests of decr.report.histogram: bars say their numbers."""

from __future__ import annotations

import io
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from decr.report.histogram import COLOURS, histogram_png, histogram_svg

SVG = "{http://www.w3.org/2000/svg}"
GROUPS = {"train": [0.0, 0.05, 0.15, 0.15, 1.0], "test": [0.95, math.nan]}


@pytest.mark.parametrize("value", [-0.01, 1.001, math.inf])
def test_what_is_no_share_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="share from 0 to 1"):
        histogram_svg({"": [value]}, "t")


def test_bars_are_as_high_as_their_counts() -> None:
    root = ElementTree.fromstring(histogram_svg(GROUPS, "A title"))
    bars = {
        rect.findtext(f"{SVG}title"): float(rect.attrib["height"])
        for rect in root.iter(f"{SVG}rect")
        if rect.find(f"{SVG}title") is not None
    }
    assert set(bars) == {
        "train, CCP 0 to below 0.1: 2 scenes",
        "train, CCP 0.1 to below 0.2: 2 scenes",
        "train, CCP 0.9 to 1: 1 scenes",
        "test, CCP 0.9 to 1: 1 scenes",
    }
    two = bars["train, CCP 0 to below 0.1: 2 scenes"]
    assert bars["test, CCP 0.9 to 1: 1 scenes"] == pytest.approx(two / 2, abs=0.11)
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {"A title", "train (5)", "test (1)"} <= {*words}
    assert "0.9 to 1: 1" in (root.findtext(f"{SVG}desc") or "")


def test_one_group_needs_no_legend_and_nothing_no_bars() -> None:
    root = ElementTree.fromstring(histogram_svg({"": []}, "Nothing", "tiles"))
    assert len(list(root.iter(f"{SVG}rect"))) == 1  # the paper
    assert "tiles" in [text.text for text in root.iter(f"{SVG}text")]
    with pytest.raises(ValueError, match="at least one group"):
        histogram_svg({}, "t")


def test_hostile_groups_and_titles_stay_text() -> None:
    evil = '<script>alert("1")</script>'
    root = ElementTree.fromstring(histogram_svg({evil: [0.1], "b": [0.2]}, evil))
    assert not list(root.iter(f"{SVG}script"))
    assert evil in [text.text for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("many", [1_000, 300_000])
def test_the_png_shows_one_among_many(many: int) -> None:
    data = histogram_png({"": [0.0] * many + [0.55]}, "t")
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    blue = np.array([int(COLOURS[0][i : i + 2], 16) for i in (1, 3, 5)])
    drawn = (np.abs(picture - blue).max(axis=-1) < 8).any(axis=0)
    assert drawn[:720].any()
    assert drawn[720:].any()


def test_the_png_shows_the_same_bars() -> None:
    data = histogram_png(GROUPS, "Title é")
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert picture.shape == (680, 1440, 3)
    assert len(data) < 40_000
    areas = {}
    for colour in COLOURS[:3]:
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        areas[colour] = int((np.abs(picture - wanted).max(axis=-1) < 8).sum())
    # Five scenes to one, and equal keys of the legend.
    train, test, nobody = areas.values()
    key = 26 * 26
    assert (train - key) / (test - key) == pytest.approx(5, rel=0.03)
    assert nobody == 0
