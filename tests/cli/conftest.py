"""Scenes that commands are run on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.scenes import cloudy_pixels, write_scene


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene.tif", cloudy_pixels(300, 400))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """For runs of networks to their end."""
    return write_scene(tmp_path / "small.tif", cloudy_pixels(120, 160))
