"""Tests of `decr train` from end to end: a recipe and a few GeoTIFFs in, a usable bundle out."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine

from decr.dataset.clear import Folder
from decr.dataset.pairs import PairFolder
from decr.errors import BundleError, ConfigError, DatasetError, DecrWarning
from decr.models.registry import create
from decr.predictor import load_detector, load_restorer
from decr.training.imagery import read_split
from decr.training.recipe import Recipe
from decr.training.run import _names_digest, run_recipe
from decr.training.settings import TrainConfig
from decr.training.start import start_from
from decr.zoo.average import average_bundles
from decr.zoo.bundle import load_bundle, read_card, save_with_card
from decr.zoo.card import Part
from tests.pipeline.scenes import write_scene
from tests.tiny import BANDS, DETECTOR, PARTS, tiny_bundle

QUICK = TrainConfig(steps=2, batch=1, warmup=1, size_px=64, validate_every=0)


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


@pytest.mark.parametrize(
    ("dtype", "whites", "ranges"),
    [
        ("uint8", (None, None), {"uint8": (0.0, 255.0)}),
        ("uint8", (180.0, 180.0), {"uint8": (0.0, 180.0)}),
        ("uint8", (2047.0, 255.0), {"uint8": (0.0, 255.0)}),  # meant for 16 bits beside them
        ("uint8", (180.0, 255.0), {}),
        ("uint16", (2047.0, 2047.0), {"uint8": (0.0, 255.0)}),
    ],
)
def test_a_bundle_declares_the_white_of_its_8_bit_images(
    dtype: str,
    whites: tuple[float | None, float | None],
    ranges: dict[str, tuple[float, float]],
    tmp_path: Path,
) -> None:
    folders = []
    for seed, white in enumerate(whites):
        folder = tmp_path / str(seed)
        folder.mkdir()
        pixels = np.random.default_rng(seed).integers(20, 200, (4, 150, 150)).astype(dtype)
        write_scene(folder / f"{seed}.tif", pixels)
        folders.append(Folder(folder, white=white))
    asked = replace(recipe(tmp_path, "coarse"), clear=tuple(folders), holdout=())
    path = run_recipe(asked, tmp_path / "run")
    assert path is not None
    assert load_bundle(path).card.ranges == ranges
    # What a start declared stays, unless the images say otherwise.
    start = tiny_bundle(tmp_path, 4)
    path = run_recipe(replace(asked, parts=PARTS, start=start), tmp_path / "on")
    assert path is not None
    assert load_bundle(path).card.ranges == ranges


def test_a_card_tells_the_pixel_sizes_of_all_pairs(folder: Path, tmp_path: Path) -> None:
    for place, size_m in (("a", 0.5), ("b", 3.0), ("c", 1.0)):
        for n, side in enumerate(("cloudy", "clear")):
            pixels = np.random.default_rng(ord(place) + n).integers(20, 200, (4, 150, 150))
            (tmp_path / "set" / side).mkdir(parents=True, exist_ok=True)
            grid = Affine(size_m, 0, 440_000, 0, -size_m, 4_420_000)
            path = tmp_path / "set" / side / f"{place}.tif"
            write_scene(path, pixels.astype(np.uint8), transform=grid)
    pairs = (PairFolder(tmp_path / "set", split="all"),)
    asked = replace(recipe(folder, "coarse"), pairs=pairs, gsd_m=0.5, gsd_range_m=(0.6, 1.2))
    for clear, holdout, span in (
        ((), (), (0.5, 3.0)),
        ((), ("b",), (0.5, 1.2)),
        (asked.clear, ("a", "b"), (0.6, 1.2)),
    ):
        run = tmp_path / "-".join(("run", *holdout))
        path = run_recipe(replace(asked, clear=clear, holdout=holdout), run)
        assert path is not None
        assert read_card(path).gsd_range_m == span
    unknown = replace(asked, clear=(), gsd_range_m=(0.0, 0.0))
    path = run_recipe(unknown, tmp_path / "unknown")
    assert path is not None
    assert read_card(path).gsd_range_m == (0.0, 0.0)


def test_a_start_is_given_credit(folder: Path, tmp_path: Path) -> None:
    start, first = tmp_path / "start.safetensors", tiny_bundle(tmp_path, 4)
    card = replace(read_card(first), licence="CC-BY-4.0", provenance={"attribution": "A; B"})
    save_with_card(first, start, card)
    asked = replace(recipe(folder, "coarse"), parts=PARTS, start=start, attribution="C; A")
    for said, licence in (("CC0", "CC0"), ("", "CC-BY-4.0")):
        path = run_recipe(replace(asked, licence=said), tmp_path / licence)
        assert path is not None
        made = read_card(path)
        assert (made.licence, made.provenance["attribution"]) == (licence, "C; A; B")


def test_training_from_a_mean_gives_credit_to_both(folder: Path, tmp_path: Path) -> None:
    first, paths = tiny_bundle(tmp_path, 4), []
    for name, licence in (("a", "CC0"), ("b", "CC BY-NC 4.0")):
        paths.append(tmp_path / f"{name}.safetensors")
        said = {"attribution": f"Owner of {name}"}
        card = replace(read_card(first), name=name, licence=licence, provenance=said)
        save_with_card(first, paths[-1], card)
    mean = tmp_path / "mean.safetensors"
    average_bundles(*paths, mean)
    asked = replace(recipe(folder, "coarse"), parts=PARTS, start=mean, licence="")
    path = run_recipe(asked, tmp_path / "run")
    assert path is not None
    made = read_card(path)
    assert made.licence == "CC0; and of b: CC BY-NC 4.0"
    assert made.provenance["attribution"] == "Owner of a; Owner of b"


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_in_the_last_step_of_a_stage_ends_the_run(
    folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    asked = recipe(folder, "reference", "coarse")

    def interrupt(stage: str, step: int, steps: int, loss: float) -> None:
        if step == steps:
            signal.raise_signal(number)

    assert run_recipe(asked, tmp_path, interrupt) is None
    assert (tmp_path / "reference.pt").exists()
    assert not (tmp_path / "coarse.pt").exists()
    # Nothing is left after the last stage but to write the bundle.
    assert run_recipe(asked, tmp_path, interrupt) == tmp_path / "test.safetensors"
    alone = tmp_path / "alone"
    assert run_recipe(asked, alone, interrupt, stage="reference") == alone / "test.safetensors"


def test_a_start_that_is_replaced_while_it_is_trained_from_is_still_the_one_named(
    folder: Path, tmp_path: Path
) -> None:
    start = tiny_bundle(tmp_path, 4)
    card = replace(read_card(start), licence="CC-BY-4.0", provenance={"attribution": "A"})
    save_with_card(start, start, card)
    sha256 = load_bundle(start).sha256
    stages = ("coarse", "weights")
    asked = replace(recipe(folder, *stages), parts=PARTS, start=start, licence="")

    def replaced(stage: str, step: int, steps: int, loss: float) -> None:
        save_with_card(start, start, replace(card, licence="CC0", provenance={}))

    def removed(stage: str, step: int, steps: int, loss: float) -> None:
        start.unlink(missing_ok=True)

    for change in (replaced, removed):
        save_with_card(start, start, card)
        path = run_recipe(asked, tmp_path / change.__name__, change)
        assert path is not None
        made = read_card(path)
        assert (made.licence, made.provenance["attribution"]) == ("CC-BY-4.0", "A")
        assert made.provenance["started_from"] == f"{start.name}, sha256 {sha256[:12]}"


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


def test_held_out_images_are_not_trained_on(folder: Path) -> None:
    whole = recipe(folder, "coarse")
    trained, unseen = read_split(whole)
    assert [i.name for i in trained.clear] == ["s_0.tif", "s_1.tif", "s_2.tif"]
    assert [i.name for i in unseen.clear] == ["s_3.tif"]
    with pytest.raises(DatasetError, match="no training image with bands"):
        read_split(replace(whole, holdout=("*",)))


def test_a_pattern_that_holds_nothing_out_is_told(folder: Path) -> None:
    with pytest.warns(DecrWarning, match=r"no image is called s_7\*, so that holds out none"):
        read_split(replace(recipe(folder, "coarse"), holdout=("s_3", "s_7*")))


@pytest.mark.parametrize("pattern", ["b*", "b.tif", "train/b*"])
def test_pairs_are_held_out_by_the_names_of_their_files(tmp_path: Path, pattern: str) -> None:
    for side in ("cloudy", "clear"):
        for name in "abc":
            path = tmp_path / "train" / side / f"{name}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            seed = ord(name) + len(side)
            pixels = np.random.default_rng(seed).integers(20, 200, (4, 150, 160))
            write_scene(path, pixels.astype(np.uint8))
    pairs = PairFolder(tmp_path, split="train")
    asked = replace(recipe(tmp_path, "coarse"), clear=(), pairs=(pairs,), holdout=(pattern,))
    trained, unseen = read_split(asked)
    assert [pair.name for pair in trained.pairs] == ["train/a", "train/c"]
    assert "train/b" in [pair.name for pair in unseen.pairs]


def test_labelled_images_without_the_bands_or_too_small_are_passed_over(
    folder: Path, tmp_path: Path
) -> None:
    views, masks = tmp_path / "views", tmp_path / "masks"
    for path in (views, masks):
        path.mkdir()
    rng = np.random.default_rng(0)
    for name, bands, side in (("good", 4, 200), ("small", 4, 60), ("rgb", 3, 200)):
        roles = ("red", "green", "blue", "nir")[:bands]
        pixels = rng.integers(0, 255, (bands, side, side)).astype(np.uint8)
        write_scene(views / f"{name}.tif", pixels, names=roles)
        write_scene(masks / f"{name}.tif", pixels[:1] // 128, names=None)
    labelled = Folder(views, white=255.0, masks=masks)
    imagery, _ = read_split(replace(recipe(folder, "detector"), labelled=(labelled,)))
    assert [image.name for image in imagery.labelled] == ["good.tif"]


def test_a_start_may_hold_some_of_the_parts(folder: Path, tmp_path: Path) -> None:
    alone = tiny_bundle(tmp_path, 4, {"reference": PARTS["reference"]})
    whole = replace(recipe(folder, "coarse", "weights"), start=alone)
    path = run_recipe(whole, tmp_path / "run")
    assert path is not None
    trained = load_bundle(path).networks
    assert set(trained) == {"reference", "cnp", "wa"}
    theirs = load_bundle(alone).networks["reference"].state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in trained["reference"].state_dict().items())
    # A stage that needs what neither the start nor a stage before it gave is refused.
    with pytest.raises(ConfigError, match="needs a trained cnp"):
        run_recipe(replace(recipe(folder, "weights"), start=alone), tmp_path / "other")


def test_stages_of_one_folder_build_on_one_another(folder: Path, tmp_path: Path) -> None:
    stages = ("reference", "coarse", "weights", "joint")
    straight = run_recipe(recipe(folder, *stages), tmp_path / "straight")
    path = None
    for stage in stages:
        path = run_recipe(recipe(folder, *stages), tmp_path / "steps", stage=stage)
        assert path is not None
        # Only what was trained is worth keeping.
        wanted = {"reference": 1, "coarse": 2, "weights": 3, "joint": 3}[stage]
        assert len(load_bundle(path).networks) == wanted
    assert straight is not None
    assert path is not None
    one, two = load_bundle(straight), load_bundle(path)
    for name, network in one.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, two.networks[name].state_dict()[key])
    assert two.card.provenance["stages"] == one.card.provenance["stages"]
    with pytest.raises(ConfigError, match="has no stage 'detector'; it has reference, coarse"):
        run_recipe(recipe(folder, *stages), tmp_path / "steps", stage="detector")


def test_an_unfinished_stage_is_not_built_upon(folder: Path, tmp_path: Path) -> None:
    whole = recipe(folder, "reference", "coarse")
    assert run_recipe(whole, tmp_path, stage="reference", max_minutes=0.0) is None
    with pytest.raises(DatasetError, match="stopped at step 1 of 2; finish it first with `decr"):
        run_recipe(whole, tmp_path, stage="coarse")


def test_frozen_networks_must_have_been_trained(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stage weights needs a trained cnp and reference"):
        run_recipe(recipe(folder, "weights"), tmp_path)


@pytest.mark.parametrize(
    ("architecture", "size"),
    [("memorynet", {"width": 4, "growth": 4, "extra": 4, "blocks": 1}), ("spagan", {"width": 4})],
)
def test_published_references_train_by_their_own_loss(
    folder: Path, tmp_path: Path, architecture: str, size: dict[str, int]
) -> None:
    whole = replace(recipe(folder, "reference"), parts={"reference": Part(architecture, size)})
    path = run_recipe(whole, tmp_path)
    assert path is not None
    assert load_bundle(path).card.parts["reference"].architecture == architecture
    state = torch.load(tmp_path / "reference.pt", weights_only=True)
    assert ("discriminator" in state) == (architecture == "spagan")
    assert state["optimiser"]["param_groups"][0]["betas"] == (0.5, 0.999)


def test_the_weights_of_a_published_loss_are_read(folder: Path, tmp_path: Path) -> None:
    msda = Part("msda", {})
    whole = replace(
        recipe(folder, "reference"), parts={"reference": msda}, vgg16=tmp_path / "absent.pth"
    )
    with pytest.raises(BundleError, match=r"absent\.pth: cannot read .*; VGG16 is torchvision"):
        run_recipe(whole, tmp_path / "run")


def test_held_out_images_are_looked_at(folder: Path, tmp_path: Path) -> None:
    stages = {"coarse": replace(QUICK, validate_every=100)}
    run_recipe(replace(recipe(folder, "coarse"), stages=stages), tmp_path / "run")
    assert [p.name for p in (tmp_path / "run" / "samples").iterdir()] == ["coarse_00002.png"]
    assert "validation_loss" in (tmp_path / "run" / "coarse.jsonl").read_text()


def test_a_perceptual_term_needs_its_network(folder: Path, tmp_path: Path) -> None:
    class Distance(torch.nn.Module):
        calls = 0

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            Distance.calls += 1
            assert a.shape[1] == b.shape[1] == 3
            return (a - b).abs().mean(dim=(1, 2, 3))

    stages = {"reference": QUICK, "joint": replace(QUICK, perceptual=0.5)}
    whole = replace(recipe(folder, "joint"), stages=stages, start=tiny_bundle(tmp_path, 4))
    with pytest.raises(ConfigError, match=r"stage joint has a perceptual term.*lpips_backbone"):
        run_recipe(whole, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert run_recipe(whole, tmp_path / "run", unlikeness=Distance()) is not None
    assert Distance.calls >= QUICK.steps


def test_a_digest_tells_splits_apart_whatever_their_order() -> None:
    assert _names_digest(["a", "b"]) == _names_digest(["b", "a"]) != _names_digest(["a", "c"])
    assert len(_names_digest([])) == 12
