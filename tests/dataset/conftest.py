"""Images that sets are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dataset.simulated import PLACES, ground
from tests.pipeline.scenes import write_scene


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Two scenes with room for 2 x 3 and 2 x 2 chips, one for training and one for testing."""
    return [
        write_scene(tmp_path / "hill.tif", ground(), transform=PLACES["hill.tif"]),
        write_scene(tmp_path / "lake.tif", ground(65, 66, seed=1), transform=PLACES["lake.tif"]),
    ]
