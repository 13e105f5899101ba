"""Tests of the training loop: exact resumption, interruption, and what happens to a bad loss."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from decr.dataset.samples import Sample
from decr.diffusion.schedule import NoiseSchedule
from decr.errors import DatasetError, DecrWarning
from decr.training.loop import train_stage
from decr.training.settings import TrainConfig
from decr.training.stage_run import TrainResult
from decr.training.stages import STAGES
from tests.tiny import DETECTOR, PARTS, tiny_networks

CONFIG = TrainConfig(steps=7, batch=2, lr=1e-2, warmup=2, save_every=3)
SCHEDULE = NoiseSchedule.linear()
State = dict[str, torch.Tensor]


def draw(rng: np.random.Generator) -> Sample:
    """A tiny sample: clear noise, and a white cloud over its upper half."""
    clear = rng.uniform(-1, 0, (3, 32, 32)).astype(np.float32)
    cloudy, mask = clear.copy(), np.zeros((32, 32), bool)
    cloudy[:, :16], mask[:16] = 0.9, True
    return Sample(cloudy, clear, mask)


def networks() -> dict[str, nn.Module]:
    return tiny_networks(PARTS | DETECTOR, 3)


def train(
    stage: str,
    folder: Path,
    config: TrainConfig = CONFIG,
    parts: dict[str, nn.Module] | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> tuple[TrainResult, dict[str, State]]:
    """Train a stage; the result and the weights of all networks after it."""
    parts = networks() if parts is None else parts
    result = train_stage(STAGES[stage], parts, draw, folder, config, SCHEDULE, on_step)
    return result, {name: network.state_dict() for name, network in parts.items()}


@cache
def straight(stage: str) -> tuple[TrainResult, dict[str, State], dict[str, Any]]:
    """What a stage becomes without interruption, and its checkpoint; the same for every test."""
    with TemporaryDirectory() as folder:
        result, states = train(stage, Path(folder))
        checkpoint = torch.load(Path(folder) / f"{stage}.pt", weights_only=True)
    return result, states, checkpoint


def assert_same(one: dict[str, State], two: dict[str, State]) -> None:
    for name in one:
        for key, value in one[name].items():
            assert torch.equal(value, two[name][key]), f"{name}/{key}"


def press_ctrl_c(at: int, number: signal.Signals = signal.SIGINT) -> Callable[[int, float], None]:
    def on_step(step: int, loss: float) -> None:
        if step == at:
            signal.raise_signal(number)

    return on_step


@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupted_stage_ends_with_the_same_bits(stage: str, tmp_path: Path) -> None:
    whole, wanted, wanted_file = straight(stage)
    assert whole.finished
    assert whole.step == 7
    first, _ = train(stage, tmp_path / "broken", on_step=press_ctrl_c(at=4))
    assert (first.step, first.finished) == (4, False)
    second, got = train(stage, tmp_path / "broken")
    assert (second.step, second.finished) == (7, True)
    assert_same(wanted, got)
    got_file = torch.load(tmp_path / "broken" / f"{stage}.pt", weights_only=True)
    assert_same({k: e for k, e in wanted_file.items() if k in ("model", "ema")}, got_file)
    for index, state in wanted_file["optimiser"]["state"].items():
        for key, value in state.items():
            assert torch.equal(value, got_file["optimiser"]["state"][index][key])


def test_a_stage_may_end_early_by_its_rates(tmp_path: Path) -> None:
    """Ended at step 4 of 7, it is finished, and as far as the whole one was at step 4."""
    whole, _ = train("coarse", tmp_path / "whole", on_step=press_ctrl_c(at=4))
    result, cut = train("coarse", tmp_path / "cut", replace(CONFIG, until=4))
    assert (whole.step, whole.finished) == (4, False)
    assert (result.step, result.finished) == (4, True)
    there = torch.load(tmp_path / "whole" / "coarse.pt", weights_only=True)["ema"]
    for key, value in cut["cnp"].items():
        assert torch.equal(value, there[f"cnp.{key}"])


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    _, wanted, _ = straight("coarse")

    def die(step: int, loss: float) -> None:
        if step == 5:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train("coarse", tmp_path / "broken", on_step=die)
    state = torch.load(tmp_path / "broken" / "coarse.pt", weights_only=True)
    assert state["step"] == 3
    log = tmp_path / "broken" / "coarse.jsonl"
    log.write_text('{"step": 3, "loss": 0.5}\n{"step": 5, "loss": 0.5}\n')
    _, got = train("coarse", tmp_path / "broken")
    assert_same(wanted, got)
    assert log.read_text() == '{"step": 3, "loss": 0.5}\n'


def test_sigterm_saves_like_ctrl_c(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    result, _ = train("coarse", tmp_path, on_step=press_ctrl_c(2, signal.SIGTERM))
    assert (result.step, result.finished) == (2, False)
    assert torch.load(tmp_path / "coarse.pt", weights_only=True)["step"] == 2
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    def on_step(step: int, loss: float) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train("coarse", tmp_path, on_step=on_step)
    assert signal.getsignal(signal.SIGINT) is before


def test_time_runs_out_resumably(tmp_path: Path) -> None:
    result, _ = train("coarse", tmp_path, replace(CONFIG, max_minutes=0.0))
    assert (result.step, result.finished) == (1, False)
    result, _ = train("coarse", tmp_path)
    assert result.finished


def test_checkpoints_of_the_first_version_resume(tmp_path: Path) -> None:
    _, wanted, _ = straight("coarse")
    folder = tmp_path / "broken"
    train("coarse", folder, on_step=press_ctrl_c(at=4))
    state = torch.load(folder / "coarse.pt", weights_only=True)
    first = ("model", "optimiser", "ema", "step", "seconds")
    torch.save({key: state[key] for key in first}, folder / "coarse.pt")
    with pytest.warns(DecrWarning, match=r"coarse\.pt: an earlier decr made this checkpoint"):
        _, got = train("coarse", folder)
    assert_same(wanted, got)


def test_a_finished_stage_is_not_trained_again(tmp_path: Path) -> None:
    _, wanted = train("coarse", tmp_path)
    steps: list[int] = []
    result, got = train("coarse", tmp_path, on_step=lambda step, loss: steps.append(step))
    assert result.finished
    assert steps == []
    assert_same(wanted, got)


@pytest.mark.parametrize("stage", STAGES)
def test_only_what_a_stage_trains_changes(stage: str) -> None:
    before = {n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in networks().items()}
    _, after, _ = straight(stage)
    for name in before:
        same = all(torch.equal(v, after[name][k]) for k, v in before[name].items())
        assert same == (name not in STAGES[stage].trains), name


def test_networks_end_as_their_averages() -> None:
    _, got, state = straight("coarse")
    for key, value in state["ema"].items():
        assert torch.equal(got["cnp"][key.removeprefix("cnp.")], value)
    assert not all(torch.equal(state["ema"][k], v) for k, v in state["model"].items())


def test_a_short_training_lowers_the_loss(tmp_path: Path) -> None:
    losses: list[float] = []
    config = TrainConfig(steps=40, batch=2, lr=5e-3, warmup=5, save_every=1000)
    train("reference", tmp_path, config, on_step=lambda step, loss: losses.append(loss))
    assert losses[-1] < 0.7 * losses[0]


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    train("coarse", tmp_path, on_step=press_ctrl_c(at=3))
    kept = (tmp_path / "coarse.pt").read_bytes()
    parts = networks()

    def poison(step: int, loss: float) -> None:
        if step == 5:
            with torch.no_grad():
                next(parts["cnp"].parameters()).fill_(torch.nan)

    with pytest.raises(DatasetError, match=r"stage coarse became nan at step 5; .* is kept"):
        train("coarse", tmp_path, parts=parts, on_step=poison)
    assert (tmp_path / "coarse.pt").read_bytes() == kept
    assert not list(tmp_path.glob("*.part"))
    # Before the first checkpoint there is none to go on from.
    (tmp_path / "coarse.pt").unlink()
    with torch.no_grad():
        next(parts["cnp"].parameters()).fill_(torch.nan)
    with pytest.raises(DatasetError, match="at step 0; there is no checkpoint yet; begin with"):
        train("coarse", tmp_path, parts=parts)


def test_the_log_has_a_line_per_twenty_steps(tmp_path: Path) -> None:
    train("coarse", tmp_path, replace(CONFIG, steps=41, batch=1, save_every=99))
    lines = [json.loads(line) for line in (tmp_path / "coarse.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40]
    assert all(set(line) == {"step", "loss", "lr"} for line in lines)


def test_the_log_has_the_rate_that_a_step_was_made_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, real = [], torch.optim.AdamW.step

    def step(self: torch.optim.AdamW, *given: Any) -> Any:
        used.append(self.param_groups[0]["lr"])
        return real(self, *given)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    train("coarse", tmp_path, replace(CONFIG, steps=40, batch=1, save_every=99))
    lines = [json.loads(line) for line in (tmp_path / "coarse.jsonl").read_text().splitlines()]
    assert [line["lr"] for line in lines] == [used[19], used[39]]


def test_learning_rate_warms_up_and_falls_to_two_percent() -> None:
    config = TrainConfig(steps=1000, lr=1.0, warmup=10)
    assert config.rate(0) == pytest.approx(0.1)
    assert config.rate(9) == config.rate(10) == 1.0
    assert config.rate(505) == pytest.approx(0.51)
    assert config.rate(1000) == pytest.approx(0.02)
    rates = [config.rate(step) for step in range(10, 1001)]
    assert rates == sorted(rates, reverse=True)
    steady = replace(config, schedule="constant")
    assert [steady.rate(step) for step in (0, 9, 500, 1000)] == [0.1, 1.0, 1.0, 1.0]
