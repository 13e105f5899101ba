"""Tests of the pages' colours: text and bars stand out, by day and by night."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from decr.report.histogram import COLOURS


def colours(scheme: str) -> dict[str, str]:
    """Named colours of the style sheet: those of a scheme over the ones that are always there."""
    style = resources.files("decr.report").joinpath("assets", "page.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    found = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", light))
    return found | (dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", dark)) if scheme == "dark" else {})


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_known_for_black_on_white() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_bars_stand_out(scheme: str) -> None:
    found = colours(scheme)
    for ground in (found["bg"], found["panel"]):
        for name in ("ink", "soft", "accent"):
            assert contrast(found[name], ground) >= 4.5, name
        for name in ("cloud", "g0", "g1", "g2", "g3", "g4", "g5"):
            assert contrast(found[name], ground) >= 3, name


def test_a_histogram_has_the_same_colours_alone_and_in_a_page() -> None:
    found = colours("light")
    assert tuple(found[f"g{i}"] for i in range(6)) == COLOURS
