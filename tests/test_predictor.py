"""Tests of the predictor: same bits for any batch, the corner matters only as noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from decr.device import pick_device
from decr.diffusion.fusion import FusedDenoiser
from decr.diffusion.noise import noise_window
from decr.diffusion.samplers import ddim
from decr.errors import BundleError, ConfigError
from decr.predictor import (
    Restorer,
    load_detector,
    load_restorer,
    micro_batch,
    pick_precision,
)
from decr.zoo.bundle import load_bundle, save_with_card
from decr.zoo.card import Part
from tests.tiny import BANDS, DETECTOR, PARTS, tiny_bundle

CORNERS = [(0, 0), (0, 192), (192, 0), (192, 192), (384, 0), (0, 384), (7, 11)]
REFERENCE = {"reference": PARTS["reference"]}


def tiles(count: int = 7, bands: int = 4, side: int = 16) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (count, bands, side, side)).astype(np.float32)


def restorer(path: Path, precision: str = "float32", **options: object) -> Restorer:
    return load_restorer(path, device="cpu", precision=precision, **options)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path, 4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_results_do_not_depend_on_the_batch(path: Path, precision: str) -> None:
    one = restorer(path, precision)
    whole = one.restore(tiles(), CORNERS)
    assert whole.shape == (7, 4, 16, 16)
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    assert np.abs(whole).max() <= 1
    for size in (1, 2, 3):
        parts = [
            one.restore(tiles()[i : i + size], CORNERS[i : i + size]) for i in range(0, 7, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    order = [5, 0, 6, 2, 4, 1, 3]
    shuffled = one.restore(tiles()[order], [CORNERS[i] for i in order])
    np.testing.assert_array_equal(shuffled, whole[order])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_results_do_not_depend_on_the_batch_on_a_gpu(path: Path, precision: str) -> None:
    one = load_restorer(path, device="cuda", precision=precision)
    many, corners = np.tile(tiles(), (3, 1, 1, 1)), CORNERS * 3
    whole = one.restore(many, corners)
    for size in (1, 3, 8):
        parts = [one.restore(many[i : i + size], corners[i : i + size]) for i in range(0, 21, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("level_px", [0, 8])
def test_it_is_the_published_algorithm_with_the_noise_of_the_place(
    path: Path, tmp_path: Path, level_px: int
) -> None:
    """Published without a level, that is.

    In the layout of the restorer: the first x0 is a large multiple of the predicted noise, whose
    last digits depend on it.
    """
    cloudy, (row, col) = tiles(1), (192, 384)
    carded = tmp_path / "carded.safetensors"
    save_with_card(path, carded, replace(load_bundle(path).card, level_px=level_px))
    got = restorer(carded, steps=4, prior_floor=0.2, seed=9).restore(cloudy, [(row, col)])
    bundle = load_bundle(path)
    nets, full = bundle.networks, bundle.card.schedule
    for net in nets.values():
        net.to(memory_format=torch.channels_last)
    with torch.no_grad():
        y = torch.from_numpy(cloudy).contiguous(memory_format=torch.channels_last)
        prior = 2 * nets["reference"]((y + 1) / 2) - 1
        denoise = FusedDenoiser(nets["cnp"], nets["wa"], full, y, prior, 0.2, level_px=level_px)
        start = torch.from_numpy(noise_window(9, row, col, 4, 16, 16))[None]
        start = start.contiguous(memory_format=torch.channels_last)
        wanted = ddim(denoise, start, full.respaced(4)).clamp(-1, 1)
    np.testing.assert_allclose(got, wanted.numpy(), atol=1e-5)


def test_a_corner_matters_only_through_the_noise(path: Path, tmp_path: Path) -> None:
    same = np.repeat(tiles(1), 2, axis=0)
    here, there = restorer(path).restore(same, [(0, 0), (192, 0)])
    assert not np.array_equal(here, there)
    full_trust = restorer(path, prior_floor=1.0)
    here, there = full_trust.restore(same, [(0, 0), (192, 0)])
    np.testing.assert_allclose(here, there, atol=1e-6)
    alone = restorer(tiny_bundle(tmp_path, 4, REFERENCE))
    here, there = alone.restore(same, [(0, 0), (192, 0)])
    np.testing.assert_array_equal(here, there)


def test_the_seed_matters_and_decides(path: Path) -> None:
    zero, one = (restorer(path, seed=s).restore(tiles(1), [(0, 0)]) for s in (0, 1))
    assert not np.array_equal(zero, one)
    np.testing.assert_array_equal(zero, restorer(path, seed=0).restore(tiles(1), [(0, 0)]))


def test_input_tiles_are_left_alone(path: Path) -> None:
    given = tiles(2)
    restorer(path).restore(given, CORNERS[:2])
    np.testing.assert_array_equal(given, tiles(2))


def test_a_reference_alone_is_a_restorer(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, 3, REFERENCE)
    got = restorer(path).restore(tiles(2, 3), CORNERS[:2])
    network = load_bundle(path).networks["reference"]
    with torch.no_grad():
        wanted = 2 * network((torch.from_numpy(tiles(2, 3)) + 1) / 2) - 1
    np.testing.assert_allclose(got, wanted.numpy(), atol=1e-5)


def test_the_card_decides_unless_the_user_does(path: Path) -> None:
    default, chosen = restorer(path), restorer(path, steps=2, prior_floor=0.0, seed=5)
    assert default.settings["steps"] == "3"
    assert default.settings["prior_floor"] == "0.4"
    assert chosen.settings == {
        "steps": "2",
        "prior_floor": "0",
        "seed": "5",
        "precision": "float32",
        "device": "cpu",
    }
    assert default.bands == BANDS[4]
    assert default.name == "tiny"
    assert default.version == load_bundle(path).sha256
    assert default.gsd_m == 0.5
    assert default.ranges == {"uint8": (0.0, 255.0)}


@pytest.mark.parametrize(
    "parts",
    [
        {"wa": PARTS["wa"]},
        {"reference": PARTS["reference"], "cnp": PARTS["cnp"]},
        {"cnp": PARTS["cnp"], "wa": PARTS["wa"]},
        DETECTOR,
        PARTS | DETECTOR,
    ],
)
def test_other_parts_do_not_restore(tmp_path: Path, parts: dict) -> None:
    path = tiny_bundle(tmp_path, 4, parts)
    with pytest.raises(
        BundleError, match=r"holds .*; a restoring model needs a reference"
    ) as caught:
        load_restorer(path)
    assert str(path) in str(caught.value)


def test_impossible_steps_are_refused_when_loading(path: Path) -> None:
    with pytest.raises(ConfigError, match="no stride"):
        restorer(path, steps=999)


def test_a_detector_gives_probabilities_whatever_the_batch(tmp_path: Path) -> None:
    detector = load_detector(tiny_bundle(tmp_path, 3, DETECTOR), device="cpu")
    views = (tiles(3, 3, 64) + 1) / 2
    out = detector.probability(views)
    assert out.shape == (3, 64, 64)
    assert out.dtype == np.float32
    assert 0 <= out.min() < out.max() <= 1
    np.testing.assert_array_equal(out[1:2], detector.probability(views[1:2]))
    assert (detector.name, detector.bands, detector.gsd_m) == ("tiny", BANDS[3], 0.5)


def test_a_restorer_is_no_detector(path: Path) -> None:
    with pytest.raises(BundleError, match=r"holds .*reference.*, not a cloud detector"):
        load_detector(path)


def test_devices_and_precisions_are_picked_by_name_and_others_are_refused() -> None:
    cpu = torch.device("cpu")
    assert pick_device("cpu") == cpu
    assert pick_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ConfigError, match="unknown device 'abacus'; use auto, cpu or cuda"):
        pick_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            pick_device("cuda")
    assert pick_precision("float32", cpu) == torch.float32
    assert pick_precision("bfloat16", cpu) == torch.bfloat16
    assert pick_precision("auto", cpu) in (torch.float32, torch.bfloat16)
    with pytest.raises(ConfigError, match="unknown precision 'bf16'; use auto, float32 or bfl"):
        pick_precision("bf16", cpu)
    assert micro_batch(cpu) == 1


def test_half_the_bits_are_close_to_all_of_them(path: Path) -> None:
    exact = restorer(path).restore(tiles(2), CORNERS[:2])
    rough = restorer(path, "bfloat16").restore(tiles(2), CORNERS[:2])
    assert np.abs(exact - rough).mean() < 0.02


def test_a_noise_predictor_alone_is_plain_conditional_diffusion(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, 4, {"cnp": PARTS["cnp"]})
    out = restorer(path).restore(tiles(1), CORNERS[:1])
    bundle = load_bundle(path)
    schedule = bundle.card.schedule
    with torch.no_grad():
        denoise = FusedDenoiser(
            bundle.networks["cnp"], None, schedule, torch.from_numpy(tiles(1)), None
        )
        noise = torch.from_numpy(noise_window(0, *CORNERS[0], 4, 16, 16)[None])
        wanted = ddim(denoise, noise, schedule.respaced(3)).clamp(-1, 1).numpy()
    np.testing.assert_allclose(out, wanted, atol=1e-5)


def test_a_tile_that_a_network_cannot_take_is_one_clear_error(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, 4, {"reference": Part("cvae", {"width": 64, "latent": 2})})
    assert restorer(path).restore(tiles(1, side=64), CORNERS[:1]).shape == (1, 4, 64, 64)
    with pytest.raises(ConfigError, match=r"model tiny: .*256"):
        restorer(path).restore(tiles(1, side=288), CORNERS[:1])
