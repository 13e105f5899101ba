"""Tests of what samples a stage draws from: clear images, pairs and other dates, cut or whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decr.dataset.clear import Folder, read_clear
from decr.dataset.pairs import PairFolder, PairImage
from decr.dataset.samples import ClearImage
from decr.errors import ConfigError
from decr.training.imagery import Imagery, sampler
from decr.training.recipe import Recipe
from decr.training.stages import STAGES
from tests.tiny import BANDS
from tests.training.test_run import QUICK, recipe


def pair(side: int, name: str = "p", seed: int = 0) -> PairImage:
    clear = np.random.default_rng(seed).integers(0, 200, (4, side, side)).astype(np.uint8)
    return PairImage(name, clear + 50, clear, BANDS[4], 0.5, 255.0)


def test_pairs_and_clear_imagery_share_the_samples(folder: Path) -> None:
    whole = replace(recipe(folder, "coarse"), pairs=(PairFolder(folder),), pair_share=0.25)
    imagery = Imagery(read_clear(Folder(folder), BANDS[4], 140), [], [pair(150)])
    config = replace(QUICK, size_px=32)

    def share(imagery: Imagery) -> float:
        draw = sampler(STAGES["coarse"], config, whole, imagery)
        samples = [draw(np.random.default_rng(n)) for n in range(200)]
        # The pair is 50 of 255 brighter everywhere, which no simulated sky is.
        gains = [s.cloudy - s.clear for s in samples]
        return float(np.mean([np.ptp(g) < 1e-3 and g.mean() > 0.3 for g in gains]))

    assert share(imagery) == pytest.approx(0.25, abs=0.08)
    assert share(replace(imagery, clear=[])) == 1.0
    assert share(replace(imagery, pairs=[])) == 0.0


def test_a_share_of_truths_is_from_another_date(folder: Path) -> None:
    dated = replace(
        recipe(folder, "coarse"), date_pattern=r"_(?P<date>\d{4})_", other_date_share=0.5
    )
    grounds = [np.random.default_rng(n).integers(0, 200, (4, 150, 150)) for n in (1, 2)]
    images = [
        ClearImage(f"a_{year}_1.tif", dn.astype(np.uint8), BANDS[4], 0.5, 255.0)
        for year, dn in zip((2016, 2018), grounds, strict=True)
    ]
    config, imagery = replace(QUICK, size_px=32, shrink=2), Imagery(images, [], [])

    def other(whole: Recipe) -> float:
        draw = sampler(STAGES["coarse"], config, whole, imagery)
        samples = [draw(np.random.default_rng(n)) for n in range(60)]
        assert all(s.clear.shape == (4, 32, 32) for s in samples)
        clear = [s for s in samples if s.cloud_mask.mean() < 0.5]
        return float(
            np.mean(
                [
                    np.corrcoef(s.cloudy[0][~s.cloud_mask], s.clear[0][~s.cloud_mask])[0, 1] < 0.3
                    for s in clear
                ]
            )
        )

    assert other(dated) > 0.1
    assert other(replace(dated, other_date_share=0.0)) == 0.0
    with pytest.raises(ConfigError, match="no ground is there on two dates"):
        sampler(STAGES["coarse"], config, dated, Imagery(images[:1], [], []))
    # What is held out need not have been seen twice.
    alone = Imagery(images[:1], [], [])
    draw = sampler(STAGES["coarse"], config, dated, alone, validation=True)
    assert draw(np.random.default_rng(0)).clear.shape == (4, 32, 32)


@pytest.mark.parametrize("side", [160, 512, 520])
def test_whole_images_are_seen(folder: Path, side: int) -> None:
    config = replace(QUICK, size_px=32, shrink="whole")
    whole = replace(recipe(folder, "coarse"), pairs=(PairFolder(folder),))
    draw = sampler(STAGES["coarse"], config, whole, Imagery([], [], [pair(side)]))
    sample = draw(np.random.default_rng(0))
    assert sample.clear.shape == (4, 32, 32)
    k = side // 32
    seen = pair(side).clear[:, : 32 * k, : 32 * k].reshape(4, 32, k, 32, k).mean(axis=(2, 4))
    if side % 32 == 0:
        # Turned and flipped, but the same cells.
        unit = np.sort(seen.ravel() / 255 * 2 - 1)
        np.testing.assert_allclose(np.sort(sample.clear.ravel()), unit, atol=1e-4)


def test_large_clear_images_are_cut_to_the_size_of_the_papers(folder: Path) -> None:
    config = replace(QUICK, size_px=64, shrink="whole")
    images = [
        ClearImage("a", np.full((4, s, s), 90, np.uint8), BANDS[4], 0.5, 255.0) for s in (150, 700)
    ]
    draw = sampler(STAGES["coarse"], config, recipe(folder, "coarse"), Imagery(images, [], []))
    for seed in range(4):
        assert draw(np.random.default_rng(seed)).clear.shape == (4, 64, 64)


def test_a_detector_needs_clear_imagery(folder: Path) -> None:
    with pytest.raises(ConfigError, match="a detector needs clear imagery"):
        sampler(STAGES["detector"], QUICK, recipe(folder, "detector"), Imagery([], [], [pair(150)]))
