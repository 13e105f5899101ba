"""Tests of looking at networks while they train: the pictures, the loss, and no trace left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from decr.diffusion.fusion import prior_of
from decr.diffusion.schedule import NoiseSchedule
from decr.errors import OutputError
from decr.training import validation
from decr.training.loop import train_stage
from decr.training.run import run_recipe
from decr.training.settings import TrainConfig
from decr.training.stages import STAGES
from decr.training.validation import Watch, mosaic
from decr.zoo.bundle import read_card
from tests.tiny import DETECTOR, PARTS, tiny_networks
from tests.training.test_run import QUICK, recipe
from tests.training.test_stage_run import draw

CONFIG = TrainConfig(steps=3, batch=2, lr=1e-3, warmup=1, validate_every=2)


def watch(held_out: bool) -> Watch:
    samples = tuple(draw(np.random.default_rng(n)) for n in range(5))
    return Watch(samples, (0, 1, 2), held_out)


def train(
    stage: str, folder: Path, seen: Watch | None, config: TrainConfig = CONFIG
) -> dict[str, torch.Tensor]:
    parts = tiny_networks(PARTS | DETECTOR, 3)
    train_stage(STAGES[stage], parts, draw, folder, config, NoiseSchedule.linear(), watch=seen)
    return {f"{n}/{k}": v for n, m in parts.items() for k, v in m.state_dict().items()}


@pytest.mark.parametrize("stage", STAGES)
def test_a_look_leaves_no_trace_in_training(stage: str, tmp_path: Path) -> None:
    blind = train(stage, tmp_path / "blind", None)
    watched = train(stage, tmp_path / "watched", watch(held_out=True))
    for key, value in blind.items():
        assert torch.equal(value, watched[key]), key
    folder = tmp_path / "watched"
    assert sorted(p.name for p in (folder / "samples").glob("*.png")) == [
        f"{stage}_00002.png",
        f"{stage}_00003.png",
    ]
    with rasterio.open(folder / "samples" / f"{stage}_00003.png") as file:
        picture = file.read()
    # Four of the five samples, three columns of 32 px, 2 px apart.
    assert picture.shape == (3, 4 * 34 - 2, 3 * 34 - 2)
    assert (picture[:, :16, :32] == round(0.95 * 255)).all()  # the first sample's cloud
    lines = [json.loads(line) for line in (folder / f"{stage}.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3]
    assert all(np.isfinite(line["validation_loss"]) for line in lines)


def test_no_loss_is_told_of_imagery_that_is_learnt(tmp_path: Path) -> None:
    train("coarse", tmp_path, watch(held_out=False))
    assert (tmp_path / "coarse.jsonl").read_text() == ""
    assert len(list((tmp_path / "samples").iterdir())) == 2


def test_a_picture_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "samples").write_text("")
    with pytest.raises(OutputError, match=r"coarse_00002\.png: the picture cannot be written"):
        train("coarse", tmp_path, watch(held_out=False))


def test_looks_can_be_left_out(tmp_path: Path) -> None:
    train("coarse", tmp_path, watch(held_out=True), replace(CONFIG, validate_every=0))
    assert not (tmp_path / "samples").exists()


def test_a_mosaic_has_a_row_per_sample() -> None:
    dark, light = np.zeros((2, 3, 4, 5), np.float32), np.ones((2, 3, 4, 5), np.float32)
    picture = mosaic([dark, 0.5 * light])
    assert picture.shape == (3, 10, 12)
    assert (picture[:, :4, :5] == 0).all()
    assert (picture[:, 6:, 7:] == 128).all()
    assert (picture[:, 4:6] == 255).all()


def picture(folder: Path, seen: Watch) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The first look at the stage `joint`."""
    train("joint", folder, seen)
    with rasterio.open(folder / "samples" / "joint_00002.png") as file:
        return np.asarray(file.read())


@pytest.mark.parametrize("other", [{"steps": 2}, {"prior_floor": 0.9}, {"level_px": 8}])
def test_pictures_are_sampled_as_told(tmp_path: Path, other: dict[str, Any]) -> None:
    usual = picture(tmp_path / "usual", watch(held_out=True))
    told = picture(tmp_path / "told", replace(watch(held_out=True), **other))
    differ = (usual != told).any(axis=(0, 1))
    assert differ[34:66].any()
    assert not differ[:34].any()
    assert not differ[66:].any()


def test_pictures_with_a_floor_of_1_show_the_reference(tmp_path: Path) -> None:
    seen = replace(watch(held_out=True), prior_floor=1.0)
    shown = picture(tmp_path, seen)[:, :32, 34:66]
    cloudy = torch.from_numpy(seen.samples[0].cloudy)[None]
    with torch.no_grad():
        prior = prior_of(tiny_networks(PARTS | DETECTOR, 3)["reference"], cloudy)
    expected = ((prior[0] + 1) / 2).clamp(0, 1).numpy() * 255
    np.testing.assert_allclose(shown, expected, atol=0.51)


def test_pictures_are_sampled_as_the_bundle_will_be(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Watch] = []
    monkeypatch.setattr(validation, "mosaic", lambda images: np.zeros((3, 4, 4), np.uint8))
    monkeypatch.setattr(
        validation, "_columns", lambda progress, batch, watch: seen.append(watch) or []
    )
    stages = {"coarse": replace(QUICK, validate_every=100)}
    asked = replace(recipe(folder, "coarse"), stages=stages, steps=4, prior_floor=0.7, level_px=32)
    path = run_recipe(asked, tmp_path / "run")
    assert path is not None
    card = read_card(path)
    assert [(w.steps, w.prior_floor, w.level_px) for w in seen] == [(4, 0.7, 32)]
    assert (card.steps, card.prior_floor, card.level_px) == (4, 0.7, 32)
