"""Which files of this machine a raster is read from."""

from __future__ import annotations

import itertools
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
from rasterio.io import MemoryFile
from rasterio.shutil import copy as gdal_copy
from scipy.io import netcdf_file

from decr.errors import ConfigError, SceneError
from decr.geo import opening
from decr.geo.aoi import read_aoi
from decr.geo.delivery import rasters_of
from decr.geo.grid import PixelGrid
from decr.geo.layers import Layer, layer_writer
from decr.geo.names import absolute_name, settled_name, stem_of, without_keys
from decr.geo.opening import opened
from decr.geo.output import write_cog
from decr.geo.scene import open_scene
from decr.geo.sources import check_parts, local_files
from decr.pipeline.stored_array import stored
from tests.geo.scene_files import NORTH_UP, UTM, coded, write


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


@pytest.mark.parametrize("format_", ["NC", "NC2", "NC4"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_netcdf_file_that_is_cut_off_is_refused(tmp_path: Path, format_: str, count: int) -> None:
    source, file = write(tmp_path / "s.tif", coded(count, 41, 61, "uint8")), tmp_path / "s.nc"
    gdal_copy(source, file, driver="netCDF", FORMAT=format_)
    with opened(str(file)) as dataset:
        names = dataset.subdatasets or [str(file)]
    for name, pixels in zip(names, coded(count, 41, 61, "uint8"), strict=True):
        with opened(name) as dataset:
            np.testing.assert_array_equal(dataset.read(1), pixels)
    whole = file.read_bytes()
    for share in (0.99, 0.5):
        file.write_bytes(whole[: int(len(whole) * share)])
        for name in (str(file), *names):
            with pytest.raises(SceneError, match=r"s\.nc"), opened(name):
                pass


def test_a_netcdf_file_with_dates_is_whole_or_cut_off(tmp_path: Path) -> None:
    file, pixels = tmp_path / "s.nc", coded(3, 41, 61, "int16")
    with netcdf_file(file, "w") as made:
        for name, size in (("time", None), ("y", 41), ("x", 61)):
            made.createDimension(name, size)
        for name in ("red", "nir"):
            made.createVariable(name, "h", ("time", "y", "x"))[:3] = pixels
    name = f'NETCDF:"{file}":nir'
    with opened(name) as dataset:
        np.testing.assert_array_equal(dataset.read()[:, ::-1], pixels)
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(SceneError, match="is cut off; copy it again"), opened(name):
        pass


def netcdf_of_one_record(file: Path, height: int, width: int) -> Path:
    """A sparse one of 4 bytes per pixel, of the format with places of 64 bits."""

    def counts(*numbers: int) -> bytes:
        return b"".join(n.to_bytes(4, "big") for n in numbers)

    lengths, size = {b"t": 0, b"y": height, b"x": width}, height * width * 4
    head = b"CDF\x02" + counts(1, 10, 3)
    head += b"".join(counts(1) + name + bytes(3) + counts(n) for name, n in lengths.items())
    head += counts(0, 0, 11, 1, 3) + b"red\0" + counts(3, 0, 1, 2, 0, 0, 5, min(size, 2**32 - 1))
    begin = len(head) + 8
    with file.open("wb") as made:
        made.write(head + begin.to_bytes(8, "big"))
        made.truncate(begin + size)
    return file


@pytest.mark.parametrize(("height", "width"), [(41, 61), (30_000, 20_000), (40_000, 30_000)])
def test_a_netcdf_file_is_whole_or_cut_off_however_large_its_records_are(
    tmp_path: Path, height: int, width: int
) -> None:
    file = netcdf_of_one_record(tmp_path / "s.nc", height, width)
    with opened(str(file)) as dataset:
        assert (dataset.shape, dataset.count) == ((height, width), 1)
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(SceneError, match="is cut off; copy it again"), opened(str(file)):
        pass
