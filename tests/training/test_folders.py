"""Tests of recipes made from folders: what the images and the bundle say is taken from them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from decr.errors import BundleError, ConfigError, DatasetError, DecrWarning
from decr.training.folders import recipe_from_folders
from decr.training.presets import PRESETS
from decr.training.recipe import DEFAULT_PARTS
from decr.zoo.bundle import read_card, save_with_card
from decr.zoo.embedded import embedded_path
from tests.pipeline.scenes import write_scene
from tests.tiny import BANDS, DETECTOR, PARTS, tiny_bundle


def photos(folder: Path, bands: int = 4) -> Path:
    folder.mkdir(parents=True)
    pixels = np.full((bands, 150, 150), 90, np.uint8)
    write_scene(folder / "a.tif", pixels, names=("blue", "green", "red", "nir")[:bands])
    return folder


@pytest.fixture
def clear(tmp_path: Path) -> Path:
    """Blue, green, red, near infrared at 0.5 m."""
    return photos(tmp_path / "clear")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Three-band PNG files that say nothing of their pixels' size."""
    for side in ("cloudy", "clear"):
        folder = tmp_path / "pairs" / side
        folder.mkdir(parents=True)
        with rasterio.open(
            folder / "a.png", "w", driver="PNG", width=150, height=150, count=3, dtype="uint8"
        ) as file:
            file.write(np.full((3, 150, 150), 90, np.uint8))
    return tmp_path / "pairs"


def test_images_say_bands_and_pixel_size(clear: Path) -> None:
    recipe = recipe_from_folders("all", name="mine", clear=[clear])
    assert recipe.bands == ("red", "green", "blue", "nir")
    assert (recipe.gsd_m, recipe.gsd_range_m) == (0.5, (0.5, 1.0))
    assert (recipe.preset, recipe.start) == ("fast", None)
    assert list(recipe.stages) == ["reference", "coarse", "weights", "joint"]
    assert recipe.parts == {n: p for n, p in DEFAULT_PARTS.items() if n != "detector"}


def test_a_bundle_brings_its_networks_and_sampling(clear: Path, tmp_path: Path) -> None:
    path = tmp_path / "start.safetensors"
    plain = tiny_bundle(tmp_path, 3)
    save_with_card(plain, path, replace(read_card(plain), level_px=9))
    recipe = recipe_from_folders("all", name="mine", clear=[clear], start=str(path), steps=7)
    assert (recipe.bands, recipe.start, recipe.preset) == (BANDS[3], path, "finetune")
    assert (recipe.parts, recipe.steps, recipe.prior_floor) == (PARTS, 3, 0.4)
    assert recipe.level_px == 9
    assert recipe.stages["joint"].lr == PRESETS["finetune"]["joint"].lr
    assert {config.steps for config in recipe.stages.values()} == {7}


def test_embedded_is_that_of_the_images_bands(clear: Path, pairs: Path) -> None:
    four = recipe_from_folders("all", name="mine", clear=[clear], start="embedded")
    assert four.start == embedded_path("embedded-rgbn")
    three = recipe_from_folders("all", name="mine", pairs=[pairs], start="embedded")
    assert three.start == embedded_path("embedded-rgb")
    # Nobody says how large the pixels are: the bundle's size stands.
    assert three.gsd_m == 0.6
    assert three.pairs[0].layout == "folders"
    clouds = recipe_from_folders("detector", name="mine", clear=[clear], start="embedded")
    assert clouds.start == embedded_path("embedded-detector")
    assert list(clouds.stages) == ["detector"]


def test_bands_that_the_first_image_lacks_and_others_have_are_told(
    clear: Path, tmp_path: Path
) -> None:
    for side in ("cloudy", "clear"):
        photos(tmp_path / "pairs" / side, 3)
        for name in ("b.tif", "c.tif"):
            (tmp_path / "pairs" / side / name).write_bytes((clear / "a.tif").read_bytes())
    asked = {"name": "mine", "pairs": [tmp_path / "pairs"]}
    match = (
        r"clear/a\.tif: is the first image and says that bands are blue, green, red; nir, which 2 "
        r"of 3 images have, is therefore not used"
    )
    for start in ("embedded", None, str(tiny_bundle(tmp_path, 4))):
        with pytest.warns(DecrWarning, match=match):
            assert recipe_from_folders("all", **asked, start=start).bands == BANDS[3]
    three = photos(tmp_path / "three", 3)
    with pytest.warns(DecrWarning, match="nir, which 2 of 4 images have"):
        recipe_from_folders("all", name="mine", clear=[three], pairs=asked["pairs"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        recipe_from_folders("all", **asked, start=str(tiny_bundle(tmp_path, 3)))
        recipe_from_folders("all", name="mine", clear=[clear], pairs=[tmp_path / "pairs"])


def test_pairs_are_not_coarsened(pairs: Path) -> None:
    recipe = recipe_from_folders("all", name="mine", pairs=[pairs], gsd_m=0.5, white=200.0)
    assert (recipe.gsd_m, recipe.gsd_range_m) == (0.5, (0.5, 0.5))
    assert (recipe.pairs[0].gsd_m, recipe.pairs[0].white) == (0.5, 200.0)


def test_a_bundle_limits_the_stages(clear: Path, tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, 4, DETECTOR)
    recipe = recipe_from_folders("all", name="mine", clear=[clear], start=str(path))
    assert list(recipe.stages) == ["detector"]


def test_what_is_missing_is_named(clear: Path, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to train on"):
        recipe_from_folders("all", name="mine")
    with pytest.raises(ConfigError, match=r"a\.png: does not say .* give --gsd"):
        recipe_from_folders("all", name="mine", pairs=[pairs])
    with pytest.raises(DatasetError, match="no raster there"):
        recipe_from_folders("all", name="mine", clear=[tmp_path / "absent"])
    with pytest.raises(DatasetError, match="no set of pairs"):
        recipe_from_folders("all", name="mine", pairs=[clear])
    with pytest.raises(BundleError, match="nowhere"):
        recipe_from_folders("all", name="mine", clear=[clear], start="nowhere")
    with pytest.raises(ConfigError, match=r"the bundle takes .*--bands"):
        recipe_from_folders(
            "all",
            name="mine",
            clear=[photos(tmp_path / "pan", 1)],
            bands="p",
            start=str(tiny_bundle(tmp_path, 3)),
        )
