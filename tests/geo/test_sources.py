"""Tests of the files that rasters are read from, and of those that change meanwhile."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile
from rasterio.shutil import copy as gdal_copy

from decr.errors import SceneError
from decr.geo import sources
from decr.geo.delivery import rasters_of
from decr.geo.names import stem_of
from decr.geo.reader import reader
from decr.geo.scene import open_scene
from decr.geo.sources import check_parts, check_states, local_files, state_of, states_of
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
def test_the_file_of_a_raster_in_an_archive_is_the_archive(scene: Path, name: str) -> None:
    archive = scene.with_name("a.zip")
    with ZipFile(archive, "w") as packed:
        packed.write(scene, "s.tif")
    assert local_files(name.format(archive)) == [archive]


@pytest.mark.parametrize(
    "name", ["/vsisubfile/0,{}", "/vsicached?chunk_size=65536&file={}", "vrt://{}?bands=1"]
)
def test_a_file_that_gdal_names_indirectly_is_found(scene: Path, name: str) -> None:
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


def test_what_lies_beside_an_array_is_no_part_of_it(tmp_path: Path) -> None:
    source, folder = write(tmp_path / "s.tif", coded(4, 20, 30)), tmp_path / "z.zarr"
    gdal_copy(source, folder, driver="Zarr")
    files = {*local_files(str(folder))}
    assert folder / "z" / "0.0.0" in files
    assert source not in files


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("beside", ["0", "1"])
def test_a_virtual_raster_without_one_of_its_parts_is_refused(
    scene: Path, monkeypatch: pytest.MonkeyPatch, depth: int, beside: str
) -> None:
    monkeypatch.chdir(scene.parent)
    names = ["s.tif", "a.vrt", "b.vrt"][: depth + 1]
    for source, name in itertools.pairwise(names):
        gdal_copy("s.tif", name, driver="VRT")
        text = Path(name).read_text().replace("s.tif", source)
        Path(name).write_text(text.replace('toVRT="1"', f'toVRT="{beside}"'))
    linked = scene.parent / "elsewhere" / "link.vrt"
    linked.parent.mkdir()
    linked.symlink_to(scene.with_name(names[-1]))
    assert open_scene(linked).count == 4
    scene.rename("gone.tif")
    for name in (names[-1], str(linked)):
        with pytest.raises(SceneError, match=rf"{name}: .*s\.tif, which .* make \w+.vrt without"):
            check_parts(name)
    with pytest.raises(SceneError, match=r"s\.tif, which it is made of, is not there; put it back"):
        open_scene(names[-1])


def test_a_virtual_raster_without_a_part_whose_name_is_not_utf8_is_refused(scene: Path) -> None:
    virtual, part = scene.with_name("v.vrt"), scene.parent / os.fsdecode(b"\xe9.tif")
    gdal_copy(scene, virtual, driver="VRT")
    virtual.write_bytes(virtual.read_bytes().replace(b"s.tif", b"\xe9.tif"))
    scene.rename(part)
    assert open_scene(virtual).count == 4
    part.unlink()
    with pytest.raises(SceneError, match=r"v\.vrt: .*\.tif, which it is made of, is not there"):
        open_scene(virtual)


def test_parts_elsewhere_and_overviews_of_virtual_rasters_are_not_looked_for(scene: Path) -> None:
    virtual = scene.with_name("v.vrt")
    gdal_copy(scene, virtual, driver="VRT")
    coarse = "<Overview><SourceFilename>no.tif</SourceFilename></Overview></VRTRasterBand>"
    text = virtual.read_text().replace("</VRTRasterBand>", coarse)
    virtual.write_text(text)
    check_parts(str(virtual))
    for name in ("/vsizip/no.zip/s.tif", "https://host/s.tif", 'NETCDF:"no.nc":red', ""):
        virtual.write_text(text.replace(">s.tif<", f">{name}<"))
        check_parts(str(virtual))
    virtual.write_text("<VRTDataset>")
    check_parts(str(virtual))


def test_another_file_under_the_name_of_the_scene_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", coded(4, 40, 60))
    scene = open_scene(path)
    scene = replace(scene, files=(state_of(str(path)),))
    with reader(scene):
        pass
    stat = path.stat()
    os.utime(path, (stat.st_atime, stat.st_mtime - 5))
    with (
        pytest.raises(SceneError, match=r"a\.tif: \[bytes, nanosecond of change\].*cp -p"),
        reader(scene),
    ):
        pass
    path.unlink()
    with (
        pytest.raises(SceneError, match=r"a\.tif cannot be seen here.*by this path"),
        reader(scene),
    ):
        pass


def test_a_file_replaced_within_a_second_is_told_where_it_is_looked_at_by_one_machine(
    tmp_path: Path,
) -> None:
    path, second = write(tmp_path / "a.tif", coded(4, 40, 60)), 1_700_000_000 * 10**9
    os.utime(path, ns=(0, second + 250_000_000))
    here, anywhere = states_of([str(path)]), states_of([str(path)], elsewhere=True)
    os.utime(path, ns=(0, second + 750_000_000))
    check_states(anywhere)
    with pytest.raises(SceneError, match="it was changed since"):
        check_states(here)
    os.utime(path, ns=(0, second + 10**9))
    with pytest.raises(SceneError, match="it was changed since"):
        check_states(anywhere)


def test_states_of_the_mask_travel_however_many_files_the_scene_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, mask = (write(tmp_path / f"{name}.tif", coded(1, 40, 60)) for name in "sm")
    (tmp_path / "s.tif.msk").write_bytes(mask.read_bytes())
    monkeypatch.setattr(sources, "_STATES", 1)
    found = states_of([str(scene), str(mask)])
    assert found == (state_of(str(scene)), state_of(str(mask)))


def test_a_file_that_changes_while_it_is_open_is_not_called_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", coded(4, 400, 600), tiled=True, compress="lzw")
    scene = replace(open_scene(path), files=states_of([str(path)]))
    with reader(scene) as pixels:
        os.truncate(path, path.stat().st_size // 4)
        with pytest.raises(SceneError, match="it was changed since"):
            pixels.read(scene.grid.window)


def test_a_copy_that_keeps_no_more_than_the_second_is_the_same_file(tmp_path: Path) -> None:
    path, second = write(tmp_path / "a.tif", coded(4, 40, 60)), 1_700_000_000 * 10**9
    os.utime(path, ns=(0, second + 250_000_000))
    states = states_of([str(path)], elsewhere=True)
    os.utime(path, ns=(0, second))
    check_states(states)
