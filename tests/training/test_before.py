"""What is refused or told before a run begins."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from decr.dataset.clear import Folder
from decr.dataset.pairs import PairFolder
from decr.errors import ConfigError, DatasetError, DecrWarning
from decr.training.before import read_checked
from decr.training.plan import planned
from decr.training.run import run_recipe
from decr.zoo.bundle import read_card
from decr.zoo.card import Part
from tests.pipeline.scenes import GRID, write_scene
from tests.tiny import BANDS, tiny_bundle
from tests.training.test_run import QUICK, recipe


@pytest.mark.parametrize("below", ["", "run", "runs/one"])
def test_a_run_does_not_learn_from_its_own_pictures(folder: Path, below: str) -> None:
    before = sorted(folder.rglob("*"))
    with pytest.raises(ConfigError, match=r"lies in .*scenes, .*name a folder elsewhere"):
        run_recipe(recipe(folder, "reference"), folder / below)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("below", "skip"), [(".run", ()), ("run", ("/run/",)), ("other", ("*.png",))]
)
def test_a_run_may_lie_where_its_pictures_are_not_read(
    folder: Path, below: str, skip: tuple[str, ...]
) -> None:
    stages = {"coarse": replace(QUICK, validate_every=100)}
    asked = replace(recipe(folder, "coarse"), stages=stages)
    clear = replace(asked.clear[0], skip=skip)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for _ in range(2):  # its own pictures lie there the second time
        made = run_recipe(replace(asked, clear=(clear,)), folder / below)
        assert made == folder / below / "test.safetensors"
        assert read_card(made).provenance["images"] == 3
    assert (folder / below / "samples" / "coarse_00002.png").is_file()
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_bundle_that_the_run_did_not_make_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    start = tiny_bundle(tmp_path, 4).rename(run / "test.safetensors")
    asked, weights = replace(recipe(folder, "coarse"), start=start), start.read_bytes()
    with pytest.raises(ConfigError, match=r"run/test\.safetensors: is not of this run"):
        run_recipe(asked, run)
    assert start.read_bytes() == weights
    asked = replace(asked, start=start.rename(tmp_path / "start.safetensors"))
    made = run_recipe(asked, run)
    assert made is not None
    assert run_recipe(asked, run) == made  # once more, over its own


def test_a_copy_of_a_held_out_image_is_not_trained_on(folder: Path, tmp_path: Path) -> None:
    (folder / "other.tif").write_bytes((folder / "s_3.tif").read_bytes())
    with pytest.raises(DatasetError, match=r"s_3.*the same image as other"):
        run_recipe(recipe(folder, "reference"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_copy_of_a_held_out_labelled_image_is_not_trained_on(
    folder: Path, tmp_path: Path
) -> None:
    dn = np.random.default_rng(9).integers(20, 200, (4, 130, 130)).astype(np.uint8)
    views, masks = tmp_path / "views", tmp_path / "masks"
    for path in (views, masks):
        path.mkdir()
    for name in ("a.tif", "b.tif"):
        write_scene(views / name, dn)
        write_scene(masks / name, (dn[:1] > 150).astype(np.uint8), names=None)
    asked = replace(recipe(folder, "detector"), labelled=(Folder(views, masks=masks),))
    with pytest.raises(DatasetError, match=r"a\.tif, for validation, is the same image as b\.tif"):
        read_checked(replace(asked, holdout=("a.tif",)))


@pytest.mark.parametrize(
    ("architecture", "stage", "size_px", "says"),
    [
        ("spagan", "reference", 16, "samples of 16 px, .* size_px of at least 32"),
        ("cvae", "reference", 288, "samples of 288 px, but cvae takes at most 256; give a size_px"),
        ("cvae", "weights", 272, "samples of 272 px, but cvae takes at most 256"),
        ("spagan", "weights", 16, None),
        ("cvae", "coarse", 288, None),
    ],
)
def test_samples_that_the_reference_does_not_take_are_refused_before_images_are_read(
    tmp_path: Path, architecture: str, stage: str, size_px: int, says: str | None
) -> None:
    asked = recipe(tmp_path / "absent", stage)
    asked = replace(
        asked,
        parts={**asked.parts, "reference": Part(architecture)},
        stages={stage: replace(asked.stages[stage], size_px=size_px)},
    )
    # Those that are taken get as far as to the images, which are not there.
    error = DatasetError if says is None else ConfigError
    with pytest.raises(error, match=says or "absent: no raster there"):
        read_checked(asked)


def test_ground_on_both_sides_is_told(tmp_path: Path) -> None:
    for n, name in enumerate(("a", "b", "c")):
        place = GRID @ Affine.translation(200 if name == "c" else 0, 0)
        dn = np.random.default_rng(n).integers(1, 200, (3, 130, 130)).astype(np.uint8)
        for side in ("cloudy", "clear"):
            (tmp_path / side).mkdir(exist_ok=True)
            write_scene(tmp_path / side / f"{name}.tif", dn, names=BANDS[3], transform=place)
    asked = replace(
        recipe(tmp_path, "coarse"), bands=BANDS[3], clear=(), pairs=(PairFolder(tmp_path),)
    )
    match = r"1 of 1 images held out is on ground that is trained on, too, .* \(--holdout.*: b$"
    with pytest.warns(DecrWarning, match=match):
        read_checked(replace(asked, holdout=("b",)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        read_checked(replace(asked, holdout=("c",)))


def test_ground_of_clear_images_on_both_sides_is_told(tmp_path: Path) -> None:
    """Also that of a pair held out which was cut from a clear image that is trained on."""
    rng = np.random.default_rng(0)
    scene = rng.integers(1, 200, (3, 150, 300)).astype(np.uint8)
    scene[:, :, 200:] = 0  # not read: what lies there is not trained on
    later = rng.integers(1, 200, (3, 150, 150)).astype(np.uint8)
    for side in ("grounds", "pairs/cloudy", "pairs/clear"):
        (tmp_path / side).mkdir(parents=True)
    write_scene(tmp_path / "grounds/a_2016.tif", scene, names=BANDS[3], transform=GRID, nodata=0)
    write_scene(tmp_path / "grounds/a_2018.tif", later, names=BANDS[3], transform=GRID)
    for name, dn, col in (("b", scene[:, :140, 30:170], 30), ("c", later[:, :140, :140], 210)):
        place = GRID @ Affine.translation(col, 0)
        for side in ("cloudy", "clear"):
            write_scene(tmp_path / f"pairs/{side}/{name}.tif", dn, names=BANDS[3], transform=place)
    asked = replace(
        recipe(tmp_path, "coarse"),
        bands=BANDS[3],
        clear=(Folder(tmp_path / "grounds"),),
        pairs=(PairFolder(tmp_path / "pairs"),),
    )
    for held in ("a_2018.tif", "b"):
        match = rf"1 of 2 images held out is on ground that is trained on, too, .*: {held}$"
        with pytest.warns(DecrWarning, match=match):
            read_checked(replace(asked, holdout=(held, "c")))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        read_checked(replace(asked, holdout=("c",)))


def test_a_run_without_validation_is_told(folder: Path, tmp_path: Path) -> None:
    asked = recipe(folder, "coarse")
    looking = {"coarse": replace(QUICK, validate_every=1)}
    match = "recipe 'test': no image is held out, so there is no validation loss .*--holdout"
    unwatched = replace(asked, stages=looking, holdout=())
    with pytest.warns(DecrWarning, match=match):
        assert "; held out: 0 clear images, 0 pairs; bands" in planned(unwatched, tmp_path / "run")
    with pytest.warns(DecrWarning, match=match):
        run_recipe(unwatched, tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        read_checked(replace(asked, holdout=()))  # never looks
        told = planned(replace(asked, stages=looking), tmp_path / "other")
    assert "; held out: 1 clear images, 0 pairs; bands" in told


def test_pairs_held_out_do_not_validate_a_detector(folder: Path, tmp_path: Path) -> None:
    for n, split in enumerate(("train", "val")):
        dn = np.random.default_rng(n).integers(1, 200, (4, 130, 130)).astype(np.uint8)
        place = GRID @ Affine.translation(500 * (n + 1), 0)
        for side in ("cloudy", "clear"):
            (tmp_path / split / side).mkdir(parents=True)
            write_scene(tmp_path / split / side / "a.tif", dn, names=BANDS[4], transform=place)
    for stage in ("detector", "coarse"):
        asked = recipe(folder, stage)
        asked = replace(
            asked,
            stages={stage: replace(asked.stages[stage], validate_every=1)},
            pairs=(PairFolder(tmp_path),),
            holdout=(),
        )
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", DecrWarning)
            assert len(read_checked(asked)[1].pairs) == 1
        said = [str(one.message) for one in told]
        assert said == (stage == "detector") * [
            "recipe 'test': no clear image is held out, so there is no validation loss for a "
            "detector, which pairs do not give; name some (--holdout, or holdout in a recipe)"
        ]
