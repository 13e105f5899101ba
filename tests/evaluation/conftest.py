"""What evaluations and analyses are made of: a few pairs, a tiny model, a distance like LPIPS."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from decr.evaluation import evaluate as module
from decr.evaluation.analysis import Setting
from decr.evaluation.perceptual import Lpips
from decr.evaluation.tiles import PairSource
from tests.evaluation.test_evaluate import pair_set
from tests.tiny import MeanDifference, tiny_bundle


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return pair_set(tmp_path / "set")


@pytest.fixture
def fake_lpips(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = Lpips(MeanDifference(), torch.device("cpu"))
    monkeypatch.setattr(module, "load_lpips", lambda path, device: stand_in)
    monkeypatch.setattr(module, "find_backbone", lambda path: Path("stand_in.npz"))


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(
        PairSource(pair_set(tmp_path / "set"), split="all", gsd_m=0.5),
        str(tiny_bundle(tmp_path, 3)),
        side_px=32,
        count=2,
        steps=4,
        device="cpu",
        lpips=False,
    )
