"""Tests of the script behind detectors.md, and of what `compact` finds over unseen imagery."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from decr.dataset.samples import ClearImage
from decr.training.recipe import read_recipe
from docs.make_ccp_tables import (
    BANDS,
    FOUR,
    PAGE,
    RECIPE,
    THIN,
    THREE,
    Labelled,
    Sky,
    alone,
    by_thickness,
    errors_of,
    labelled_rows,
    moved,
    skies,
    sky_rows,
    unseen,
    write,
)


def test_the_page_is_filled() -> None:
    text = PAGE.read_text()
    for part in (
        "python docs/make_ccp_tables.py --root IMAGERY",
        "| compact |",
        f"| {THREE} |",
        f"| {FOUR} |",
    ):
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
    dn = rng.integers(20, 90, (4, 160, 160)).astype(np.uint8)
    images = [ClearImage("a", dn, BANDS, 0.6, 255.0)]
    one, other = skies(images, 3, 256), skies(images, 3, 256)
    assert one == other
    assert len(one) == 3
    rows = sky_rows("quilt", [*one, *one])
    assert rows[-1].startswith("| quilt | all | 6 | ")
    assert errors_of(one, FOUR).shape == (3,)
    assert errors_of(one, FOUR).tolist() != errors_of(one, THREE).tolist()


def test_skies_are_told_apart_by_thickness() -> None:
    found = [Sky(depth, 0.5, 0.25 + depth / 4, {}) for depth in (0.0, 0.1, 0.2, 0.5, 3.0)]
    assert {name: len(chosen) for name, chosen in by_thickness(found).items()} == {
        "faint: optical thickness below 0.2": 1,
        "thin: below 0.5": 1,
        "others": 2,
        "all but faint": 3,
        "all": 4,
        "none": 1,
    }
    assert by_thickness(found[:1]) == {"none": found[:1]}
    assert moved(found[1:3]) == pytest.approx(100 * (0.225 + 0.2) / 2)


def test_the_truth_moves_with_the_edge_of_the_mask() -> None:
    image = ClearImage("a", np.full((4, 160, 160), 60, np.uint8), BANDS, 0.6, 255.0)
    found = skies([image], 6, 256)
    assert all(sky.narrow <= sky.true for sky in found)
    assert any(sky.narrow < sky.true for sky in found)


def test_what_is_found_in_clear_images_is_an_error() -> None:
    def image(level: int) -> ClearImage:
        dn = np.full((4, 160, 160), level, np.uint8)
        return ClearImage("a", dn, BANDS, 0.6, 255.0)

    # The threshold takes white for cloud and black for ground: one image wholly wrong, one right.
    rows = sky_rows("one", alone([image(250), image(5)], clouded=False))
    assert rows[2] == "| one | none | 2 | 0.0 | 0.0 | threshold | +50.0 | 50.0 | 50.0 | 50 % |"
    assert [sky.found["threshold"] for sky in skies([image(250)], 2, 256, clouded=False)] == [1, 1]
    clouded = alone([image(5)], clouded=True)
    assert clouded[0].thickness > 0
    assert sky_rows("one", clouded)[0].startswith("| one | ")
    assert not any("| none |" in row for row in sky_rows("one", clouded))


def test_compact_over_unseen_imagery_is_within_three_points_as_a_rule(shared: Path) -> None:
    """Simulated clouds that are not thin over held-out images: the median error of CCP."""
    if not (shared / "data" / "clear_highres_nir").is_dir():
        pytest.skip(f"real data absent: no imagery in {shared / 'data'}")
    found = skies(unseen(read_recipe(RECIPE, shared / "data")), 16, 1024, thick=True)
    assert len(found) >= 8
    assert all(sky.thickness >= THIN for sky in found)
    for detector in (THREE, FOUR):
        assert np.median(np.abs(errors_of(found, detector))) <= 3.0
        assert abs(errors_of(found, detector).mean()) < abs(errors_of(found, "threshold").mean())
