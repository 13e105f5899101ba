"""Tests of which pairs of a recipe are trained on, which are kept, and what is said of others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from decr.dataset.clear import Folder
from decr.dataset.manifest import manifest_bytes
from decr.dataset.pairs import PairFolder, PairImage, pair_crop
from decr.dataset.samples import ClearImage, drawer, restoration_sample
from decr.errors import DatasetError, DecrWarning
from decr.training.imagery import Imagery, read_split, sampler
from decr.training.recipe import Recipe
from decr.training.settings import TrainConfig
from decr.training.stages import STAGES
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


def test_validation_is_as_bright_as_training(tmp_path: Path) -> None:
    for split, top in (("train", 1900), ("val", 1000)):
        for side in ("cloudy", "clear"):
            dn = np.random.default_rng(len(side)).integers(1, top, (3, 130, 130))
            dn += side == "clear"
            (tmp_path / split / side).mkdir(parents=True)
            path = tmp_path / split / side / "a.tif"
            write_scene(path, dn.astype(np.uint16), names=BANDS[3])
    told: list[tuple[str, int, int]] = []
    sides = read_split(recipe(tmp_path), lambda *of: told.append(of))
    assert told == [("white", 0, 1), ("white", 1, 1)]  # val was looked at, once
    assert [[pair.white for pair in side.pairs] for side in sides] == [[2047.0], [2047.0]]


def test_pairs_that_lack_a_band_are_counted(tmp_path: Path) -> None:
    folder = pairs(tmp_path / "set {1}", grey=("pair_04", "pair_05"))
    asked = replace(recipe(folder), pairs=(PairFolder(folder, split="all"),))
    with pytest.warns(DecrWarning, match=r"set \{1\}: 2 of 12 pairs are passed over, for want"):
        assert len(read_split(asked)[0].pairs) == 10


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
        pairs=(PairFolder(folder, split="all"),),
    )
    match = "1 of 12 pairs is passed over, for want of 128 x 128 .* for stage reference: pair_04"
    with pytest.warns(DecrWarning, match=match):
        assert len(read_split(asked)[0].pairs) == 11


@pytest.mark.parametrize(("top", "left"), [(97, 1), (90, 0)])
def test_labelled_images_too_small_for_a_detector_are_told(
    tmp_path: Path, top: int, left: int
) -> None:
    """The largest rectangle, beside the hole, is too narrow; that above may be large enough."""
    for n, name in enumerate(("whole", "holed")):
        label = np.zeros((1, 130, 115), np.uint8)
        label[:, :, n:60] = 1
        if name == "holed":
            label[:, top:, 90:] = 255
        pixels = np.random.default_rng(n).integers(1, 200, (3, 130, 115)).astype(np.uint8)
        for part, image, more in (("views", pixels, {}), ("masks", label, {"nodata": 255})):
            (tmp_path / part).mkdir(exist_ok=True)
            names = BANDS[3] if part == "views" else None
            write_scene(tmp_path / part / f"{name}.tif", image, names=names, **more)
    asked = replace(
        recipe(pairs(tmp_path / "pairs")),
        labelled=(Folder(tmp_path / "views", masks=tmp_path / "masks"),),
        stages={"detector": TrainConfig(size_px=96)},
    )
    with pytest.warns(DecrWarning) as told:
        found = read_split(asked)[0].labelled
    assert [image.name for image in found] == ["holed.tif"] * left + ["whole.tif"]
    match = (
        "is cut to a rect" if left else "is passed over, for want of 96 x 96 pixels (size_px) that"
    )
    assert [match in str(one.message) for one in told] == [True]


@pytest.mark.parametrize("shrink", [2, "whole"])
@pytest.mark.parametrize("of_pairs", [True, False])
def test_samples_are_drawn_without_a_walk_through_all_images(
    monkeypatch: pytest.MonkeyPatch, shrink: int | Literal["whole"], of_pairs: bool
) -> None:
    """Of 100,000 small pairs a walk takes a hundred times as long as a sample."""
    grounds = [
        np.random.default_rng(n).integers(0, 200, (3, 64, 64)).astype(np.uint8) for n in range(40)
    ]
    paired = [
        PairImage("p", dn + 50, dn, BANDS[3], 0.5, 255.0, 1.0 + dn[0, 0, 0]) for dn in grounds
    ]
    clear = [ClearImage("c", dn, BANDS[3], 0.5, 255.0, 1.0 + dn[0, 0, 0]) for dn in grounds]
    config, asked = TrainConfig(size_px=32, shrink=shrink), [0]
    whole = replace(recipe(Path(), "none"), stages={"coarse": config}, parts=PARTS)
    kind = PairImage if of_pairs else ClearImage
    area = vars(kind)["area"].fget

    def counted(image: PairImage | ClearImage) -> float:
        asked[0] += 1
        return float(area(image))

    monkeypatch.setattr(kind, "area", property(counted))
    imagery = Imagery([], [], paired) if of_pairs else Imagery(clear, [], [])
    draw = sampler(STAGES["coarse"], config, whole, imagery)
    found = [draw(np.random.default_rng(seed)).clear for seed in range(10)]
    assert asked[0] == 40
    if shrink == 2 and of_pairs:
        for seed, view in enumerate(found):
            rng = np.random.default_rng(seed)
            rng.random()  # whether it is a pair
            chosen = paired[drawer([pair.area for pair in paired])(rng)]
            assert (pair_crop(rng, chosen, BANDS[3], 32, 2).clear == view).all()
    elif shrink == 2:
        rng = np.random.default_rng(0)
        plain = restoration_sample(rng, clear, BANDS[3], 64, whole.gsd_range_m, whole.variety)
        assert np.allclose(plain.clear.mean((1, 2)), found[0].mean((1, 2)), atol=1e-6)
