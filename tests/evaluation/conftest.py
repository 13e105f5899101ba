"""What analyses are made of: a few pairs and a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from decr.evaluation.analysis import Setting
from decr.evaluation.tiles import PairSource
from tests.evaluation.test_evaluate import pair_set
from tests.tiny import tiny_bundle


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
