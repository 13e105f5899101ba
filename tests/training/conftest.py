"""Clear scenes to train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from tests.pipeline.scenes import GRID, write_scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four clear scenes of 150 px, each of ground of its own, one of them held out."""
    path = tmp_path / "scenes"
    path.mkdir()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        dn = rng.integers(20, 200, (4, 150, 160)).astype(np.uint8)
        place = GRID @ Affine.translation(200 * seed, 0)
        write_scene(path / f"s_{seed}.tif", dn, transform=place)
    return path
