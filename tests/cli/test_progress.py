"""Tests of progress bars."""

from __future__ import annotations

import re
import sys
import threading
import time
from contextlib import closing

import pytest

from cli import progress as progress_module
from cli.progress import Progress


def test_nothing_is_shown_where_standard_error_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with closing(Progress(quiet=False)) as progress:
        progress("restore", 1, 2)
        assert progress._bar is None


def test_the_clock_of_a_single_long_step_goes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "_CLOCK_IN_FILES_S", 0.1)
    with closing(Progress(quiet=False)) as progress:
        progress("write", 0, 1)
        time.sleep(2.3)
        progress("write", 1, 1)
        shown = capsys.readouterr().err
        assert {"00:00", "00:01"} <= {*re.findall(r"0/1 \[(\d\d:\d\d)", shown)}
        time.sleep(0.3)
        assert not capsys.readouterr().err  # done: it stands
        progress("report", 0, 2)
        capsys.readouterr()
        time.sleep(0.3)
        assert not capsys.readouterr().err  # it moves by itself


def test_the_clock_stops_where_a_step_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "_CLOCK_IN_FILES_S", 0.1)
    with closing(Progress(quiet=False)) as progress:
        progress("write", 0, 1)
        assert "decr-clock" in {thread.name for thread in threading.enumerate()}
    assert "decr-clock" not in {thread.name for thread in threading.enumerate()}


def test_stages_of_a_training_show_their_loss(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(Progress(quiet=False)) as progress:
        progress("coarse", 5, 6, 0.5)
        progress("coarse", 6, 6, 0.25)
    shown = capsys.readouterr().err
    assert "coarse" in shown
    assert " 4/6 " in shown  # as an earlier run left it
    assert " 6/6 " in shown
    assert "loss=0.2500" in shown
