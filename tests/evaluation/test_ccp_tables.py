"""Tests of the script behind detectors.md, and of what `compact` finds over unseen imagery."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from decr.dataset.samples import ClearImage
from decr.training.recipe import read_recipe
from docs.make_ccp_tables import (
    PAGE,
    RECIPE,
    THIN,
    Labelled,
    alone,
    errors_of,
    flight,
    labelled_rows,
    of_one_flight,
    skies,
    sky_rows,
    unseen,
    write,
)


def test_the_page_is_filled() -> None:
    text = PAGE.read_text()
    for part in ("python docs/make_ccp_tables.py --root IMAGERY", "| compact |", "| threshold |"):
        assert part in text


def test_scores_of_images_that_are_easy(tmp_path: Path) -> None:
    pixels = np.full((4, 256, 256), 0.1, np.float32)
    pixels[:, :64] = 0.95
    write(tmp_path / "a.tif", pixels)
    cloudy = np.zeros((256, 256), bool)
    cloudy[:128] = True
    rows = labelled_rows("easy", [Labelled(tmp_path / "a.tif", "b,g,r,n", cloudy)], tmp_path / "o")
    assert rows[1] == "| easy | 1 | threshold | 0.500 | 1.000 | 0.500 | -25.0 | 25.0 |"


def test_skies_are_seeded_and_counted() -> None:
    rng = np.random.default_rng(0)
    dn = rng.integers(20, 90, (3, 160, 160)).astype(np.uint8)
    images = [ClearImage("a", dn, ("red", "green", "blue"), 0.6, 255.0)]
    one, other = skies(images, 3, 256), skies(images, 3, 256)
    assert one == other
    assert len(one) == 3
    rows = sky_rows("quilt", [*one, *one])
    assert rows[-1].startswith("| quilt | all | 6 | ")
    assert errors_of(one, "compact").shape == (3,)
    clear = alone(images, clouded=False)
    assert [(sky.thickness, sky.true) for sky in clear] == [(0.0, 0.0)]
    assert sky_rows("one", clear)[0].startswith("| one | none | 1 | 0.0 | compact | +")
    assert alone(images, clouded=True)[0].thickness > 0
    assert [sky.true for sky in skies(images, 2, 256, clouded=False)] == [0.0, 0.0]


def test_a_flight_is_a_place_and_a_year() -> None:
    names = ("a_2018_1.tif", "a_2018_23.tif", "a_2020_1.tif", "b_3.tif")
    images = [ClearImage(n, np.zeros((1, 2, 2), np.uint8), ("red",), 1.0, 255.0) for n in names]
    assert [i.name for i in of_one_flight(images, "a_2018_9.tif")] == list(names[:2])
    assert flight("m_3708020_sw_17_1_p6_new.tif") == flight("m_3708020_sw_17_1_p17_new.tif")


def test_compact_over_unseen_imagery_is_within_three_points_as_a_rule(shared: Path) -> None:
    """Simulated clouds that are not thin over held-out images: the median error of CCP."""
    if not (shared / "data" / "clear_highres_nir").is_dir():
        pytest.skip(f"real data absent: no imagery in {shared / 'data'}")
    found = skies(unseen(read_recipe(RECIPE, shared / "data")), 16, 1024, thick=True)
    assert len(found) >= 8
    assert all(sky.thickness >= THIN for sky in found)
    assert np.median(np.abs(errors_of(found, "compact"))) <= 3.0
    assert abs(errors_of(found, "compact").mean()) < abs(errors_of(found, "threshold").mean())
