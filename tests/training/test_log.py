"""Tests of the log: lines of JSON, and TensorBoard only where it is installed."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path

import pytest

from decr.errors import ConfigError, OutputError
from decr.training.log import Log


def test_lines_are_appended(tmp_path: Path) -> None:
    for step in (20, 40):
        with Log(tmp_path, "coarse") as log:
            log.write(step, loss=0.5)
    lines = [json.loads(line) for line in (tmp_path / "coarse.jsonl").read_text().splitlines()]
    assert lines == [{"step": 20, "loss": 0.5}, {"step": 40, "loss": 0.5}]


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    with Log(tmp_path, "coarse") as log:
        log.write(20, loss=math.nan, validation_loss=math.inf, lr=0.5)
    text = (tmp_path / "coarse.jsonl").read_text()
    assert text == '{"step": 20, "loss": null, "validation_loss": null, "lr": 0.5}\n'


def test_lines_that_come_again_are_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "coarse.jsonl"
    with Log(tmp_path, "coarse") as log:
        for step in (20, 40, 60):
            log.write(step, loss=0.5)
    whole = path.read_text()
    with path.open("ab") as file:
        file.write(b'\xff\xfe"step": 3}\n{"step": 4')  # a bad disk, then killed while writing
    with Log(tmp_path, "coarse", after=50) as log:
        log.write(60, loss=0.5)
    assert path.read_text() == whole
    with Log(tmp_path, "coarse", after=0):
        assert path.read_text() == ""


def test_a_log_without_room_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "coarse.jsonl").symlink_to("/dev/full")
    with (
        pytest.raises(OutputError, match=r"coarse\.jsonl: the log cannot be written \(No space"),
        Log(tmp_path, "coarse") as log,
    ):
        log.write(20, loss=0.5)


def test_absent_tensorboard_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'decr\[tensorboard\]'"):
        Log(tmp_path, "coarse", tensorboard=True)


def test_tensorboard_gets_the_numbers(tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorboard") is None:
        pytest.skip("tensorboard is not installed; it comes with the extra 'tensorboard'")
    with Log(tmp_path, "coarse", tensorboard=True) as log:
        log.write(20, loss=0.5)
    assert list((tmp_path / "tensorboard" / "coarse").glob("events*"))
