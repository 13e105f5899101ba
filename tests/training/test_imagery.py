"""Tests of which pairs of a recipe are trained on, which are kept, and what is said of others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decr.dataset.manifest import manifest_bytes
from decr.dataset.pairs import PairFolder
from decr.errors import DatasetError, DecrWarning
from decr.training.imagery import read_imagery, read_split
from decr.training.recipe import Recipe
from decr.training.settings import TrainConfig
from tests.pipeline.scenes import write_scene
from tests.tiny import BANDS, PARTS

NAMES = [f"pair_{n:02d}" for n in range(12)]


def pairs(folder: Path, side: int = 130, grey: tuple[str, ...] = ()) -> Path:
    """Twelve pairs, of which those called in ``grey`` have one band."""
    for n, name in enumerate(NAMES):
        bands = ("pan",) if name in grey else BANDS[3]
        for part in ("cloudy", "clear"):
            pixels = np.random.default_rng([n, len(part)]).integers(
                1, 200, (len(bands), side, side)
            )
            (folder / part).mkdir(parents=True, exist_ok=True)
            write_scene(folder / part / f"{name}.tif", pixels.astype(np.uint8), names=bands)
    return folder


def recipe(folder: Path, *holdout: str) -> Recipe:
    return Recipe(
        name="test",
        bands=BANDS[3],
        clear=(),
        labelled=(),
        holdout=holdout,
        stages={"reference": TrainConfig(steps=2, batch=1)},
        parts={"reference": PARTS["reference"]},
        pairs=(PairFolder(folder),),
    )


def names(asked: Recipe) -> tuple[list[str], list[str]]:
    training, unseen = read_split(asked)
    return training.names, unseen.names


def test_named_pairs_are_kept_instead_of_those_of_a_hash(tmp_path: Path) -> None:
    folder = pairs(tmp_path)
    hashed = names(recipe(folder))
    assert sorted([*hashed[0], *hashed[1]]) == NAMES
    assert 0 < len(hashed[1]) < 6
    assert names(recipe(folder, "*_10", "*_11.tif")) == (NAMES[:10], NAMES[10:])
    # Patterns that name other imagery leave the choice to the hash.
    with pytest.warns(DecrWarning, match="no image is called photo"):
        assert names(recipe(folder, "photo*")) == hashed


def test_a_manifest_without_splits_is_one_whose_names_are_hashed(tmp_path: Path) -> None:
    pairs(tmp_path)
    entries: list[dict[str, str]] = [
        {side: f"{side}/{name}.tif" for side in ("cloudy", "clear")} for name in NAMES
    ]
    asked = recipe(tmp_path, "*/pair_03")
    asked = replace(asked, pairs=(PairFolder(tmp_path, "manifest"),))
    cloudy = [f"cloudy/{name}" for name in NAMES]
    (tmp_path / "pairs.jsonl").write_bytes(manifest_bytes(entries))
    assert names(asked) == ([name for name in cloudy if name[-2:] != "03"], ["cloudy/pair_03"])
    entries[5]["split"] = "val"
    (tmp_path / "pairs.jsonl").write_bytes(manifest_bytes(entries))
    assert names(asked)[1] == ["cloudy/pair_03", "cloudy/pair_05"]


def test_splits_that_a_set_has_are_kept(tmp_path: Path) -> None:
    for split in ("train", "val"):
        pairs(tmp_path / split)
    training, unseen = names(recipe(tmp_path, "train/pair_03"))
    assert training == [f"train/{name}" for name in NAMES if name != "pair_03"]
    assert unseen == ["train/pair_03", *(f"val/{name}" for name in NAMES)]


def test_pairs_that_lack_a_band_are_counted(tmp_path: Path) -> None:
    folder = pairs(tmp_path / "set {1}", grey=("pair_04", "pair_05"))
    asked = replace(recipe(folder), pairs=(PairFolder(folder, split=None),))
    with pytest.warns(DecrWarning, match=r"set \{1\}: 2 of 12 pairs are passed over, for want"):
        assert len(read_imagery(asked).pairs) == 10


def test_pairs_too_small_are_told_the_size_that_pairs_need(tmp_path: Path) -> None:
    match = r"no training pair .* 128 x 128 valid pixels; stage reference takes the largest"
    with pytest.warns(DecrWarning, match="12 of 12"), pytest.raises(DatasetError, match=match):
        read_split(recipe(pairs(tmp_path, side=120)))


def test_some_pairs_too_small_are_told_with_the_stage_that_asks_for_more(tmp_path: Path) -> None:
    folder = pairs(tmp_path)
    for part in ("cloudy", "clear"):
        pixels = np.full((3, 120, 120), len(part), np.uint8)
        write_scene(folder / part / "pair_04.tif", pixels, names=BANDS[3])
    asked = replace(
        recipe(folder),
        stages={"reference": TrainConfig(), "coarse": TrainConfig(size_px=64)},
        parts=PARTS,
        pairs=(PairFolder(folder, split=None),),
    )
    match = "1 of 12 pairs is passed over, for want of 128 x 128 .* for stage reference: pair_04"
    with pytest.warns(DecrWarning, match=match):
        assert len(read_imagery(asked).pairs) == 11
