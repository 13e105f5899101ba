"""Tests of the script behind uncertainty.md: known answers, and a page that is true."""

from __future__ import annotations

import re

import numpy as np
import pytest

from decr.evaluation.calibrate import Reliability, cross_validated
from decr.zoo.bundle import read_card
from decr.zoo.embedded import embedded_path
from docs.make_uncertainty import (
    LIMIT,
    PAGE,
    Tried,
    bins,
    crossed,
    others,
    outcome,
    place_of,
    sentence,
)
from tests.evaluation.test_calibrate import images

MODELS = ("embedded-rgb", "embedded-rgbn")
ROW = re.compile(r"^\| (expected|measured), % \| (.+) \|$", re.MULTILINE)


def test_the_same_ground_is_one_place() -> None:
    assert place_of("santa_monica_2016_12.tif") == place_of("santa_monica_2020_12.tif")
    assert place_of("santa_monica_2016_12.tif") != place_of("santa_monica_2016_13.tif")
    assert place_of("m_1_p6_new.tif") == place_of("m_1_p6_old.tif")


def samples() -> list[Tried]:
    rng = np.random.default_rng(0)
    return [Tried(one, rng.uniform(0, 1, one.error.size), one.error) for one in images(10)]


def test_predictors_are_compared_as_the_table_is_measured() -> None:
    found = crossed(samples(), [sample.pixels.brightness for sample in samples()])
    wanted = cross_validated([sample.pixels for sample in samples()], {})
    assert found.worst == pytest.approx(wanted.worst, rel=1e-3)
    assert found.rank_correlation == pytest.approx(wanted.rank_correlation, abs=1e-3)
    lines = [line.split(" | ") for line in others(samples())[4:]]
    brightness, change, spread = (float(line[1]) for line in lines)
    # The change was made to tell nothing, the spread to tell everything.
    assert abs(change) < 0.05 < 0.3 < brightness < spread


def test_rows_and_words_are_the_numbers() -> None:
    found = Reliability(((0.1, 0.2), (0.3, 0.3)), 0.5, 0.4, (0.6, 1.0, 1.7), 20)
    assert bins(found)[2:] == ["| expected, % | 5.0 | 15.0 |", "| measured, % | 10.0 | 15.0 |"]
    assert "factor of 2.00" in sentence(found)
    assert "0.60 to 1.70 times" in sentence(found)
    assert "No table ships" in outcome(found)
    assert "may ship" in outcome(
        Reliability(((0.2, 0.2), (0.3, 0.25)), 0.5, 0.4, (0.6, 1.0, 1.7), 20)
    )
    few = Reliability(found.bins, 0.5, 0.4, found.images, 3)
    assert "times" not in sentence(few)


@pytest.mark.parametrize("model", MODELS)
def test_the_page_claims_what_it_shows(model: str) -> None:
    text = PAGE.read_text()
    part = text.split(f"<!-- measured:{model} -->\n")[1].split(f"<!-- /measured:{model} -->")[0]
    rows = [[float(n) for n in cells.split(" | ")] for _, cells in ROW.findall(part)]
    simulated = np.array(rows[0]) / np.array(rows[1])
    # A table ships if it holds within a quarter in every tenth, and the page says which it is.
    good = 1 / LIMIT <= simulated.min() <= simulated.max() <= LIMIT
    assert ("The table may ship" in part) == good
    assert ("No table ships" in part) != good
    assert good or read_card(embedded_path(model)).errors is None
    table = [line for line in part.splitlines() if line.startswith(("| brightness", "| spread"))]
    brightness, spread = (float(line.split(" | ")[1]) for line in table)
    # What the page says of samples: somewhat better or worse than brightness, by the bands.
    said = re.sub(r"\s+", " ", text).split("their spread orders pixels ")[1]
    better, worse = said.split(" than brightness with ")[0], said.split(", ")[1]
    assert (better, worse.split(" with ")[0]) == ("somewhat better", "somewhat worse")
    assert (spread > brightness) == (model == "embedded-rgb")
    assert abs(brightness - spread) < 0.1
