"""Tests of parts of virtual rasters that failed once: what GDAL remembers of them is not read."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy as gdal_copy

from decr.errors import DecrError, SceneError
from decr.geo.output import write_cog
from decr.geo.reader import reader
from decr.geo.scene import open_scene
from tests.geo.scene_files import coded, write

ROOT = Path(__file__).parents[2]


@pytest.fixture
def virtual(tmp_path: Path) -> Path:
    """A virtual raster of one part, another of which was written in this process.

    Since then GDAL's pool of parts goes on to the end of the process.
    """
    write(tmp_path / "s.tif", coded(4, 40, 60))
    gdal_copy(tmp_path / "s.tif", tmp_path / "v.vrt", driver="VRT")
    (tmp_path / "work").mkdir()
    write_cog(str(tmp_path / "v.vrt"), [], tmp_path / "o.tif", {}, tmp_path / "work")
    return tmp_path / "v.vrt"


def read(virtual: Path) -> np.ndarray:
    scene = open_scene(virtual)
    with reader(scene) as pixels:
        return pixels.read(scene.grid.window)[0]


def test_a_part_that_failed_is_never_read_as_zeros_and_is_read_once_it_is_mended(
    virtual: Path,
) -> None:
    part = virtual.with_name("s.tif")
    whole = part.read_bytes()
    part.write_bytes(b"noise")
    for _ in range(5):
        with pytest.raises(SceneError, match=r"s\.tif"):
            read(virtual)
    part.write_bytes(whole)
    np.testing.assert_array_equal(read(virtual), coded(4, 40, 60))


def test_nor_is_one_that_failed_while_the_output_was_written(virtual: Path) -> None:
    part, work = virtual.with_name("s.tif"), virtual.with_name("work")
    whole = part.read_bytes()
    part.write_bytes(b"noise")
    for _ in range(5):
        with pytest.raises(DecrError, match=r"s\.tif"):
            write_cog(str(virtual), [], virtual.with_name("p.tif"), {}, work)
    part.write_bytes(whole)
    for _ in range(5):
        with rasterio.open(virtual) as dataset:
            np.testing.assert_array_equal(dataset.read(), coded(4, 40, 60))


def test_threads_read_virtual_rasters_side_by_side_after_one_was_written(tmp_path: Path) -> None:
    """In a process of its own: its pool of parts is made by the first virtual raster."""
    write(tmp_path / "s.tif", coded(4, 700, 900))
    gdal_copy(tmp_path / "s.tif", tmp_path / "v.vrt", driver="VRT")
    (tmp_path / "work").mkdir()
    code = f"""
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path
        from decr.geo.output import write_cog
        from tests.geo.test_virtual_failures import read
        folder = Path({str(tmp_path)!r})
        write_cog(str(folder / "v.vrt"), [], folder / "o.tif", {{}}, folder / "work")
        with ThreadPoolExecutor(13) as pool:
            for pixels in pool.map(read, [folder / "v.vrt"] * 100):
                assert pixels.all()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, check=True)
