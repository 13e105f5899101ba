"""A limit of open files is told as that, and not as a damaged file."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rasterio.shutil import copy as gdal_copy

from decr.errors import SceneError
from decr.geo.mask_file import MaskClasses, open_mask
from decr.geo.opening import opened
from decr.geo.reader import reader
from decr.geo.scene import open_scene
from tests.geo.scene_files import coded, write

TOLD = r"Too many open files; this process may not open so many .* raise its limit \(ulimit -n 4096"


@contextmanager
def no_more_files() -> Iterator[None]:
    """The process can open no file beyond those it has."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.fixture
def virtual(tmp_path: Path) -> Path:
    """A virtual raster, of which the part is opened when it is read."""
    write(tmp_path / "s.tif", coded(4, 20, 30))
    gdal_copy(tmp_path / "s.tif", tmp_path / "v.vrt", driver="VRT")
    return tmp_path / "v.vrt"


def test_a_scene_that_cannot_be_read_for_it_is_not_called_damaged(virtual: Path) -> None:
    scene = open_scene(str(virtual))
    with reader(scene) as reading, no_more_files(), pytest.raises(SceneError, match=TOLD) as error:
        reading.read(scene.grid.window)
    assert "damaged" not in str(error.value)


def test_a_mask_that_cannot_be_read_for_it_is_not_called_damaged(virtual: Path) -> None:
    grid = open_scene(str(virtual)).grid
    refused = pytest.raises(SceneError, match=TOLD)
    with open_mask(virtual, grid, MaskClasses()) as mask, no_more_files(), refused as error:
        mask.cloudy(grid.window)
    assert "damaged" not in str(error.value)


def test_a_file_that_cannot_be_opened_for_it_is_not_called_another_format(virtual: Path) -> None:
    with no_more_files(), pytest.raises(SceneError, match=TOLD) as error, opened(str(virtual)):
        pass
    assert "GeoTIFF" not in str(error.value)


def test_a_damaged_scene_is_called_damaged(virtual: Path) -> None:
    scene = open_scene(str(virtual))
    virtual.with_name("s.tif").write_bytes(b"noise")
    with reader(scene) as reading, pytest.raises(SceneError, match="the file is damaged or incom"):
        reading.read(scene.grid.window)
