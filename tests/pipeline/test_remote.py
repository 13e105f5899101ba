"""Scenes that are not files: behind HTTP, in an archive, in a mosaic. The same pixels come out."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result

from cli.main import main
from decr.config import DecloudConfig
from decr.errors import SceneError
from decr.geo.pansharpen import pansharpen
from decr.geo.scene import open_scene
from decr.pipeline.declouds import declouds
from tests.pipeline.scenes import cloudy_pixels, darker, read, write_scene

ROOT = Path(__file__).parents[2]
FAST = DecloudConfig(detector="threshold", tile_px=64, overlap_px=16)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene.tif", cloudy_pixels(300, 400))


@pytest.fixture
def local(scene: Path, tmp_path: Path) -> np.ndarray:
    declouds(scene, tmp_path / "local.tif", FAST, restorer=darker())
    return read(tmp_path / "local.tif")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server in a process of its own: GDAL holds Python's lock while it waits for an answer."""
    command = [sys.executable, "-m", "tests.pipeline.http_server", str(tmp_path)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    yield server.stdout.readline().strip()
    server.kill()
    server.communicate()


@pytest.mark.parametrize("form", ["{}/scene.tif", "/vsicurl/{}/scene.tif"])
def test_a_scene_behind_http_is_restored_as_a_file_is(
    address: str, form: str, local: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "out.tif"
    result = declouds(form.format(address), out, FAST, restorer=darker())
    assert result.changed_px > 0
    np.testing.assert_array_equal(read(out), local)


def test_tags_of_pansharpened_images_name_them_without_the_keys_of_their_address(
    address: str, scene: Path, tmp_path: Path
) -> None:
    write_scene(tmp_path / "pan.tif", cloudy_pixels(300, 400)[:1], names=("pan",))
    signed = f"{address}/{{}}?sig=dl/x%2BY"
    pansharpen(signed.format("pan.tif"), signed.format("scene.tif"), tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as file:
        tags = file.tags(ns="DECR")
    assert (tags["PAN"], tags["MS"]) == ("pan.tif", "scene.tif")


def test_a_missing_scene_behind_http_is_one_line(address: str, tmp_path: Path) -> None:
    run = CliRunner().invoke(
        main, ["declouds", f"{address}/gone.tif", "-o", str(tmp_path / "o.tif")]
    )
    assert run.exit_code == 1
    assert "gone.tif" in run.output
    assert "Traceback" not in run.output


def test_a_server_that_gives_no_parts_of_files_is_told(scene: Path) -> None:
    """Python's own, which answers any request with the whole."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        command, cwd=scene.parent, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split("(")[1].split(")")[0]
        try:
            with pytest.raises(SceneError, match="no parts of files, download it first"):
                open_scene(f"{address}scene.tif")
        finally:
            server.kill()


def test_a_mosaic_of_parts_is_restored_as_the_whole_is(
    scene: Path, local: np.ndarray, tmp_path: Path
) -> None:
    vrt = tmp_path / "mosaic.vrt"
    halves = []
    with rasterio.open(scene) as source:
        for number, (first, count) in enumerate(((0, 180), (180, 220))):
            window = rasterio.windows.Window(first, 0, count, source.height)
            profile = source.profile | {
                "width": count,
                "transform": source.window_transform(window),
            }
            half = tmp_path / f"half{number}.tif"
            with rasterio.open(half, "w", **profile) as file:
                file.write(source.read(window=window))
                file.descriptions = source.descriptions
            halves.append(half)
    _mosaic(scene, halves, vrt)
    declouds(vrt, tmp_path / "out.tif", FAST, restorer=darker())
    np.testing.assert_array_equal(read(tmp_path / "out.tif"), local)


def test_an_archive_of_parts_is_many_scenes(scene: Path, tmp_path: Path) -> None:
    archive, out = tmp_path / "parts.zip", tmp_path / "clear"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(scene, "S.SAFE/one.tif")
        file.write(scene, "S.SAFE/two.tif")
        file.writestr("S.SAFE/three.tif", b"not a raster")
    options = ["--detector", "threshold", "--tile", "64", "--overlap", "16", "--steps", "1"]
    run = CliRunner().invoke(main, ["declouds", str(archive), "-o", str(out), "-q", *options])
    assert run.exit_code == 1  # one of the three failed
    assert "three.tif" in run.output
    assert sorted(path.name for path in out.iterdir()) == ["one.tif", "two.tif"]
    np.testing.assert_array_equal(read(out / "one.tif"), read(out / "two.tif"))


def _mosaic(like: Path, halves: list[Path], vrt: Path) -> None:
    """A VRT of two halves side by side, as gdalbuildvrt writes it."""
    with rasterio.open(like) as source:
        width, height, crs = source.width, source.height, source.crs.to_wkt()
        place = ", ".join(str(number) for number in source.transform.to_gdal())
        names = source.descriptions
    bands = []
    for band, name in enumerate(names, start=1):
        first, parts = 0, []
        for half in halves:
            with rasterio.open(half) as part:
                size = f'xSize="{part.width}" ySize="{height}"'
                parts.append(
                    f'<SimpleSource><SourceFilename relativeToVRT="1">{half.name}</SourceFilename>'
                    f'<SourceBand>{band}</SourceBand><SrcRect xOff="0" yOff="0" {size}/>'
                    f'<DstRect xOff="{first}" yOff="0" {size}/></SimpleSource>'
                )
                first += part.width
        bands.append(
            f'<VRTRasterBand dataType="UInt16" band="{band}"><Description>{name}</Description>'
            f"{''.join(parts)}</VRTRasterBand>"
        )
    vrt.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{crs}</SRS>'
        f"<GeoTransform>{place}</GeoTransform>{''.join(bands)}</VRTDataset>"
    )


def test_files_to_be_passed_on_hold_no_keys(address: str, scene: Path, tmp_path: Path) -> None:
    served = address.replace("//", "//me:WORD@")
    write_scene(tmp_path / "m.tif", (cloudy_pixels(300, 400) == 1900)[:1].astype("u1"), names=None)
    signed = [f"{served}/{name}.tif?sig=dl/SECRET" for name in ("scene", "m", "gone")]
    there, mask, gone = signed
    out, pages = tmp_path / "out", tmp_path / "pages"
    clear = ["--detector", "threshold", "--steps", 1, "--report", pages, "-q"]
    run = _run("declouds", there, gone, "-o", f"{out}/", *clear)
    assert (out / "scene.tif").exists(), run.output
    covered = tmp_path / "covered"
    run = _run("ccp", there, gone, "-o", covered, "--detector", f"file:{mask}", "-q")
    assert f"{address}/scene.tif" in (covered / "ccp.json").read_text(), run.output
    assert f"{address}/scene.tif" in (pages / "scene.html").read_text()
    assert "file:m.tif" in (covered / "ccp.json").read_text()
    written = [file for folder in (out, pages, covered) for file in folder.iterdir()]
    assert len(written) >= 10
    for file in written:
        assert b"SECRET" not in file.read_bytes(), file
        assert b"WORD" not in file.read_bytes(), file


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])
