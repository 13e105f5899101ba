"""Tests of `decr train` from end to end: a recipe and a few GeoTIFFs in, a usable bundle out."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from decr.dataset.clear import Folder
from decr.errors import DatasetError
from decr.models.registry import create
from decr.predictor import load_detector, load_restorer
from decr.training.loop import TrainConfig
from decr.training.recipe import Recipe
from decr.training.run import read_imagery, run_recipe, start_from
from decr.zoo.bundle import load_bundle
from tests.pipeline.scenes import write_scene
from tests.tiny import BANDS, DETECTOR, PARTS, tiny_bundle

QUICK = TrainConfig(steps=2, batch=1, warmup=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four clear scenes of 150 px, one of them held out."""
    path = tmp_path / "scenes"
    path.mkdir()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        write_scene(path / f"s_{seed}.tif", rng.integers(20, 200, (4, 150, 160)).astype(np.uint8))
    return path


def recipe(folder: Path, *stages: str) -> Recipe:
    return Recipe(
        name="test",
        bands=BANDS[4],
        clear=(Folder(folder),),
        labelled=(),
        holdout=("s_3*",),
        stages=dict.fromkeys(stages, QUICK),
        parts=DETECTOR if "detector" in stages else PARTS,
        steps=2,
        licence="CC0",
    )


def test_a_recipe_gives_a_bundle_that_restores(folder: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    path = run_recipe(
        recipe(folder, "reference", "coarse", "weights", "joint"),
        tmp_path / "run",
        lambda stage, step, steps, loss: told.append((stage, step, steps)),
    )
    assert path == tmp_path / "run" / "test.safetensors"
    assert told == [
        (stage, step, 2) for stage in ("reference", "coarse", "weights", "joint") for step in (1, 2)
    ]
    card = load_bundle(path).card
    assert (card.name, card.bands, card.steps, card.licence) == ("test", BANDS[4], 2, "CC0")
    assert card.provenance["images"] == 3
    tile = np.zeros((1, 4, 32, 32), np.float32)
    out = load_restorer(path, device="cpu").restore(tile, [(0, 0)])
    assert np.isfinite(out).all()


def test_a_broken_off_recipe_goes_on_to_the_same_bundle(folder: Path, tmp_path: Path) -> None:
    stages = ("reference", "coarse")
    straight = run_recipe(recipe(folder, *stages), tmp_path / "straight")

    def interrupt(stage: str, step: int, steps: int, loss: float) -> None:
        if (stage, step) == ("coarse", 1):
            signal.raise_signal(signal.SIGINT)

    assert run_recipe(recipe(folder, *stages), tmp_path / "broken", interrupt) is None
    broken = run_recipe(recipe(folder, *stages), tmp_path / "broken")
    assert straight is not None
    assert broken is not None
    one, two = load_bundle(straight), load_bundle(broken)
    for name, network in one.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, two.networks[name].state_dict()[key])


def test_a_detector_recipe_gives_a_detector(folder: Path, tmp_path: Path) -> None:
    path = run_recipe(recipe(folder, "detector"), tmp_path / "run")
    assert path is not None
    detector = load_detector(path, device="cpu")
    assert detector.probability(np.zeros((1, 4, 64, 64), np.float32)).shape == (1, 64, 64)


def test_held_out_images_are_not_trained_on(folder: Path) -> None:
    whole = recipe(folder, "coarse")
    assert [i.name for i in read_imagery(whole).clear] == ["s_0.tif", "s_1.tif", "s_2.tif"]
    assert [i.name for i in read_imagery(whole, validation=True).clear] == ["s_3.tif"]
    with pytest.raises(DatasetError, match="no training image with bands"):
        read_imagery(replace(whole, holdout=("*",)))


def test_labelled_images_without_the_bands_or_too_small_are_passed_over(
    folder: Path, tmp_path: Path
) -> None:
    views, masks = tmp_path / "views", tmp_path / "masks"
    for path in (views, masks):
        path.mkdir()
    rng = np.random.default_rng(0)
    for name, bands, side in (("good", 4, 200), ("small", 4, 100), ("rgb", 3, 200)):
        roles = ("red", "green", "blue", "nir")[:bands]
        pixels = rng.integers(0, 255, (bands, side, side)).astype(np.uint8)
        write_scene(views / f"{name}.tif", pixels, names=roles)
        write_scene(masks / f"{name}.tif", pixels[:1] // 128, names=None)
    labelled = Folder(views, white=255.0, masks=masks)
    imagery = read_imagery(replace(recipe(folder, "detector"), labelled=(labelled,)))
    assert [image.name for image in imagery.labelled] == ["good.tif"]


def test_starting_from_a_bundle_with_more_bands_drops_the_others(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, 4)
    parts = {name: create(part.architecture, 3, part.size) for name, part in PARTS.items()}
    start_from(path, parts, BANDS[3])
    source = load_bundle(path).networks
    first = "unet.input_blocks.0.0.weight"
    for name, images in (("cnp", 2), ("wa", 3), ("reference", 1)):
        kept = [image * 4 + band for image in range(images) for band in range(3)]
        theirs, ours = source[name].state_dict()[first], parts[name].state_dict()[first]
        assert torch.equal(ours, theirs[:, kept])
    assert torch.equal(
        parts["cnp"].state_dict()["unet.out.2.bias"],
        source["cnp"].state_dict()["unet.out.2.bias"][:3],
    )


def test_a_start_without_the_bands_or_parts_is_refused(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, 3)
    with pytest.raises(DatasetError, match=r"has bands red, green, blue, wanted .*nir"):
        start_from(path, {}, BANDS[4])
    detector = {"detector": create("cloudnet", 3, {"width": 2})}
    with pytest.raises(DatasetError, match="no part 'detector'"):
        start_from(path, detector, BANDS[3])
