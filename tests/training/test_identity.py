"""Tests of what a run's folder may be gone on with: the same images, the same stages before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from decr.dataset.clear import Folder
from decr.dataset.samples import Variety
from decr.errors import DatasetError, DecrWarning, OutputError
from decr.files import sole_worker
from decr.training.identity import images_digest, samples_identity
from decr.training.imagery import read_split
from decr.training.recipe import Recipe
from decr.training.run import run_recipe
from decr.training.settings import TrainConfig
from decr.training.stages import STAGES as BY_NAME
from decr.zoo.bundle import load_bundle, save_bundle
from tests.pipeline.scenes import write_scene
from tests.tiny import BANDS, PARTS, randomised, tiny_bundle, tiny_card, tiny_networks

QUICK = TrainConfig(steps=2, batch=1, warmup=1, size_px=64, validate_every=0)
STAGES = ("reference", "coarse", "weights", "joint")


def scenes(folder: Path, seed: int = 0) -> Path:
    """Four clear scenes of 150 px."""
    folder.mkdir()
    for n in range(4):
        pixels = np.random.default_rng([seed, n]).integers(20, 200, (4, 150, 160))
        write_scene(folder / f"s_{n}.tif", pixels.astype(np.uint8))
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """All stages on three scenes, the fourth being held out."""
    return Recipe(
        name="test",
        bands=BANDS[4],
        clear=(Folder(scenes(tmp_path / "scenes")),),
        labelled=(),
        holdout=("s_3",),
        stages=dict.fromkeys(STAGES, QUICK),
        parts=PARTS,
    )


def weights(bundle: Path | None) -> dict[str, torch.Tensor]:
    assert bundle is not None
    networks = load_bundle(bundle).networks
    return {f"{n}/{k}": v for n, net in networks.items() for k, v in net.state_dict().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(v, two[k]) for k, v in one.items())


def test_a_run_does_not_go_on_with_other_images(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    path = run_recipe(recipe, run, stage="reference")
    assert path is not None
    kept = path.read_bytes()
    # Names and sizes are those of before.
    other = replace(recipe, clear=(Folder(scenes(tmp_path / "other", seed=1)),))
    dark = replace(recipe, clear=(replace(recipe.clear[0], white=200.0),))
    for changed in (other, dark, replace(recipe, holdout=("s_0",))):
        for stage in ("reference", "all", "coarse"):
            with pytest.raises(DatasetError, match=r"reference\.pt: .*: images \(.*holdout"):
                run_recipe(changed, run, stage=stage)
    assert path.read_bytes() == kept
    # The same images, held out and kept elsewhere by other words.
    moved = recipe.clear[0].path.rename(tmp_path / "moved")
    again = replace(recipe, clear=(Folder(moved),), holdout=("s_3.*",))
    assert run_recipe(again, run, stage="reference") == path


def test_how_samples_are_drawn_is_part_of_a_run(recipe: Recipe, tmp_path: Path) -> None:
    run_recipe(recipe, tmp_path / "run", stage="reference")
    with pytest.raises(DatasetError, match=r"gsd_range_m was \[0\.3, 2\.0\], is \[0\.3, 1\.0\]"):
        run_recipe(replace(recipe, gsd_range_m=(0.3, 1.0)), tmp_path / "run", stage="reference")
    # No pair is there to be drawn, and names are for people.
    free = replace(recipe, pair_share=0.1, name="other", licence="CC0")
    assert run_recipe(free, tmp_path / "run", stage="reference") is not None


def test_images_are_told_apart_by_all_that_is_learnt_from(recipe: Recipe) -> None:
    training, unseen = read_split(recipe)
    digests = {images_digest(imagery, False) for imagery in (training, unseen)}
    first = training.clear[0]
    for change in ({"gsd_m": 0.7}, {"weight": 2.0}, {"dn": first.dn[:, ::-1]}, {"name": "x"}):
        clear = [replace(first, **change), *training.clear[1:]]  # type: ignore[arg-type]
        digests.add(images_digest(replace(training, clear=clear), False))
    assert len(digests) == 6
    assert images_digest(training, False) == images_digest(read_split(recipe)[0], False)


def test_one_stage_again_leaves_later_ones_in_the_bundle(recipe: Recipe, tmp_path: Path) -> None:
    begun = replace(recipe, start=tiny_bundle(tmp_path, 4))
    run = tmp_path / "run"
    whole = weights(run_recipe(begun, run))
    for stage in STAGES:
        assert same(weights(run_recipe(begun, run, stage=stage)), whole), stage


def test_stages_upon_other_networks_are_left_out_and_told(recipe: Recipe, tmp_path: Path) -> None:
    begun = replace(recipe, start=tiny_bundle(tmp_path, 4))
    run = tmp_path / "run"
    whole = weights(run_recipe(begun, run))
    (run / "reference.pt").unlink()
    anew = replace(begun, stages={**begun.stages, "reference": replace(QUICK, seed=7)})
    with pytest.warns(DecrWarning, match=r"weights\.pt: stage weights was trained upon other"):
        after = weights(run_recipe(anew, run, stage="reference"))
    changed = {
        key.split("/")[0] for key, value in after.items() if not torch.equal(value, whole[key])
    }
    assert changed == {"reference", "cnp", "wa"}
    with pytest.raises(
        DatasetError, match=r"weights\.pt: .*: start \(the bundle it goes on from, or"
    ):
        run_recipe(anew, run)


def test_a_stage_does_not_build_upon_those_of_another_start(recipe: Recipe, tmp_path: Path) -> None:
    owned, free = (tmp_path / f"{name}.safetensors" for name in ("owned", "free"))
    for path, seed in ((owned, 1), (free, 2)):
        networks = {n: randomised(net, seed) for n, net in tiny_networks(PARTS, 4).items()}
        save_bundle(path, tiny_card(PARTS, 4), networks)
    run = tmp_path / "run"
    assert run_recipe(replace(recipe, start=owned), run, stage="reference") is not None
    before = (run / "test.safetensors").read_bytes()
    for start in (free, None):
        with pytest.raises(DatasetError, match=r"reference\.pt: was begun .*: start \(the bundle"):
            run_recipe(replace(recipe, start=start), run, stage="coarse")
    assert (run / "test.safetensors").read_bytes() == before
    assert not (run / "coarse.pt").exists()


def test_stages_one_by_one_upon_a_start_are_those_of_one_run(
    recipe: Recipe, tmp_path: Path
) -> None:
    begun = replace(recipe, start=tiny_bundle(tmp_path, 4))
    whole, path = weights(run_recipe(begun, tmp_path / "whole")), None
    for stage in STAGES:
        path = run_recipe(begun, tmp_path / "run", stage=stage)
    assert same(weights(path), whole)


def test_two_runs_do_not_share_a_folder(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with (
        sole_worker(run, run),
        pytest.raises(OutputError, match="another decr is writing this output"),
    ):
        run_recipe(recipe, run, stage="reference")
    assert run_recipe(recipe, run, stage="reference") is not None


@pytest.mark.parametrize(("share", "noted"), [(0.0, False), (0.5, True)])
def test_runs_of_before_photos_were_shown_as_they_are_go_on(
    recipe: Recipe, share: float, noted: bool
) -> None:
    own = replace(recipe, variety=Variety(photo_share=share))
    seen, _ = read_split(own)
    said = samples_identity(BY_NAME["reference"], own, seen, "digest")
    assert ("photo_share" in str(said["variety"])) == noted
