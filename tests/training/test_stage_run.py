"""Tests of single steps: cut batches, several processes, discriminators, precision."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from torch import nn

from decr.diffusion.schedule import NoiseSchedule
from decr.errors import ConfigError, DatasetError, DecrWarning
from decr.models.registry import create
from decr.training.loop import train_stage
from decr.training.place import Place
from decr.training.published import objective
from decr.training.settings import TrainConfig
from decr.training.stage_run import read_checkpoint, turned
from decr.training.stages import STAGES
from decr.training.validation import Watch
from tests.tiny import PARTS, randomised, tiny_networks
from tests.training.test_loop import draw

CONFIG = TrainConfig(steps=3, batch=4, lr=1e-3, warmup=1, save_every=2, ema=0.0)
SCHEDULE = NoiseSchedule.linear()
ROOT = Path(__file__).resolve().parents[2]
State = dict[str, torch.Tensor]


def train(stage: str, folder: Path, config: TrainConfig, place: Place | None = None) -> State:
    """The weights that a stage trains, after it."""
    parts = tiny_networks(PARTS, 3)
    train_stage(STAGES[stage], parts, draw, folder, config, SCHEDULE, place=place)
    return nn.ModuleDict({n: parts[n] for n in STAGES[stage].trains}).state_dict()


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, State]:
    """The folder of a finished stage `coarse`, and its weights; read only."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, train("coarse", folder, CONFIG)


@pytest.fixture
def trained(trained_once: tuple[Path, State], tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(trained_once[0], tmp_path, dirs_exist_ok=True))


def assert_close(one: State, two: State, tolerance: float) -> None:
    for key, value in one.items():
        torch.testing.assert_close(value, two[key], rtol=0, atol=tolerance, msg=key)


@pytest.mark.parametrize("stage", ["reference", "coarse", "joint"])
@pytest.mark.parametrize("pieces", [3, 4])
def test_micro_batches_equal_one_big_batch(stage: str, pieces: int, tmp_path: Path) -> None:
    whole = train(stage, tmp_path / "whole", CONFIG)
    cut = train(stage, tmp_path / "cut", replace(CONFIG, accumulate=pieces))
    start = nn.ModuleDict({n: tiny_networks(PARTS, 3)[n] for n in STAGES[stage].trains})
    # Adam divides by the gradient's size, so rounding of a gradient near zero shows.
    assert_close(whole, cut, 2e-4)
    moved = max(float((whole[k] - v).abs().max()) for k, v in start.state_dict().items())
    assert moved > 1e-3


def test_a_batch_too_small_to_cut_is_refused(tmp_path: Path) -> None:
    config = replace(CONFIG, batch=3, accumulate=2)
    with pytest.raises(ConfigError, match=r"batch of 3 .* 2 micro-batches in each of 2 processes"):
        train("coarse", tmp_path, config, Place(size=2))


def test_a_batch_is_turned_in_eight_ways_alike_for_image_and_mask() -> None:
    image, mask = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4), torch.rand(2, 4, 4) < 0.5
    ways = [turned(image, way) for way in range(8)]
    assert torch.equal(ways[0], image)
    assert len({tuple(way.flatten().tolist()) for way in ways}) == 8
    marked = image * mask[:, None]
    for way in range(8):
        assert torch.equal(turned(marked, way), ways[way] * turned(mask, way)[:, None])


def test_turning_changes_what_is_learnt_and_resumes_exactly(tmp_path: Path) -> None:
    turning = replace(CONFIG, steps=5, turns=2, save_every=1)
    whole = train("reference", tmp_path / "whole", turning)
    train("reference", tmp_path / "cut", replace(turning, until=3))
    again = train("reference", tmp_path / "cut", turning)
    assert all(torch.equal(value, again[key]) for key, value in whole.items())
    plain = train("reference", tmp_path / "plain", replace(turning, turns=1))
    assert any(not torch.equal(value, plain[key]) for key, value in whole.items())


def test_rows_of_all_processes_are_the_batch() -> None:
    rows = [row for rank in range(3) for row in Place(rank=rank, size=3).rows(8)]
    assert rows == list(range(8))


_ONE_OF_TWO = """
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
import torch
from decr.training.place import placed
from tests.training.test_stage_run import CONFIG, train

torch.set_num_threads(1)
with placed("cpu", "float32") as place:
    state = train("coarse", Path(sys.argv[1]), CONFIG, place)
    torch.save(state, Path(sys.argv[1]) / f"end_{place.rank}.pt")
"""


def test_two_processes_learn_what_one_learns(
    trained_once: tuple[Path, State], tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    both = tmp_path / "both"
    both.mkdir()
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _ONE_OF_TWO, str(both)],
            cwd=ROOT,
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=180) for process in processes] == [0, 0]
    ends = [torch.load(both / f"end_{rank}.pt", weights_only=True) for rank in range(2)]
    for key, value in ends[0].items():
        assert torch.equal(value, ends[1][key]), key
    folder, alone = trained_once
    assert_close(alone, ends[0], 2e-4)
    # One writer: the checkpoint is a lone process's, up to rounding.
    one, two = (torch.load(f / "coarse.pt", weights_only=True) for f in (both, folder))
    assert one["step"] == two["step"] == 3
    assert one["loss"] == pytest.approx(two["loss"], rel=1e-4)


def test_bfloat16_learns_much_the_same(trained_once: tuple[Path, State], tmp_path: Path) -> None:
    _, precise = trained_once
    place = Place(dtype=torch.bfloat16)
    rough = train("coarse", tmp_path / "rough", CONFIG, place)
    assert all(value.dtype == torch.float32 for value in rough.values())
    assert_close(precise, rough, 1e-2)
    assert any(not torch.equal(precise[k], v) for k, v in rough.items())


def adversarial(
    folder: Path, steps: int, watch: Watch | None = None
) -> tuple[State, dict[str, object]]:
    """Train a small SpA-GAN with its discriminator up to some step of three."""
    published = objective("spagan")
    torch.manual_seed(0)
    reference = randomised(create("spagan", 3, {"width": 4}))
    assert published.make_discriminator is not None
    parts = {"reference": reference, "discriminator": published.make_discriminator(3)}
    seen: list[int] = []

    def stop(step: int, loss: float) -> None:
        seen.append(step)
        if step == steps:
            raise TimeoutError

    config = replace(CONFIG, batch=1, save_every=1, validate_every=1)
    with contextlib.suppress(TimeoutError):
        train_stage(
            STAGES["reference"],
            parts,
            draw,
            folder,
            config,
            SCHEDULE,
            stop,
            published=published,
            watch=watch,
        )
    return reference.state_dict(), torch.load(folder / "reference.pt", weights_only=True)


def test_a_discriminator_learns_and_resumes_beside_its_network(tmp_path: Path) -> None:
    straight, end = adversarial(tmp_path / "straight", steps=9)
    adversarial(tmp_path / "broken", steps=2)
    resumed, other = adversarial(tmp_path / "broken", steps=9)
    for key, value in straight.items():
        assert torch.equal(value, resumed[key]), key
    judge, again = end["discriminator"], other["discriminator"]
    assert isinstance(judge, dict)
    assert isinstance(again, dict)
    assert all(torch.equal(value, again[key]) for key, value in judge.items())
    torch.manual_seed(0)
    create("spagan", 3, {"width": 4})
    make = objective("spagan").make_discriminator
    assert make is not None
    fresh = make(3).state_dict()
    assert any(not torch.equal(value, fresh[key]) for key, value in judge.items())


def test_a_checkpoint_of_other_networks_is_named(trained: Path) -> None:
    (trained / "coarse.pt").rename(trained / "reference.pt")
    with pytest.raises(DatasetError, match=r"reference\.pt: was made with other networks"):
        train("reference", trained, CONFIG)
    (trained / "reference.pt").write_bytes(b"rubbish")
    with pytest.raises(DatasetError, match="not a readable checkpoint"):
        train("reference", trained, CONFIG)


def test_a_checkpoint_in_which_a_bit_changed_is_refused(trained: Path) -> None:
    path = trained / "coarse.pt"
    with ZipFile(path) as packed:
        largest = max(packed.infolist(), key=lambda member: member.file_size)
    torn = bytearray(path.read_bytes())
    torn[largest.header_offset + 200 + largest.file_size // 2] ^= 1
    path.write_bytes(torn)
    with pytest.raises(DatasetError, match=r"coarse\.pt: not a readable checkpoint"):
        train("coarse", trained, CONFIG)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (lambda state: [1, 2], "not a readable checkpoint"),
        (lambda state: {**state, "ema": None}, "not a readable checkpoint"),
        (lambda state: {**state, "step": "one"}, "not a readable checkpoint"),
        (lambda state: {**state, "ema": dict.fromkeys(state["ema"])}, "made with other networks"),
        (lambda state: {**state, "optimiser": {"param_groups": 1}}, "made with other networks"),
    ],
)
def test_a_checkpoint_of_other_kinds_is_refused(
    trained: Path, changed: Callable[[Any], Any], says: str
) -> None:
    path = trained / "coarse.pt"
    torch.save(changed(torch.load(path, weights_only=True)), path)
    with pytest.raises(DatasetError, match=rf"coarse\.pt: .*{says}"):
        train("coarse", trained, CONFIG)


def test_a_seed_may_be_a_time(tmp_path: Path) -> None:
    config = replace(CONFIG, seed=20_261_127_133_000, steps=1)
    assert all(torch.isfinite(value).all() for value in train("coarse", tmp_path, config).values())


def test_a_look_leaves_no_trace_in_a_discriminator(tmp_path: Path) -> None:
    seen = Watch(tuple(draw(np.random.default_rng(n)) for n in range(3)), (0, 1, 2), True)
    _, blind = adversarial(tmp_path / "blind", steps=9)
    _, watched = adversarial(tmp_path / "watched", steps=9, watch=seen)
    for part in ("model", "discriminator"):
        one, other = blind[part], watched[part]
        assert isinstance(one, dict)
        assert isinstance(other, dict)
        assert all(torch.equal(value, other[key]) for key, value in one.items()), part


def test_a_gradient_that_is_no_number_stops_before_the_weights_change(tmp_path: Path) -> None:
    parts = tiny_networks(PARTS, 3)
    weight = next(parts["reference"].parameters())
    weight.register_hook(lambda gradient: gradient * torch.nan)
    before = weight.detach().clone()
    for clip in (0.0, 1.0):
        config = replace(CONFIG, clip=clip, save_every=1)
        with pytest.raises(DatasetError, match="the gradient of stage reference became nan"):
            train_stage(STAGES["reference"], parts, draw, tmp_path, config, SCHEDULE)
        assert torch.equal(weight, before)
    assert not (tmp_path / "reference.pt").exists()


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"steps": 4}, "steps was 3, is 4"),
        ({"batch": 2}, "batch was 4, is 2"),
        ({"ema": 0.5}, r"ema was 0\.0, is 0\.5"),
        ({"until": 1}, "has been trained for 3 steps, more than the 1 of this run"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(
    trained: Path, other: dict[str, Any], says: str
) -> None:
    with pytest.raises(DatasetError, match=rf"coarse\.pt: .*{says}.*name another folder"):
        train("coarse", trained, replace(CONFIG, **other))


def test_when_to_stop_and_save_may_change(trained_once: tuple[Path, State], tmp_path: Path) -> None:
    _, wanted = trained_once
    train("coarse", tmp_path / "cut", replace(CONFIG, until=2, save_every=1, accumulate=2))
    again = replace(CONFIG, save_every=9, max_minutes=60.0, validate_every=0, accumulate=2)
    assert_close(wanted, train("coarse", tmp_path / "cut", again), 2e-4)


def test_a_checkpoint_of_another_start_is_refused(tmp_path: Path) -> None:
    train("weights", tmp_path, CONFIG)
    parts = tiny_networks(PARTS, 3)
    randomised(parts["cnp"])
    with pytest.raises(DatasetError, match=r"weights\.pt: .*: start \(the bundle"):
        train_stage(STAGES["weights"], parts, draw, tmp_path, CONFIG, SCHEDULE)


def test_a_rate_that_is_changed_on_the_way_is_told(tmp_path: Path) -> None:
    train("coarse", tmp_path, replace(CONFIG, until=2))
    with pytest.warns(DecrWarning, match=r"lr was 0\.001 up to step 2 and is 0\.0005 from"):
        train("coarse", tmp_path, replace(CONFIG, lr=5e-4))


def test_a_precision_that_is_changed_on_the_way_is_told(tmp_path: Path) -> None:
    train("coarse", tmp_path, replace(CONFIG, until=2))
    match = r"precision was float32 up to step 2 and is bfloat16 from there on"
    with pytest.warns(DecrWarning, match=match):
        train("coarse", tmp_path, CONFIG, Place(dtype=torch.bfloat16))
    state = read_checkpoint(tmp_path / "coarse.pt")
    del state["identity"]["precision"]  # as an earlier decr left it
    torch.save(state, tmp_path / "coarse.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        train("coarse", tmp_path, CONFIG)


def test_a_stage_that_is_done_keeps_the_rate_and_the_precision_of_its_steps(trained: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        train("coarse", trained, replace(CONFIG, lr=5e-4), Place(dtype=torch.bfloat16))
        train("coarse", trained, CONFIG)
    kept = read_checkpoint(trained / "coarse.pt")["identity"]
    assert (kept["lr"], kept["precision"]) == (CONFIG.lr, "float32")


def test_more_steps_at_a_constant_rate_go_on(tmp_path: Path) -> None:
    constant = replace(CONFIG, schedule="constant")
    train("coarse", tmp_path / "on", constant)
    more = replace(constant, steps=CONFIG.steps + 2)
    assert_close(
        train("coarse", tmp_path / "whole", more), train("coarse", tmp_path / "on", more), 2e-4
    )


_NO_ROOM = """
import resource, sys
from pathlib import Path
from decr.errors import OutputError
from tests.training.test_stage_run import CONFIG, train

resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, resource.RLIM_INFINITY))
try:
    train("coarse", Path(sys.argv[1]), CONFIG)
except OutputError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    train("coarse", tmp_path, replace(CONFIG, until=1))
    kept = (tmp_path / "coarse.pt").read_bytes()
    run = subprocess.run(
        [sys.executable, "-c", _NO_ROOM, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "coarse.pt: the checkpoint of step 2 cannot be written (is the disk full?)" in run.stdout
    assert (tmp_path / "coarse.pt").read_bytes() == kept
    assert not list(tmp_path.glob("*.part"))
