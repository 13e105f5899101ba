"""Tests of the script that draws losses: what it reads, and that it says when there is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from decr.training.log import Log
from docs.make_training_curves import curves, draw


def test_the_last_of_lines_written_twice_counts(tmp_path: Path) -> None:
    with Log(tmp_path, "joint") as log:
        log.write(20, loss=0.5, lr=1e-3)
        log.write(40, loss=0.4, lr=1e-3)
        log.write(40, validation_loss=0.6)
    with Log(tmp_path, "joint") as log:  # resumed at step 20
        log.write(40, loss=0.3, lr=1e-3)
    assert curves(tmp_path / "joint.jsonl") == ({20: 0.5, 40: 0.3}, {40: 0.6})


def test_stages_are_drawn(tmp_path: Path) -> None:
    for stage in ("reference", "joint"):
        with Log(tmp_path, stage) as log:
            log.write(20, loss=0.5)
            log.write(40, loss=0.4, validation_loss=0.6)
    draw(tmp_path, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_without_logs_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no logs such as reference\.jsonl"):
        draw(tmp_path, tmp_path / "curves.png")
