"""What a plan refuses and tells: the same as its run, in the same words."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decr.dataset.pairs import PairFolder
from decr.errors import BundleError, ConfigError, DatasetError, DecrWarning, OutputError
from decr.training.plan import planned
from decr.training.recipe import Recipe
from decr.training.run import run_recipe
from decr.zoo.bundle import save_bundle
from decr.zoo.card import Part
from tests.pipeline.scenes import write_scene
from tests.tiny import BANDS, PARTS, randomised, tiny_bundle, tiny_card, tiny_networks
from tests.training.test_run import QUICK, recipe


def both_refuse(asked: Recipe, run: Path, match: str, stage: str = "all", **where: str) -> None:
    """A plan and a run, with the same words."""
    errors = BundleError, ConfigError, DatasetError, OutputError
    with pytest.raises(errors, match=match) as planning:
        planned(asked, run, stage, **where)
    with pytest.raises(planning.type) as running:
        run_recipe(asked, run, stage=stage, **where)
    assert str(running.value) == str(planning.value)


def test_a_plan_refuses_the_folder_that_its_run_refuses(folder: Path, tmp_path: Path) -> None:
    run, asked = tmp_path / "run", recipe(folder, "reference", "coarse")
    assert run_recipe(asked, run, stage="reference", max_minutes=0.0) is None
    both_refuse(asked, run, "reference stopped at step 1 of 2", "coarse")
    planned(asked, run)
    assert run_recipe(asked, run) is not None
    both_refuse(
        replace(asked, holdout=("s_1*",)), run, r"reference\.pt: was begun .*: images .*--white"
    )
    both_refuse(replace(asked, holdout=("s_1*",)), run, r"reference\.pt: was begun", "coarse")
    for key, says in (("seed", r"coarse\.pt: was begun .* seed was 0, is 1"), ("steps", "2, is 1")):
        stages = {"reference": QUICK, "coarse": replace(QUICK, **{key: 1})}
        both_refuse(replace(asked, stages=stages), run, says)
    before = {path: path.read_bytes() for path in run.glob("*.pt")}
    rarely = replace(asked, stages=dict.fromkeys(asked.stages, replace(QUICK, save_every=7)))
    assert "coarse: 2 steps" in planned(rarely, run)
    assert {path: path.read_bytes() for path in run.glob("*.pt")} == before


def test_a_plan_refuses_more_steps_than_are_asked_for(folder: Path, tmp_path: Path) -> None:
    constant = replace(QUICK, schedule="constant")
    asked = replace(recipe(folder, "coarse"), stages={"coarse": constant})
    run_recipe(asked, tmp_path / "run")
    shorter = replace(asked, stages={"coarse": replace(constant, steps=1)})
    both_refuse(shorter, tmp_path / "run", "trained for 2 steps, more than the 1 of this run")


def test_a_plan_refuses_what_a_stage_would_lack_once_it_begins(
    folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    asked = recipe(folder, "reference", "coarse")
    undated = replace(asked, date_pattern=r"(?P<date>\d{8})", other_date_share=0.5)
    both_refuse(undated, run, "no ground is there on two dates")
    dn = np.random.default_rng(0).integers(1, 200, (4, 130, 130)).astype(np.uint8)
    for side in ("cloudy", "clear"):
        (tmp_path / "pairs" / side).mkdir(parents=True)
        write_scene(tmp_path / "pairs" / side / "a.tif", dn, names=BANDS[4])
    only_pairs = replace(
        recipe(folder, "detector"),
        clear=(),
        pairs=(PairFolder(tmp_path / "pairs"),),
        holdout=(),
    )
    both_refuse(only_pairs, run, "a detector needs clear imagery")
    parts = {**asked.parts, "reference": Part("msda", {})}
    absent = replace(asked, parts=parts, vgg16=tmp_path / "vgg16.pth")
    both_refuse(absent, run, "vgg16.pth: .*VGG16 is")
    stages = {**asked.stages, "coarse": replace(QUICK, perceptual=0.1)}
    both_refuse(replace(asked, stages=stages), run, "coarse has a perceptual term")
    bands = ("red", "green", "nir")
    both_refuse(replace(asked, stages=stages, bands=bands), run, "the bands .* lack blue")
    assert not run.exists()


def test_a_plan_refuses_a_stage_that_cannot_be_trained(folder: Path, tmp_path: Path) -> None:
    both_refuse(recipe(folder, "weights"), tmp_path / "run", "needs a trained cnp and reference")
    both_refuse(recipe(folder, "weights"), tmp_path / "run", "has no stage 'joint'", "joint")
    with pytest.raises(ConfigError, match="needs a trained cnp and reference"):
        planned(recipe(folder, "reference", "coarse", "weights"), tmp_path / "new", "weights")
    started = replace(recipe(folder, "weights"), start=tiny_bundle(tmp_path, 4))
    assert "weights: 2 steps" in planned(started, tmp_path / "new")
    assert "weights: 2" in planned(recipe(folder, "reference", "coarse", "weights"), tmp_path / "n")


def test_a_plan_refuses_a_start_that_its_run_refuses(folder: Path, tmp_path: Path) -> None:
    start, run = tiny_bundle(tmp_path, 4), tmp_path / "run"
    asked = replace(recipe(folder, "coarse"), start=start)
    larger = {**asked.parts, "cnp": replace(asked.parts["cnp"], size={})}
    both_refuse(replace(asked, parts=larger), run, "'cnp' is another network or of another size")
    both_refuse(replace(asked, start=tiny_bundle(tmp_path, 3)), run, "has bands red, .* wanted")
    start.write_bytes(start.read_bytes()[:-8])
    both_refuse(asked, run, start.name)


def test_a_plan_refuses_checkpoints_of_other_networks(folder: Path, tmp_path: Path) -> None:
    start, run = tiny_bundle(tmp_path, 4), tmp_path / "run"
    asked = replace(recipe(folder, "reference", "weights"), start=start)
    assert run_recipe(asked, run) is not None
    other, networks = tmp_path / "other.safetensors", tiny_networks(PARTS, 4)
    randomised(networks["reference"])
    save_bundle(other, tiny_card(PARTS, 4), networks)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert "weights: 2 steps" in planned(asked, run)
    both_refuse(replace(asked, start=other), run, r"reference\.pt: .*start \(the bundle")
    both_refuse(replace(asked, start=other), run, r"reference\.pt: .*start \(the", "weights")
    larger = {**asked.parts, "reference": Part("compact")}
    asked_larger = replace(recipe(folder, "reference"), parts=larger)
    both_refuse(asked_larger, run, r"reference\.pt: was made with other networks")
    # What the second stage will begin with is not known before the first is trained.
    (run / "reference.pt").rename(tmp_path / "reference.pt")
    assert "weights: 2 steps" in planned(asked, run)
    stages = {**asked.stages, "weights": replace(QUICK, seed=1)}
    with pytest.raises(DatasetError, match=r"weights\.pt: .* seed was 0, is 1"):
        planned(replace(asked, stages=stages), run)
    (tmp_path / "reference.pt").rename(run / "reference.pt")
    assert {path: path.read_bytes() for path in before} == before


def test_a_plan_tells_what_its_run_tells_of_checkpoints(folder: Path, tmp_path: Path) -> None:
    asked, run = recipe(folder, "reference"), tmp_path / "run"
    asked = replace(asked, parts={"reference": Part("spagan", {"width": 4})})
    assert run_recipe(asked, run, max_minutes=0.0, precision="float32") is None
    slower = replace(asked, stages={"reference": replace(QUICK, lr=1e-4)})
    calls: tuple[Callable[[], object], ...] = (
        lambda: planned(slower, run, precision="bfloat16"),
        lambda: run_recipe(slower, run, precision="bfloat16"),
    )
    for call in calls:
        with pytest.warns(DecrWarning) as told:
            call()
        said = [str(one.message).partition("reference.pt: ")[2] for one in told]
        assert said == [
            "lr was 0.0004 up to step 1 and is 0.0001 from there on",
            "precision was float32 up to step 1 and is bfloat16 from there on",
        ]


def test_a_plan_refuses_where_its_run_cannot_write_or_compute(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, file = recipe(folder, "coarse"), tmp_path / "file"
    file.touch()
    for run in (file, file / "run"):
        both_refuse(asked, run, "cannot write there .*; name another folder")
    run = tmp_path / "run"
    both_refuse(asked, run, "unknown precision 'half'", precision="half")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    both_refuse(asked, run, "torch sees no CUDA device", device="cuda")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    both_refuse(asked, run, "a batch of 1 cannot be cut into 1 .* in each of 2 processes")
    assert not run.exists()


def test_absent_tensorboard_is_refused_before_anything_is_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    for call in (planned, run_recipe):
        with pytest.raises(ConfigError, match="TensorBoard is not installed"):
            call(recipe(folder, "coarse"), tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()
