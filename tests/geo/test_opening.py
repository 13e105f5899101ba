"""Tests of opening rasters: what is refused, silenced, and how they are called."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from rasterio.shutil import copy as gdal_copy

from decr.errors import ConfigError, SceneError
from decr.geo import opening
from decr.geo.aoi import read_aoi
from decr.geo.grid import PixelGrid
from decr.geo.layers import Layer, layer_writer
from decr.geo.names import absolute_name, settled_name, stem_of, without_keys
from decr.geo.output import write_cog
from decr.geo.scene import open_scene
from decr.pipeline.stored_array import stored
from tests.geo.scene_files import NORTH_UP, UTM, coded, write


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write(tmp_path / "s.tif", coded(4, 20, 30))


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
        settled = absolute.replace("//s.tif", "/s.tif").replace(f"../{here.name}/", "")
        assert settled_name(name) == settled_name(absolute) == settled
    for name in ("gone.tif", "https://host/s.tif", "/vsis3/b/s.tif", "vrt://s.tif?bands=1"):
        assert absolute_name(name) == settled_name(name) == name


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


KEY = "dl/x+Y=&t=1:00"


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (f"https://h/a s.tif?sig={KEY}", "https://h/a s.tif"),
        (f"s3+https://me:{KEY[:2]}@h:80/s.tif", "s3+https://h:80/s.tif"),
        (f"/vsizip//vsicurl/https://h/s.zip?{KEY}: HTTP 403; run again?",
         "/vsizip//vsicurl/https://h/s.zip: HTTP 403; run again?"),
        ("'/vsicurl?a=1&url=https%3A//h/s.tif%3Fk=x' is gone", "'https://h/s.tif' is gone"),
        (f'NETCDF:"/vsicurl/https://h/s.nc?{KEY}":red', 'NETCDF:"/vsicurl/https://h/s.nc":red'),
        (f"https://h/a?{KEY} and https://you@h/b?{KEY}, both", "https://h/a and https://h/b, both"),
        ("in?/s?.tif: who@h?", "in?/s?.tif: who@h?"),
        ("vrt:///in/v.tif?bands=3,2,1", "vrt:///in/v.tif?bands=3,2,1"),
        (f"vrt:///vsicurl/https://h/v.tif?sig={KEY}", "vrt:///vsicurl/https://h/v.tif"),
    ],
)  # fmt: skip
def test_addresses_are_passed_on_without_their_keys(told: str, kept: str) -> None:
    assert without_keys(told) == kept


def test_question_marks_in_names_of_this_machine_are_kept(tmp_path: Path) -> None:
    (tmp_path / "in?").mkdir()
    archive = tmp_path / "in?" / "a.zip"
    with ZipFile(archive, "w") as file:
        file.writestr("b.tif", b"")
    assert without_keys(f"/vsizip/{archive}/b.tif") == f"/vsizip/{archive}/b.tif"
    assert stem_of(f"/vsizip/{archive}/b.tif") == "b"
    assert stem_of("vrt:///in/v.tif?bands=3,2,1&scale=1.5") == "v"


@pytest.mark.parametrize(
    "name",
    [
        "/vsicurl?max_retry=3&url={}",
        "/vsicached?chunk_size=65536&file=/vsicurl/{}%3Fkey=x",
        "/vsizip//vsicurl?url={}&list_dir=no",
    ],
)
def test_scenes_are_called_as_their_file_and_not_as_its_options(name: str) -> None:
    assert stem_of(name.format("https://me:word@host/deep/z.tif")) == "z"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "s.tif"
    os.mkfifo(pipe)
    with pytest.raises(SceneError, match=r"s\.tif is a pipe, .*; write it to a file first"):
        open_scene(pipe)
    with pytest.raises(SceneError, match=r"^/vsistdin/ is a pipe"):
        open_scene("/vsistdin/")
    with pytest.raises(ConfigError, match=r"s\.tif is a pipe"):
        read_aoi(pipe, PixelGrid(9, 9, NORTH_UP, UTM))


RECTS = "".join(f'<{r}Rect xOff="0" yOff="0" xSize="300" ySize="200" />' for r in ("Src", "Dst"))
PYTHON = """<PixelFunctionLanguage>Python</PixelFunctionLanguage>
<PixelFunctionCode>def f(found, out, *more, **named): out[:] = found[0]</PixelFunctionCode>"""


def computed(folder: Path, function: str, more: str = "", rects: str = RECTS) -> Path:
    """A virtual raster of four bands, each computed from one of a GeoTIFF."""
    write(folder / "s.tif", coded(4, 200, 300))
    bands = "".join(
        f"""<VRTRasterBand dataType="UInt16" band="{band}" subClass="VRTDerivedRasterBand">
        <Description>{name}</Description><PixelFunctionType>{function}</PixelFunctionType>{more}
        <SimpleSource><SourceFilename relativeToVRT="1">s.tif</SourceFilename>
        <SourceBand>{band}</SourceBand>{rects}</SimpleSource></VRTRasterBand>"""
        for band, name in enumerate(("blue", "green", "red", "nir"), 1)
    )
    virtual = folder / "v.vrt"
    size = 'rasterXSize="300" rasterYSize="200"'
    virtual.write_text(f"<VRTDataset {size}>{bands}</VRTDataset>")
    return virtual


@pytest.mark.parametrize(
    ("function", "more", "why"),
    [
        ("diff", "", "GDAL does not say why"),  # of two sources, and there is one
        ("polar", '<PixelFunctionArguments amplitude_type="no"/>', "GDAL does not say why"),
        ("nosuch", "", "'nosuch' not registered"),
        ("f", PYTHON, "Python code needs to be executed"),
    ],
)
@pytest.mark.parametrize("depth", [1, 2])
def test_a_virtual_raster_whose_pixel_function_fails_is_refused(
    tmp_path: Path, function: str, more: str, why: str, depth: int
) -> None:
    virtual = computed(tmp_path, "real")
    if depth == 2:
        gdal_copy(tmp_path / "s.tif", tmp_path / "outer.vrt", driver="VRT")
        virtual = tmp_path / "outer.vrt"
        virtual.write_text(virtual.read_text().replace("s.tif", "v.vrt"))
    assert open_scene(virtual).count == 4
    computed(tmp_path, function, more)
    words = rf"{virtual.name}: its band 1 cannot be computed: .*{why}.*; mend its pixel function"
    for _ in range(2):
        with pytest.raises(SceneError, match=words):
            open_scene(virtual)


def test_a_virtual_raster_of_computed_bands_with_unplaced_sources_is_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(SceneError, match=r"v\.vrt: its bands .* give each source a SrcRect"):
        open_scene(computed(tmp_path, "real", rects=""))
    virtual = computed(tmp_path, "real")
    with rasterio.open(virtual) as file:
        np.testing.assert_array_equal(file.read(), coded(4, 200, 300))


@pytest.mark.parametrize("interleave", ["BSQ", "BIL"])
def test_an_envi_file_that_is_cut_off_is_refused(tmp_path: Path, interleave: str) -> None:
    source, file = write(tmp_path / "s.tif", coded(4, 20, 30)), tmp_path / "s.dat"
    gdal_copy(source, file, driver="ENVI", INTERLEAVE=interleave)
    Path(f"{file}.aux.xml").unlink()
    content = file.read_bytes()
    for before in (b"", b"before"):
        header = file.with_suffix(".hdr").read_text()
        offset = f"header offset = {len(before)}"
        file.with_suffix(".hdr").write_text(header.replace("header offset = 0", offset))
        file.write_bytes(before + content)
        assert open_scene(file).count == 4
        file.write_bytes((before + content)[:-1])
        total = len(before + content)
        with pytest.raises(SceneError, match=rf"s\.dat is cut off: .* {total - 1} of {total} by"):
            open_scene(file)


@pytest.mark.parametrize(("dtype", "turn"), [("uint8", "-expand gray"), ("uint16", "65535 minus")])
def test_greys_of_which_0_is_white_are_refused_unless_somebody_names_them(
    tmp_path: Path, dtype: str, turn: str
) -> None:
    path = write(tmp_path / "n.tif", coded(1, 20, 30, dtype), photometric="MINISWHITE")
    with pytest.raises(SceneError, match=rf"n\.tif is a negative: .*{turn}.*--bands p"):
        open_scene(path)
    assert open_scene(path, "p").bands.roles == ("pan",)
    # The way out for bytes: GDAL's table of the colours turns them round, as -expand gray does.
    with rasterio.open(path) as file:
        table = file.colormap(1)
    assert dtype != "uint8" or all(table[value][0] == 255 - value for value in range(256))


def test_greys_and_alpha_of_which_0_is_white_are_refused_unless_somebody_names_them(
    tmp_path: Path,
) -> None:
    colours = ("gray", "alpha")
    options: dict[str, Any] = {"photometric": "MINISWHITE", "descriptions": None}
    path = write(tmp_path / "n.tif", coded(2, 20, 30, "uint8"), colours=colours, **options)
    with pytest.raises(SceneError, match=r"negative: .*255 minus each number.*--bands p,a "):
        open_scene(path)
    assert open_scene(path, "p,a").bands.roles == ("pan", "alpha")


def test_bands_of_a_file_that_says_0_is_white_of_no_greys_are_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "s.tif", coded(4, 20, 30), photometric="MINISWHITE")
    assert open_scene(path).bands.roles == ("blue", "green", "red", "nir")
