"""Deliveries: archives and folders of rasters."""

from __future__ import annotations

import errno
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from decr.errors import DecrWarning, SceneError
from decr.geo.delivery import raster_of, rasters_of
from decr.geo.reader import reader
from decr.geo.scene import open_scene
from tests.pipeline.scenes import cloudy_pixels, read, write_scene


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    folder = tmp_path / "S1.SAFE"
    (folder / "measurement").mkdir(parents=True)
    for name in ("b.tif", "a.TIFF"):
        write_scene(folder / "measurement" / name, cloudy_pixels(80, 90))
    (folder / "measurement" / ".hidden.tif").write_bytes(b"")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "b.tif").write_bytes(b"")
    (folder / "manifest.safe").write_text("<xml/>")
    return folder


def test_a_folder_is_its_rasters_in_order(parts: Path) -> None:
    found = rasters_of(str(parts))
    assert found == [str(parts / "measurement" / name) for name in ("a.TIFF", "b.tif")]


def test_an_archive_is_its_rasters_and_gdal_reads_them(parts: Path, tmp_path: Path) -> None:
    archive = tmp_path / "delivery.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for member in parts.rglob("*"):
            file.write(member, member.relative_to(tmp_path))
    found = rasters_of(str(archive))
    assert [Path(name).name for name in found] == ["a.TIFF", "b.tif"]
    scene = open_scene(found[1])
    with reader(scene) as source:
        pixels, valid = source.read(scene.grid.window)
    assert valid.all()
    assert (pixels == read(parts / "measurement" / "b.tif")).all()


def test_names_of_an_archive_may_have_backslashes(parts: Path, tmp_path: Path) -> None:
    member = zipfile.ZipInfo("x")
    member.filename = "S1\\b.tif"
    with zipfile.ZipFile(tmp_path / "windows.zip", "w") as file:
        file.writestr(member, (parts / "measurement" / "b.tif").read_bytes())
    found = rasters_of(str(tmp_path / "windows.zip"))
    assert [open_scene(name).count for name in found] == [4]


@pytest.mark.parametrize("name", ["d.tar", "d.tar.gz", "D.TGZ", "d.7z"])
def test_an_archive_that_is_not_looked_into_is_to_be_unpacked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"packed" * 99)
    with pytest.raises(SceneError, match=rf"{name} is not a raster .*; unpack it first"):
        open_scene(tmp_path / name)


@pytest.mark.parametrize("path", ["scene.tif", "https://x.org/s.tif", "/vsis3/b/s.tif", "gone.zip"])
def test_all_else_is_left_to_gdal(path: str) -> None:
    assert rasters_of(path) == [path]


def test_what_holds_no_raster_or_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SceneError, match=r"empty: holds no raster"):
        rasters_of(str(tmp_path / "empty"))
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(SceneError, match=r"bad\.zip: cannot be read as a zip"):
        rasters_of(str(tmp_path / "bad.zip"))


def test_a_folder_that_cannot_be_listed_is_told(
    parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scene(parts / "c.tif", cloudy_pixels(80, 90))
    scandir = os.scandir

    def refusing(place: str) -> Any:
        if Path(place).name == "measurement":
            raise PermissionError(errno.EACCES, "Permission denied", place)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.warns(DecrWarning, match=r"measurement: cannot be listed \(Permission denied\)"):
        assert rasters_of(str(parts)) == [str(parts / "c.tif")]


def test_of_several_rasters_none_is_the_one(parts: Path) -> None:
    with pytest.raises(SceneError, match=r"holds 2 rasters; .* 'decr declouds .* --dry-run'"):
        raster_of(str(parts))
    (parts / "measurement" / "b.tif").unlink()
    assert raster_of(str(parts)) == str(parts / "measurement" / "a.TIFF")


def test_where_outputs_go_no_scene_is(parts: Path) -> None:
    scene = write_scene(parts / "c.tif", cloudy_pixels(80, 90))
    for out in (parts / "measurement", parts / "x" / ".." / "measurement"):
        assert rasters_of(str(parts), out) == [str(scene)]
    assert len(rasters_of(str(parts), scene)) == 2
    for out in (parts, parts.parent, parts / "new"):
        assert len(rasters_of(f"{parts}/.", out)) == 3


def test_links_that_lead_to_no_file_are_passed_over(parts: Path) -> None:
    found = rasters_of(str(parts))
    (parts / "broken.tif").symlink_to(parts / "gone.tif")
    (parts / "loop.tif").symlink_to(parts / "loop.tif")
    (parts / "loop").symlink_to(parts / "loop")
    for out in (None, parts / "clear", parts / "loop" / "clear"):
        assert rasters_of(str(parts), out) == found


def test_names_that_begin_with_underscores_are_scenes(parts: Path) -> None:
    (parts / "__x").mkdir()
    scene = write_scene(parts / "__x" / "__1.tif", cloudy_pixels(80, 90))
    assert str(scene) in rasters_of(str(parts))
