"""Tests of how batches are drawn ahead: the same ones by a thread and by processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from dataclasses import replace
from mmap import PAGESIZE
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data._utils import signal_handling

from decr.dataset.samples import Sample
from decr.diffusion.schedule import NoiseSchedule
from decr.errors import DatasetError, DecrWarning
from decr.training import loading
from decr.training.loading import batches, default_loaders
from decr.training.loop import train_stage
from decr.training.place import Place
from decr.training.settings import TrainConfig
from decr.training.stages import STAGES
from tests.tiny import PARTS, tiny_networks

CONFIG = TrainConfig(steps=5, batch=4, lr=1e-3, warmup=1, save_every=2, ema=0.0)


def draw(rng: np.random.Generator) -> Sample:
    """A tiny sample that tells its generator."""
    clear = rng.uniform(-1, 0, (3, 32, 32)).astype(np.float32)
    return Sample(clear + 0.5, clear, rng.random((32, 32)) < 0.5)


@pytest.mark.parametrize("loaders", [1, 3])
@pytest.mark.parametrize("first", [0, 3])
def test_processes_draw_what_a_thread_draws(loaders: int, first: int) -> None:
    stage, rows = STAGES["reference"], range(1, 4)
    wanted = list(batches(draw, CONFIG, stage, first, rows, 0))
    found = list(batches(draw, CONFIG, stage, first, rows, loaders))
    assert len(found) == len(wanted) == CONFIG.steps - first
    for one, two in zip(wanted, found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_finished_stage_draws_nothing() -> None:
    done = replace(CONFIG, until=2)
    for loaders in (0, 1):
        assert not list(batches(draw, done, STAGES["reference"], 2, range(4), loaders))


@pytest.mark.parametrize("loaders", [0, 2])
def test_a_batch_serves_as_many_steps_as_it_has_turns(loaders: int) -> None:
    stage, rows = STAGES["reference"], range(2)
    once = list(batches(draw, CONFIG, stage, 0, rows, 0))
    turning = replace(CONFIG, turns=2)
    for first in (0, 3):
        found = list(batches(draw, turning, stage, first, rows, loaders))
        wanted = [once[step // 2] for step in range(first, CONFIG.steps)]
        assert len(found) == len(wanted)
        for one, two in zip(wanted, found, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_weights_do_not_depend_on_who_draws(tmp_path: Path) -> None:
    weights = []
    for loaders in (0, 2):
        parts, folder = tiny_networks(PARTS, 3), tmp_path / str(loaders)
        stage, schedule = STAGES["coarse"], NoiseSchedule.linear()
        result = train_stage(stage, parts, draw, folder, CONFIG, schedule, loaders=loaders)
        assert result.finished
        weights.append(parts["cnp"].state_dict())
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_a_cpu_has_no_processes_beside_it_and_a_cuda_device_shares_the_cores() -> None:
    assert default_loaders(Place()) == 0
    cuda = torch.device("cuda")
    alone, one_of_two = default_loaders(Place(cuda)), default_loaders(Place(cuda, size=2))
    assert 1 <= one_of_two <= alone


def test_processes_that_are_killed_are_one_error_and_the_run_goes_on(tmp_path: Path) -> None:
    stage, schedule, parts = STAGES["coarse"], NoiseSchedule.linear(), tiny_networks(PARTS, 3)
    long = replace(CONFIG, steps=200)

    def kill(step: int, loss: float) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(DatasetError, match=r"was killed.*last checkpoint, with fewer --loaders"):
        train_stage(stage, parts, draw, tmp_path, long, schedule, kill, loaders=1)
    assert not multiprocessing.active_children()
    few = replace(long, until=30)
    assert train_stage(stage, parts, draw, tmp_path, few, schedule, loaders=0).finished


def test_a_process_that_cannot_hand_over_its_samples_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where /dev/shm is full: what should come never does."""
    monkeypatch.setattr(loading, "batch_of", lambda *_: (lambda: None,))
    stage, schedule, parts = STAGES["coarse"], NoiseSchedule.linear(), tiny_networks(PARTS, 3)
    told = r"could not hand them over: /dev/shm is full .*docker run --shm-size.* --loaders 0"
    with pytest.raises(DatasetError, match=told):
        train_stage(stage, parts, draw, tmp_path, CONFIG, schedule, loaders=2)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("batches_free", "sharers", "fitting"),
    [(9, 1, 4), (8.9, 1, 3), (3, 1, 1), (2.9, 1, 0), (0, 1, 0), (9, 2, 1)],
)
def test_loaders_are_as_many_as_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, batches_free: float, sharers: int, fitting: int
) -> None:
    """Two batches each, and one in use: of 3 samples of 2 x 3 floats and a flag per pixel."""
    batch, started = 3 * 32 * 32 * (2 * 3 * 4 + 1) + 3 * PAGESIZE, list[int]()
    blocks = int(batches_free * batch) + 1
    room = SimpleNamespace(f_bavail=blocks, f_blocks=blocks, f_frsize=1)
    monkeypatch.setattr(os, "statvfs", lambda _: room)
    real = loading._drawn_elsewhere

    def seen(steps: Any, loaders: int) -> Any:
        started.append(loaders)
        return real(steps, loaders)

    monkeypatch.setattr(loading, "_drawn_elsewhere", seen)
    stage, rows = STAGES["reference"], range(1, 4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DecrWarning)
        found = list(batches(draw, CONFIG, stage, 0, rows, 4, sharers))
    assert started == ([fitting] if fitting else [])
    said = [str(warning.message) for warning in caught if warning.category is DecrWarning]
    assert len(said) == (fitting < 4)
    for one in said:
        need = f"--loaders 4 needs {9 * batch / 1e6:.1f} MB for batches: "
        by = f"{fitting} of them" if fitting else "a thread"
        assert need in one
        assert f"are drawn by {by}; make it larger (docker run --shm-size {sharers}m)" in one
        assert one.endswith(f"say --loaders {fitting}")
    wanted = list(batches(draw, CONFIG, stage, 0, rows, 0))
    for a, b in zip(wanted, found, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("beside", [False, True])
def test_torch_does_not_handle_the_end_of_processes_meanwhile(
    monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    before = signal.getsignal(signal.SIGCHLD)
    monkeypatch.setattr(signal_handling, "_SIGCHLD_handler_set", False)
    own = lambda *_: None  # noqa: E731
    try:
        signal.signal(signal.SIGCHLD, own)
        if beside:  # another loader of this process let torch do so
            signal_handling._set_SIGCHLD_handler()
        found = signal.getsignal(signal.SIGCHLD)
        assert (found is not own) == beside
        wanted = signal.SIG_DFL if beside else own
        for _ in batches(draw, CONFIG, STAGES["reference"], 0, range(2), 1):
            assert signal.getsignal(signal.SIGCHLD) == wanted
        assert signal.getsignal(signal.SIGCHLD) == found
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_process_may_use_its_share_after_others_took_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = SimpleNamespace(f_bavail=50, f_blocks=100, f_frsize=10)
    monkeypatch.setattr(os, "statvfs", lambda _: room)
    assert loading._free_bytes(2) == 500
    assert loading._free_bytes(4) == 250
    assert loading._free_bytes(1) == 500


def test_a_thread_draws_where_processes_cannot_hand_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(loading, "_SHARED", str(tmp_path / "none"))
    monkeypatch.setattr(loading, "_drawn_elsewhere", pytest.fail)
    with pytest.warns(DecrWarning, match=r"none: cannot be written.*--loaders 0"):
        found = list(batches(draw, CONFIG, STAGES["reference"], 0, range(2), 2))
    assert len(found) == CONFIG.last
