"""What a CUDA device must give: near the CPU's numbers, and its own again whatever the grouping.

    python -m pytest tests/test_cuda.py

Skipped, visibly, where torch sees none.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from decr.config import DecloudConfig
from decr.device import Recorded, make_cuda_repeatable
from decr.diffusion.noise import noise_field, noise_window
from decr.diffusion.schedule import NoiseSchedule
from decr.errors import ConfigError
from decr.models.registry import create
from decr.pipeline.cluster import _local_cluster as cluster_of_this_machine
from decr.pipeline.cluster import open_engine
from decr.pipeline.declouds import declouds
from decr.pipeline.engine import local_engine
from decr.predictor import load_detector, load_restorer
from decr.training.loop import train_stage
from decr.training.place import placed
from decr.training.settings import TrainConfig
from decr.training.stages import STAGES
from decr.zoo.bundle import save_bundle
from decr.zoo.card import Part
from decr.zoo.embedded import embedded_path
from tests.pipeline.scenes import cloudy_pixels, read, write_scene
from tests.tiny import DETECTOR, PARTS, randomised, tiny_bundle, tiny_card, tiny_networks
from tests.training.test_loading import draw

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
CONFIG = DecloudConfig(detector="threshold", tile_px=64, overlap_px=16, steps=2, device="cuda")


def tiles(count: int, side: int = 64, bands: int = 4) -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.uniform(-1, 1, (count, bands, side, side)).astype(np.float32)


def test_the_noise_of_the_device_is_that_of_the_cpu() -> None:
    device = torch.device("cuda")
    corners = torch.tensor([[0, 0], [192, 299_808], [123_456, 7]], device=device)
    made = noise_field(11, 4, device)(corners, 64, 48).cpu().numpy()
    wanted = [noise_window(11, int(r), int(c), 4, 64, 48) for r, c in corners.cpu().tolist()]
    np.testing.assert_allclose(made, wanted, atol=1e-6)


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_embedded_models_give_what_they_give_on_a_cpu(bands: int, precision: str) -> None:
    path = embedded_path("embedded-rgbn" if bands == 4 else "embedded-rgb")
    views, corners = tiles(3, 128, bands), [(0, 0), (96, 0), (0, 96)]
    wanted = load_restorer(path, device="cpu", precision="float32").restore(views, corners)
    found = load_restorer(path, device="cuda", precision=precision).restore(views, corners)
    grey = np.abs(found - wanted) * 127.5
    assert grey.mean() < (0.001 if precision == "float32" else 0.5)
    assert grey.max() < (0.1 if precision == "float32" else 20)


@pytest.mark.parametrize("name", ["compact", "memorynet", "msda", "spagan", "amgan", "cvae"])
def test_every_reference_can_be_recorded(name: str, tmp_path: Path) -> None:
    """Published sizes: whatever a network does must fit into a CUDA graph."""
    make_cuda_repeatable()
    device = torch.device("cuda")
    torch.manual_seed(0)
    network = randomised(create(name, 4), 1, 0.01).eval().to(device)
    side = 256 if name == "cvae" else 64
    image = torch.from_numpy(tiles(2, side))
    with torch.inference_mode():
        wanted = network((image.to(device) + 1) / 2).cpu()
    recorded = Recorded(lambda x: network((x + 1) / 2), device, 2)
    for _ in range(3):
        assert torch.equal(recorded(image), wanted)
    other = image.flip(0)
    assert not torch.equal(recorded(other), wanted)


def test_published_sizes_of_de_can_be_recorded(tmp_path: Path) -> None:
    names = {"reference": "memorynet", "cnp": "cnp", "wa": "wa"}
    parts = {part: Part(name, {}) for part, name in names.items()}
    # Large random weights would let rounding grow from step to step.
    networks = {part: randomised(create(name, 4), 1, 0.01) for part, name in names.items()}
    path = tmp_path / "published.safetensors"
    save_bundle(path, tiny_card(parts, 4), networks)
    views, corners = tiles(9), [(0, 48 * i) for i in range(9)]
    cuda = load_restorer(path, device="cuda", precision="float32", steps=2)
    found = cuda.restore(views, corners)
    wanted = load_restorer(path, device="cpu", precision="float32", steps=2).restore(views, corners)
    # At t = 980 the estimate of x0 multiplies differences by 150.
    assert np.abs(found - wanted).mean() < 1e-3
    np.testing.assert_array_equal(cuda.restore(views[4:5], corners[4:5]), found[4:5])


def test_a_detector_finds_what_it_finds_on_a_cpu(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, 4, DETECTOR)
    views = (tiles(3) + 1) / 2
    wanted = load_detector(path, "cpu").probability(views)
    np.testing.assert_allclose(load_detector(path, "cuda").probability(views), wanted, atol=1e-4)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("cuda") / "scene.tif", cloudy_pixels(900, 1500))


def test_bytes_do_not_depend_on_batch_or_blocks_at_once(scene: Path, tmp_path: Path) -> None:
    out, made = tmp_path / "out.tif", []
    for batch in (1, 2, 8):
        declouds(scene, out, replace(CONFIG, batch=batch), overwrite=True)
        made.append(out.read_bytes())
    for at_once in (1, 5):
        with local_engine(at_once) as engine:
            declouds(scene, out, CONFIG, engine=engine, overwrite=True)
        made.append(out.read_bytes())
    assert all(bytes_ == made[0] for bytes_ in made)


def test_a_cuda_cluster_gives_the_same_bytes(scene: Path, tmp_path: Path) -> None:
    pytest.importorskip("dask_cuda", reason="dask-cuda is not installed; extra 'cuda'")
    out, other = tmp_path / "out.tif", tmp_path / "other.tif"
    declouds(scene, out, CONFIG)
    with cluster_of_this_machine(1, "cuda") as engine:
        declouds(scene, other, CONFIG, engine=engine)
    assert out.read_bytes() == other.read_bytes()
    too_many = torch.cuda.device_count() + 1
    with pytest.raises(ConfigError, match="CUDA device"), open_engine(too_many, device="cuda"):
        pass


def test_restored_pixels_are_near_those_of_a_cpu(scene: Path, tmp_path: Path) -> None:
    cuda, cpu = tmp_path / "cuda.tif", tmp_path / "cpu.tif"
    exact = replace(CONFIG, precision="float32")
    declouds(scene, cuda, exact)
    declouds(scene, cpu, replace(exact, device="cpu"))
    one, two = read(cuda).astype(int), read(cpu).astype(int)
    assert (one != read(scene)).any()
    assert np.abs(one - two).max() <= 1 + 0.002 * two.max()


def test_stages_train_there_with_processes_that_draw(tmp_path: Path) -> None:
    config = TrainConfig(steps=4, batch=4, lr=1e-3, warmup=1, validate_every=0)
    losses = []
    for loaders in (0, 2):
        with placed("cuda", "bfloat16") as place:
            parts = tiny_networks(PARTS, 3)
            for network in parts.values():
                network.to(place.device)
            for name in ("reference", "coarse", "weights", "joint"):
                folder, schedule = tmp_path / str(loaders), NoiseSchedule.linear()
                result = train_stage(
                    STAGES[name], parts, draw, folder, config, schedule, place=place,
                    loaders=loaders,
                )  # fmt: skip
                assert result.finished
                assert math.isfinite(result.loss)
            losses.append(result.loss)
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
