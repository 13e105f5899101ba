"""Tests of `decr train detector` from end to end: from nothing, and from another detector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from decr.models.registry import create
from decr.predictor import load_detector
from decr.training.recipe import Recipe
from decr.training.run import run_recipe
from decr.training.start import start_from
from decr.zoo.bundle import Part, load_bundle
from tests.tiny import DETECTOR
from tests.training.test_run import QUICK, recipe


def test_a_detector_recipe_gives_a_detector(folder: Path, tmp_path: Path) -> None:
    path = run_recipe(recipe(folder, "detector"), tmp_path / "run")
    assert path is not None
    detector = load_detector(path, device="cpu")
    assert not detector.darkest
    assert detector.probability(np.zeros((1, 4, 64, 64), np.float32)).shape == (1, 64, 64)


def test_a_detector_may_see_means_alone_and_more_later(folder: Path, tmp_path: Path) -> None:
    plain = recipe(folder, "detector")
    path = run_recipe(plain, tmp_path / "plain")
    assert path is not None
    views = np.random.default_rng(0).random((1, 8, 64, 64), np.float32)
    size = {**DETECTOR["detector"].size, "darkest": True}
    more = {"detector": create("cloudnet", 4, size)}
    start_from(path, more, plain.bands)
    with torch.no_grad():
        found = more["detector"].eval()(torch.from_numpy(views))[:, 0].numpy()
    # At first the darkest say nothing.
    wanted = load_detector(path, device="cpu").probability(views[:, :4])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    both = replace(plain, parts={"detector": Part("cloudnet", size)}, start=path)
    path = run_recipe(both, tmp_path / "both")
    assert path is not None
    detector = load_detector(path, device="cpu")
    assert detector.darkest
    assert detector.probability(views).shape == (1, 64, 64)


def test_a_detector_keeps_a_share_of_its_start_whenever_it_is_asked_to(
    folder: Path, tmp_path: Path
) -> None:
    start = run_recipe(recipe(folder, "detector"), tmp_path / "start")
    again = replace(recipe(folder, "detector"), start=start)
    kept = {}
    # The last of another folder, where no run came before.
    for share, run in ((0.0, "run"), (0.25, "run"), (0.25, "other")):
        path = run_recipe(share_of(again, share), tmp_path / run)
        assert path is not None
        kept[share, run] = load_bundle(path).networks["detector"].state_dict()
    trained, mixed = kept[0.0, "run"], kept[0.25, "run"]
    assert start is not None
    began = load_bundle(start).networks["detector"].state_dict()
    for key, value in mixed.items():
        torch.testing.assert_close(value, kept[0.25, "other"][key], rtol=0, atol=0)
        if key.endswith((".weight", ".bias")):
            wanted = torch.lerp(trained[key], began[key], 0.25)
            torch.testing.assert_close(value, wanted, rtol=2e-3, atol=1e-5)
    norms = [key for key in mixed if key.endswith("running_mean")]
    assert any(not torch.equal(mixed[key], trained[key]) for key in norms)


def share_of(asked: Recipe, share: float) -> Recipe:
    """The recipe of a detector that keeps so much of its start."""
    return replace(asked, stages={"detector": replace(QUICK, start_share=share)})
