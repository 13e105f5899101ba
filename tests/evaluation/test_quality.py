"""Tests of the script behind quality.md: its sets, its scores and the page it writes into."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from decr.dataset.clear import Folder
from decr.dataset.samples import ClearImage, Sample
from decr.evaluation.perceptual import Lpips
from decr.training.imagery import Imagery
from decr.training.recipe import Recipe
from decr.training.settings import TrainConfig
from docs.make_quality import (
    CURVE_STEPS,
    PAGE,
    THIN,
    Scores,
    curve,
    fill,
    scores,
    simulated,
    table,
    told,
)
from tests.tiny import MeanDifference

RGB = ("red", "green", "blue")


NETWORK = Lpips(MeanDifference(), torch.device("cpu"))


def sample() -> Sample:
    clear = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 64, 64)).astype(np.float32)
    mask = np.zeros((64, 64), bool)
    mask[:, :16] = True
    return Sample(np.where(mask, clear + 0.4, clear).astype(np.float32), clear, mask)


def test_scores_tell_clouds_from_the_rest() -> None:
    one = sample()
    perfect = scores([one.clear], [one], NETWORK)
    assert perfect.psnr == perfect.cloudy_psnr == float("inf")
    assert (perfect.ssim, perfect.lpips, perfect.cloudy_lpips) == (pytest.approx(1.0), 0.0, 0.0)
    untouched = scores([one.cloudy], [one], NETWORK)
    assert untouched.cloudy_psnr == pytest.approx(10 * np.log10(4 / 0.16), abs=1e-3)
    # A quarter of the pixels differ.
    assert untouched.psnr == pytest.approx(untouched.cloudy_psnr + 10 * np.log10(4), abs=1e-3)
    assert untouched.lpips == untouched.cloudy_lpips == pytest.approx(0.1, abs=1e-4)
    # What is done outside the clouds does not count under them.
    elsewhere = np.where(one.cloud_mask, one.clear, one.clear + 0.4).astype(np.float32)
    spoilt = scores([elsewhere], [one], NETWORK)
    assert spoilt.cloudy_lpips == 0.0 < spoilt.lpips
    assert spoilt.cloudy_psnr == float("inf")


def test_the_mean_of_images_is_not_the_pooled_psnr() -> None:
    one = sample()
    better = Sample((one.cloudy + one.clear) / 2, one.clear, one.cloud_mask)
    both = scores([one.cloudy, better.cloudy], [one, better], NETWORK)
    of_one, of_better = (scores([s.cloudy], [s], NETWORK).cloudy_psnr for s in (one, better))
    assert both.cloudy_psnr_mean == pytest.approx((of_one + of_better) / 2)
    assert both.cloudy_psnr == pytest.approx(10 * np.log10(4 / (0.16 * 1.25 / 2)), abs=1e-3)


def test_levels_are_told_under_clouds_alone() -> None:
    one = sample()
    # Off by a level per band and a texture without a mean, and off beside the clouds, too.
    texture = np.where(np.arange(64) % 2, 0.1, -0.1)
    levels = np.array([0.3, -0.2, 0.1])[:, None, None]
    output = (one.clear + levels + texture).astype(np.float32)
    moved = told(output, one)
    np.testing.assert_array_equal(moved[:, ~one.cloud_mask], output[:, ~one.cloud_mask])
    under = (moved - one.clear)[:, one.cloud_mask]
    np.testing.assert_allclose(under, np.broadcast_to(texture, (3, 64, 64))[:, one.cloud_mask],
                               atol=1e-5)  # fmt: skip


def test_sets_are_seeded_and_told_apart_by_thickness() -> None:
    texture = np.random.default_rng(0).integers(20, 160, (3, 300, 300)).astype(np.uint8)
    imagery = Imagery([ClearImage("a.tif", texture, RGB, 0.5, 255.0)], [], [])
    recipe = Recipe("r", RGB, (Folder(Path("x")),), (), (), {"reference": TrainConfig()}, {})
    sets = simulated(recipe, imagery, 2)
    assert {name: len(chosen) for name, chosen in sets.items()} == {
        "thin and medium": 2,
        "thick": 2,
    }
    for name, chosen in sets.items():
        for one in chosen:
            change = float(np.abs(one.cloudy - one.clear)[:, one.cloud_mask].mean())
            assert (change < THIN) == (name == "thin and medium")
    again = simulated(recipe, imagery, 2)
    np.testing.assert_array_equal(sets["thick"][1].cloudy, again["thick"][1].cloudy)


def test_the_table_and_the_curve_show_what_was_measured(tmp_path: Path) -> None:
    names = ["no change", "reference alone", *(f"DE, {steps}" for steps in CURVE_STEPS)]
    found = {
        name: Scores(20.0 + n, 0.5, 0.1, 10.0 + n, 9.0, 0.4, 0.2) for n, name in enumerate(names)
    }
    rows = table(found)
    assert "| no change | 20.00 | 0.500 | 0.1000 | 10.00 | 9.00 | 0.400 | 0.2000 |" in rows
    assert sum(row.startswith("| DE") for row in rows) == 4
    target = tmp_path / "curve.png"
    curve({"thick": found}, target)
    assert target.stat().st_size > 5000


def test_a_model_has_its_own_part_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "quality.md"
    page.write_text(PAGE.read_text())
    fill(page, "embedded-rgb", ["| new |"])
    text = page.read_text()
    assert "<!-- measured:embedded-rgb -->\n| new |\n<!-- /measured:embedded-rgb -->" in text
    assert text.split("## Four bands")[1] == PAGE.read_text().split("## Four bands")[1]
