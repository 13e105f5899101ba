"""Tests of recipes: what they say is what is run, and mistakes are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from decr.errors import ConfigError, DatasetError
from decr.training.presets import PRESETS, PUBLISHED_REFERENCE
from decr.training.recipe import DEFAULT_PARTS, Recipe, read_recipe
from decr.zoo.embedded import embedded_path

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
WHOLE = """
name = "mine"
bands = ["red", "green", "blue"]
holdout = ["*_07.tif"]
gsd_m = 0.5
gsd_range_m = [0.4, 1.0]
steps = 20
licence = "CC0"

[[clear]]
path = "photos"
bands = "r,g,b"
gsd_m = 0.3
white = 255.0
skip = ["bad*"]

[[pairs]]
path = "real"
layout = "rice1"
white = 200.0
skip = ["blurred*"]

[[labelled]]
path = "views"
masks = "labels"
cloudy_from = 2

[stages.coarse]
steps = 10
lr = 1e-3

[stages.weights]
steps = 5

[parts.cnp]
architecture = "cnp"
size = { width = 8, multipliers = [1, 2], blocks = 1 }
"""


def read(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return read_recipe(path, tmp_path / "root")


def test_a_whole_recipe_is_read_as_it_says(tmp_path: Path) -> None:
    recipe = read(tmp_path, WHOLE)
    assert (recipe.name, recipe.bands) == ("mine", ("red", "green", "blue"))
    assert (recipe.gsd_m, recipe.gsd_range_m, recipe.steps) == (0.5, (0.4, 1.0), 20)
    (clear,), (labelled,) = recipe.clear, recipe.labelled
    assert clear.path == tmp_path / "root" / "photos"
    assert (clear.bands, clear.gsd_m, clear.white, clear.skip) == ("r,g,b", 0.3, 255.0, ("bad*",))
    assert labelled.masks == tmp_path / "root" / "labels"
    assert labelled.cloudy_from == 2
    (pairs,) = recipe.pairs
    assert (pairs.path, pairs.layout) == (tmp_path / "root" / "real", "rice1")
    assert (pairs.white, pairs.split, pairs.skip) == (200.0, "train", ("blurred*",))
    assert (recipe.preset, recipe.pair_share) == ("fast", 0.5)
    assert list(recipe.stages) == ["coarse", "weights"]
    assert (recipe.stages["coarse"].steps, recipe.stages["coarse"].lr) == (10, 1e-3)
    # Parts are those the stages need: the default ones, unless the recipe has its own.
    assert set(recipe.parts) == {"cnp", "wa", "reference"}
    assert recipe.parts["cnp"].size["width"] == 8
    assert recipe.parts["wa"] == DEFAULT_PARTS["wa"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("gsd_m = 0.5", "gsdm = 0.5", "unknown key 'gsdm'; there are .*gsd_m"),
        ('layout = "rice1"', 'order = "rice1"', "unknown key 'order'; there are .*layout"),
        ("gsd_m = 0.5", "pair_share = 2", "pair_share must lie in 0..1"),
        ("gsd_m = 0.5", 'preset = "slow"', "no preset is called 'slow'; there are fast"),
        ("lr = 1e-3", "size_px = 100", "multiple of 16"),
        ("[stages.weights]", "[stages.detector]", "a detector is a bundle of its own"),
        ("lr = 1e-3", "rate = 1e-3", "unknown key 'rate'; there are .*lr"),
        ("white = 255.0", "whit = 255.0", "unknown key 'whit'; there are .*white"),
        ("[stages.coarse]", "[stages.coarser]", "no stage is called 'coarser'; there are .*coarse"),
        ('name = "mine"', "", "incomplete .*name"),
        ('path = "photos"', "", "incomplete .*path"),
        ('bands = ["red", "green", "blue"]', "", "incomplete .*bands"),
        ('architecture = "cnp"', "", "incomplete .*architecture"),
        ('architecture = "cnp"', 'architecture = "wa"', "part 'cnp' cannot be 'wa', only cnp"),
        ("steps = 10", "steps = 0", "at least 1"),
        ("lr = 1e-3", "until = 11", r"until must lie in 1\.\.10 \(steps\), not 11"),
        ("lr = 1e-3", "perceptual = -1.0", "perceptual must be at least 0"),
        ("steps = 20", "other_date_share = 0.3", "other_date_share needs a date_pattern"),
        ("steps = 20", "other_date_share = 3", r"other_date_share must lie in 0\.\.1, not 3"),
        ("steps = 10", 'steps = "ten"', "wrong value"),
        ('["red", "green", "blue"]', '["red", "red"]', "bands has a wrong value, .* each once"),
        ('name = "mine"', r'name = "mi\u001bne"', "name has a wrong value, .* of a file"),
        ("steps = 20", 'steps = "twenty"', "wrong value"),
        ("[stages.weights]", "[stages.weights", "not valid TOML"),
        ("lr = 1e-3", "seed = -1", r"\[stages.coarse\]: seed has a wrong value, -1: .* from 0 on"),
        ("lr = 1e-3", "lr = nan", "lr has a wrong value, nan: it must be a finite number"),
        ("lr = 1e-3", "accumulate = 1.5", r"accumulate has a wrong value, 1\.5: .*a whole number"),
        ("lr = 1e-3", "turns = 1.5", r"turns has a wrong value, 1\.5: it must be a whole number"),
        ("lr = 1e-3", 'max_minutes = "5"', "max_minutes has a wrong value, '5': .*a finite number"),
        ("lr = 1e-3", "validate_every = 1.5", r"validate_every has a wrong value, 1\.5"),
        ("lr = 1e-3", "clip = nan", "clip has a wrong value, nan"),
        ("lr = 1e-3", "until = 1.5", r"until has a wrong value, 1\.5"),
        ("lr = 1e-3", "ema_warmup = 1", "ema_warmup has a wrong value, 1: .* true or false"),
        ("white = 200.0", "white = 0", r"\[\[pairs\]\]: white .* wrong value, 0: .*above 0"),
        ("white = 200.0", "weight = 0", r"\[\[pairs\]\]: weight has a wrong value, 0"),
        ("white = 200.0", "weight = -1", r"\[\[pairs\]\]: weight has a wrong value, -1"),
        ("white = 255.0", "white = nan", r"\[\[clear\]\]: white has a wrong value, nan"),
        ("gsd_m = 0.3", "gsd_m = -1", r"\[\[clear\]\]: gsd_m has a wrong value, -1"),
        ("cloudy_from = 2", "cloudy_from = 1.5", r"\[\[labelled\]\]: cloudy_from has a wrong"),
        ('["*_07.tif"]', '"*_09"', r"holdout has a wrong value, '\*_09': .*such as \[\"\*_09\"\]"),
        ('["blurred*"]', '"*_09.tif"', r"\[\[pairs\]\]: skip has a wrong value, '\*_09\.tif'"),
        ('["bad*"]', '"bad*"', r"\[\[clear\]\]: skip has a wrong value, 'bad\*'"),
        ('["red", "green", "blue"]', '"red"', "bands has a wrong value, 'red': .*a list of texts"),
        ("gsd_m = 0.5", "gsd_m = -2", "gsd_m has a wrong value, -2.*above 0"),
        ("gsd_m = 0.5", "gsd_m = nan", "gsd_m has a wrong value, nan"),
        ("[0.4, 1.0]", "[1.0]", r"gsd_range_m has a wrong value, \[1\.0\]: .*two sizes"),
        ("[0.4, 1.0]", "[1.0, 0.4]", "gsd_range_m has a wrong value"),
        ("steps = 20", "steps = 20.5", r"steps has a wrong value, 20\.5"),
        ("steps = 20", "steps = 1001", r"steps has a wrong value, 1001: .*1\.\.1000"),
        ("steps = 20", "steps = 300", "steps of the bundle: no stride .* exactly 300; try 1, 2, 4"),
        ("steps = 20", "prior_floor = 1.5", r"prior_floor has a wrong value, 1\.5"),
        ("steps = 20", "level_px = -1", r"level_px has a wrong value, -1"),
        ("steps = 20", "level_px = 200000", r"level_px has a wrong value, 200000: .*0\.\.100000"),
        ('name = "mine"', f'name = "{"é" * 120}"', "name has a wrong value, .*at most 237 bytes"),
        ('name = "mine"', 'name = "sub/mine"', "name has a wrong value, 'sub/mine': .*a file"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in WHOLE
    with pytest.raises(ConfigError, match=rf"recipe\.toml: .*{says}"):
        read(tmp_path, WHOLE.replace(old, new, 1))


def test_settings_come_from_the_preset_unless_the_recipe_has_its_own(tmp_path: Path) -> None:
    text = WHOLE.replace("gsd_m = 0.5", 'preset = "paper"').replace("lr = 1e-3", "accumulate = 4")
    stages = read(tmp_path, text).stages
    assert stages["coarse"] == replace(PRESETS["paper"]["coarse"], steps=10, accumulate=4)
    assert stages["weights"] == replace(PRESETS["paper"]["weights"], steps=5)


def test_a_published_reference_keeps_its_settings(tmp_path: Path) -> None:
    text = WHOLE + '\n[stages.reference]\nsteps = 3\n[parts.reference]\narchitecture = "spagan"\n'
    recipe = read(tmp_path, text)
    assert recipe.stages["reference"] == replace(PUBLISHED_REFERENCE, steps=3)
    assert recipe.stages["coarse"].schedule == "cosine"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.name)
def test_the_recipes_of_the_documentation_are_valid(path: Path) -> None:
    recipe = read_recipe(path, Path())
    assert path.stem.endswith(recipe.name.replace("-", "_"))
    assert all(config.steps >= 1 for config in recipe.stages.values())


def test_weights_of_losses_are_relative_to_the_imagery(tmp_path: Path) -> None:
    assert (read(tmp_path, WHOLE).vgg16, read(tmp_path, WHOLE).lpips_backbone) == (None, None)
    more = read(tmp_path, 'vgg16 = "w/v.pth"\nlpips_backbone = "w/a.npz"\n' + WHOLE)
    assert more.vgg16 == tmp_path / "root" / "w" / "v.pth"
    assert more.lpips_backbone == tmp_path / "root" / "w" / "a.npz"


def test_all_pairs_can_be_asked_for(tmp_path: Path) -> None:
    text = WHOLE.replace('layout = "rice1"', 'split = "all"')
    assert read(tmp_path, text).pairs[0].split == "all"


def test_a_layout_that_is_not_said_is_recognised(tmp_path: Path) -> None:
    """A set that decr built has folders of cloudy and clear images, too: its manifest says more."""
    text = WHOLE.replace('layout = "rice1"', "")
    for side in ("cloudy", "clear"):
        (tmp_path / "root" / "real" / "train" / side).mkdir(parents=True)
    assert read(tmp_path, text).pairs[0].layout == "folders"
    (tmp_path / "root" / "real" / "pairs.jsonl").touch()
    assert read(tmp_path, text).pairs[0].layout == "manifest"
    assert read(tmp_path, WHOLE.replace("rice1", "t-cloud")).pairs[0].layout == "tcloud"


def test_a_folder_of_no_layout_is_refused_with_the_layouts_there_are(tmp_path: Path) -> None:
    (tmp_path / "root" / "real" / "images").mkdir(parents=True)
    with pytest.raises(
        DatasetError, match=r"no set of pairs: looked for folders: .*found images/$"
    ):
        read(tmp_path, WHOLE.replace('layout = "rice1"', ""))


def test_something_to_train_on_is_needed(tmp_path: Path) -> None:
    lines = 'name = "x"\nbands = ["red"]\n[stages.coarse]\n'
    with pytest.raises(ConfigError, match="neither clear imagery nor pairs"):
        read(tmp_path, lines)
    assert read(tmp_path, lines + '[[pairs]]\npath = "p"\n').clear == ()


def test_a_start_may_be_an_embedded_bundle(tmp_path: Path) -> None:
    text = WHOLE.replace("gsd_m = 0.5", 'start = "embedded-rgb"')
    assert read(tmp_path, text).start == embedded_path("embedded-rgb")


def test_mistakes_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipe\.toml: unknown key"):
        read(tmp_path, 'colour = "red"')


def test_a_missing_recipe_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot read the recipe"):
        read_recipe(tmp_path / "none.toml", tmp_path)
