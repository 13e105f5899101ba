"""Which files of this machine a raster is read from."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from rasterio.io import MemoryFile
from rasterio.shutil import copy as gdal_copy

from decr.errors import SceneError
from decr.geo import opening
from decr.geo.delivery import rasters_of
from decr.geo.grid import PixelGrid
from decr.geo.layers import Layer, layer_writer
from decr.geo.opening import absolute_name, local_files, stem_of
from decr.geo.output import write_cog
from decr.pipeline.array import stored
from tests.geo.scene_files import coded, write


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write(tmp_path / "s.tif", coded(4, 20, 30))


def test_a_file_with_its_mask_but_not_its_statistics(scene: Path) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(scene, "r+") as file:
        file.write_mask(True)
    Path(f"{scene}.aux.xml").write_text("<PAMDataset/>")
    assert local_files(str(scene)) == [scene, Path(f"{scene}.msk")]


def test_sources_of_virtual_rasters_in_virtual_rasters(scene: Path) -> None:
    inner, outer = scene.with_name("inner.vrt"), scene.with_name("outer.vrt")
    gdal_copy(scene, inner, driver="VRT")
    outer.write_text(inner.read_text().replace("s.tif", "inner.vrt"))
    assert local_files(str(outer)) == sorted([inner, outer, scene])
    inner.unlink()
    with pytest.raises(SceneError, match=r"inner\.vrt"):
        local_files(str(outer))


@pytest.mark.parametrize("name", ["/vsizip/{}/s.tif", "/vsizip/{{{}}}/s.tif", "zip://{}!s.tif"])
def test_the_archive_around_a_raster(scene: Path, name: str) -> None:
    archive = scene.with_name("a.zip")
    with ZipFile(archive, "w") as packed:
        packed.write(scene, "s.tif")
    assert local_files(name.format(archive)) == [archive]


@pytest.mark.parametrize(
    "name", ["/vsisubfile/0,{}", "/vsicached?chunk_size=65536&file={}", "vrt://{}?bands=1"]
)
def test_files_that_gdal_names_indirectly(scene: Path, name: str) -> None:
    assert local_files(name.format(scene)) == [scene]
    virtual = scene.with_name("v.vrt")
    gdal_copy(scene, virtual, driver="VRT")
    source = name.format(scene).replace("&", "&amp;")
    text = virtual.read_text().replace("s.tif", source).replace('toVRT="1"', 'toVRT="0"')
    virtual.write_text(text)
    assert local_files(str(virtual)) == [scene, virtual]


def test_braces_of_a_name_are_its_own(scene: Path) -> None:
    braced = scene.rename(scene.with_name("s{1}.tif"))
    assert local_files(str(braced)) == [braced]
    archive = scene.with_name("a{1}.zip")
    with ZipFile(archive, "w") as packed:
        packed.write(braced, "s.tif")
    assert local_files(f"/vsizip/{archive}/s.tif") == [archive]


def test_a_file_elsewhere_is_none_of_a_like_name_here(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = scene.parent / "bucket"
    folder.mkdir()
    (folder / "s.tif").write_bytes(b"another")
    monkeypatch.chdir(scene.parent)
    with MemoryFile(scene.read_bytes(), dirname="bucket", filename="s.tif") as memory:
        assert memory.name == "/vsimem/bucket/s.tif"
        assert local_files(memory.name) == []


def test_all_chunks_of_an_array_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "z.zarr"
    profile = {"driver": "Zarr", "width": 300, "height": 300, "count": 1, "dtype": "uint8"}
    with rasterio.open(folder, "w", **profile) as file:
        file.write(np.ones((1, 300, 300), np.uint8))
    (name,) = rasters_of(str(folder))
    assert stem_of(name) == "z"
    chunks = [file for file in local_files(name) if not file.name.startswith(".")]
    assert len(chunks) == 4


def test_names_of_files_here_become_absolute_and_no_others(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scene.parent)
    with ZipFile("a.zip", "w") as packed:
        packed.write("s.tif")
    here = Path.cwd()
    for name, absolute in (
        ("s.tif", f"{here}/s.tif"),
        (f"../{here.name}/s.tif", f"{here}/../{here.name}/s.tif"),
        ("/vsizip/a.zip//s.tif", f"/vsizip/{here}/a.zip//s.tif"),
        ("/vsizip/{a.zip}/s.tif", f"/vsizip/{{{here}/a.zip}}/s.tif"),
        ('GTIFF_RAW:"s.tif"', f'GTIFF_RAW:"{here}/s.tif"'),
    ):
        assert absolute_name(name) == absolute
        assert absolute_name(absolute) == absolute
    for name in ("gone.tif", "https://host/s.tif", "/vsis3/b/s.tif", "vrt://s.tif?bands=1"):
        assert absolute_name(name) == name


@pytest.mark.parametrize("what", ["array", "output", "layer"])
def test_warnings_are_silenced_by_one_thread_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    scene = write(tmp_path / "s.tif", coded(4, 20, 30), transform=None, crs=None)
    filters, opens = warnings.filters, rasterio.open
    seen: list[bool] = []

    def watched(*args: Any, **options: Any) -> Any:
        if warnings.filters is not filters:
            seen.append(opening._opening.locked())  # type: ignore[attr-defined]
        return opens(*args, **options)

    monkeypatch.setattr(rasterio, "open", watched)
    if what == "array":
        stored(xr.DataArray(coded(4, 20, 30), dims=("band", "y", "x")), tmp_path)
    elif what == "output":
        write_cog(str(scene), [], tmp_path / "o.tif", {}, tmp_path)
    else:
        grid = PixelGrid(20, 30, Affine.identity(), None)
        with layer_writer(tmp_path / "l.tif", grid, Layer(["cloudy"], 1.0, {})):
            pass
    assert seen
    assert all(seen)
