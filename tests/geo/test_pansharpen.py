"""Pansharpening: GDAL's own pixels, streamed, with the names and places of the sources."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.shutil import copy as gdal_copy
from rasterio.windows import Window

from cli.main import main
from decr.errors import (
    BandError,
    DecrError,
    DecrWarning,
    GridMismatchError,
    OutputError,
    SceneError,
)
from decr.files import scratch_folder
from decr.geo.pansharpen import PansharpenOptions, pansharpen
from decr.geo.reader import reader
from decr.geo.scene import open_scene
from tests.geo.scene_files import BGRN, NORTH_UP, UTM, write
from tests.geo.two_images import MS_GRID, images

REFERENCE = """<VRTDataset subClass="VRTPansharpenedDataset"><PansharpeningOptions>
<AlgorithmOptions><Weights>{weights}</Weights></AlgorithmOptions><Resampling>Cubic</Resampling>
<PanchroBand><SourceFilename>{pan}</SourceFilename><SourceBand>1</SourceBand></PanchroBand>
{bands}</PansharpeningOptions></VRTDataset>"""
BAND = """<SpectralBand dstBand="{n}"><SourceFilename>{ms}</SourceFilename>
<SourceBand>{n}</SourceBand></SpectralBand>"""


def reference(pan: Path, ms: Path, weights: str) -> np.ndarray:
    """What GDAL makes of a virtual raster written by its documentation, read in one piece."""
    bands = "".join(BAND.format(n=n, ms=ms) for n in range(1, 5))
    with rasterio.open(REFERENCE.format(weights=weights, pan=pan, bands=bands)) as file:
        return np.asarray(file.read())


@pytest.mark.parametrize("weights", [None, (0.1, 0.3, 0.4, 0.2)])
def test_pixels_are_those_of_gdal(tmp_path: Path, weights: tuple[float, ...] | None) -> None:
    pan, ms = images(tmp_path)
    pansharpen(pan, ms, tmp_path / "out.tif", PansharpenOptions(weights=weights))
    said = ",".join(map(str, weights or (0.25,) * 4))
    with rasterio.open(tmp_path / "out.tif") as file:
        fused = file.read()
        assert file.descriptions == BGRN
        assert (file.crs, file.transform) == (UTM, NORTH_UP)
        assert file.dtypes == ("uint16",) * 4
        assert file.tags(ns="DECR")["PAN"] == "pan.tif"
    np.testing.assert_array_equal(fused, reference(pan, ms, said))
    # Brovey: the weighted mean of the fused bands is the panchromatic image, but for rounding.
    with rasterio.open(pan) as file:
        mean = np.tensordot(weights or (0.25,) * 4, fused.astype(float), axes=1)
        assert np.abs(mean - file.read(1)).max() <= 1


def test_rpcs_beside_the_image_and_its_date_are_kept(tmp_path: Path) -> None:
    """A delivery as it comes: no map coordinates, .rpb and .xml files."""
    pan, ms = images(tmp_path, crs=None, transform=Affine.identity())
    coefficients = ",\n".join(f"{0.001 * n:+.3E}" for n in range(1, 21))
    (tmp_path / "pan.RPB").write_text(
        'satId = "JL1";\nbandId = "P";\nSpecId = "RPC00B";\nBEGIN_GROUP = IMAGE\n'
        "errBias = 1.0;\nerrRand = 0.0;\nlineOffset = 350;\nsampOffset = 550;\nlatOffset = 39.7;\n"
        "longOffset = 117.0;\nheightOffset = 50;\nlineScale = 350;\nsampScale = 550;\n"
        "latScale = 0.01;\nlongScale = 0.01;\nheightScale = 500;\n"
        + "".join(
            f"{name} = (\n{coefficients});\n"
            for name in ("lineNumCoef", "lineDenCoef", "sampNumCoef", "sampDenCoef")
        )
        + "END_GROUP = IMAGE\nEND;\n"
    )
    (tmp_path / "pan.xml").write_text("<a><CenterTime>2024-05-03 03:10:00</CenterTime></a>")
    with rasterio.open(pan) as file:
        before = file.rpcs
    assert isinstance(before, RPC)
    pansharpen(pan, ms, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.rpcs.to_dict() == before.to_dict()
        assert file.tags()["ACQUISITIONDATETIME"] == "2024-05-03T03:10:00+00:00"
        assert file.shape == (700, 1100)
        assert file.descriptions == BGRN
        assert (file.crs, file.transform) == (None, Affine.identity())
        fused = file.read()
    (tmp_path / "placed").mkdir()
    placed = images(tmp_path / "placed")
    np.testing.assert_array_equal(fused, reference(*placed, "0.25,0.25,0.25,0.25"))


def test_only_what_both_cover_is_written_and_rpcs_move_along(tmp_path: Path) -> None:
    pan, ms = images(tmp_path, 400, 400)
    with rasterio.open(ms, "r+") as file:
        file.transform = MS_GRID @ Affine.translation(10, 5)
    lists = ("line_num_coeff", "line_den_coeff", "samp_num_coeff", "samp_den_coeff")
    scales = {f"{name}_scale": 200.0 for name in ("height", "lat", "line", "long", "samp")}
    offsets = {"height_off": 50.0, "lat_off": 39.7, "long_off": 117.0}
    rpc = RPC(line_off=200.0, samp_off=210.0, **offsets, **scales, **{n: [1.0] * 20 for n in lists})
    with rasterio.open(pan, "r+") as file:
        file.rpcs = rpc
    pansharpen(pan, ms, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.shape == (380, 360)
        assert file.transform.almost_equals(NORTH_UP @ Affine.translation(40, 20))
        assert (file.rpcs.line_off, file.rpcs.samp_off) == (180.0, 170.0)
        fused = file.read()
    # Away from the edges, GDAL's pixels of both where they lie on one another.
    with rasterio.open(pan) as one, rasterio.open(ms) as many:
        window = Window(40, 20, 360, 380)
        cut = write(tmp_path / "cut.tif", one.read(window=window), descriptions=None)
        low = write(tmp_path / "low.tif", many.read()[:, :95, :90], transform=MS_GRID)
    expected = reference(cut, low, "0.25,0.25,0.25,0.25")
    np.testing.assert_array_equal(fused[:, :-16, :-16], expected[:, :-16, :-16])


def test_control_points_scale_and_unit_are_those_of_the_panchromatic_image(tmp_path: Path) -> None:
    pan, ms = images(tmp_path, 400, 400, crs=None, transform=Affine.identity())
    points = [
        GroundControlPoint(row, col, 4e5 + col / 2 + 1e-9, 4.4e6 - row / 2, 12.5)
        for row, col in ((0, 0), (0, 400), (400, 0), (400, 400))
    ]
    with rasterio.open(pan, "r+") as file:
        file.gcps = (points, UTM)
        file.scales, file.offsets, file.units = (0.01,), (-0.5,), ("W",)
    pansharpen(pan, ms, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as file:
        found, crs = file.gcps
        assert crs == UTM
        assert [(p.row, p.col, p.x, p.y, p.z) for p in found] == [
            (p.row, p.col, p.x, p.y, p.z) for p in points
        ]
        assert (file.scales, file.offsets) == ((0.01,) * 4, (-0.5,) * 4)
        assert file.units == ("W",) * 4


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (Affine.translation(0, 200) @ Affine.scale(1, -1), "run other ways"),
        (Affine.rotation(1), "run other ways"),
        (Affine.translation(399.9, 0), "less than a pixel"),
    ],
)
def test_grids_that_gdal_cannot_lay_over_one_another_are_refused(
    tmp_path: Path, turn: Affine, said: str
) -> None:
    pan, ms = images(tmp_path, 400, 400)
    with rasterio.open(ms, "r+") as file:
        file.transform = NORTH_UP @ turn @ Affine.scale(4)
    with pytest.raises(GridMismatchError, match=said):
        pansharpen(pan, ms, tmp_path / "out.tif")


@pytest.mark.parametrize("turn", [0.0, 20.0])
@pytest.mark.parametrize(
    ("down", "right"), [(0, 0), (1, 3), (1.4, 0), (-1.5, -1.5), (-3, -5), (-6.6, -11.1), (30.3, 9)]
)
def test_colours_lie_where_they_are(tmp_path: Path, turn: float, down: float, right: float) -> None:
    """A ramp of colours, off by fine pixels to the lower right of the other image's corner."""
    pan, ms = images(tmp_path, 400, 480)
    fine = NORTH_UP @ Affine.rotation(turn)
    coarse = fine @ Affine.translation(right, down) @ Affine.scale(4)
    ramp = np.full((4, 110, 130), 1000, np.float32)
    ramp[0] += 4 * np.arange(110)[:, None]
    ramp[2] += 4 * np.arange(130)
    write(pan, np.full((1, 400, 480), 1000, np.float32), descriptions=None, transform=fine)
    write(ms, ramp, descriptions=BGRN, transform=coarse)
    pansharpen(pan, ms, tmp_path / "out.tif", PansharpenOptions(resampling="Bilinear"))
    found = open_scene(tmp_path / "out.tif")
    with reader(found) as out:
        dn, valid = out.read(found.grid.window)
    col, row = ~fine @ (found.grid.transform.c, found.grid.transform.f)
    # All that the other image covers, to half a pixel.
    assert (row, col) == pytest.approx((max(0, down), max(0, right)), abs=0.51)
    assert valid.all()
    assert valid.shape == (400 - round(row), 480 - round(col))
    inside = np.s_[8:-8, 8:-8]
    rows, cols = (np.arange(n) + 0.5 for n in valid.shape)
    ratio = dn.astype(float) / dn[1]
    for band, at in ((0, (rows[:, None] + row - down) / 4), (2, (cols + col - right) / 4)):
        expected = np.broadcast_to(1000 + 4 * (at - 0.5), valid.shape)
        off = (1000 * ratio[band] - expected)[inside]  # 4 DN are a coarse pixel, 1 a fine one
        assert np.abs(off).max() < 0.51


def test_what_cannot_be_fused_is_one_error_and_leaves_nothing(tmp_path: Path) -> None:
    pan, ms = images(tmp_path, 400, 400)
    out = tmp_path / "out.tif"
    with pytest.raises(DecrError):
        pansharpen(ms, pan, out)
    eight = write(tmp_path / "eight.tif", np.ones((4, 100, 100), np.uint8), transform=MS_GRID)
    with pytest.raises(BandError, match="one type"):
        pansharpen(pan, eight, out)
    with rasterio.open(ms) as file:
        dn = file.read()
    far = write(tmp_path / "far.tif", dn, transform=MS_GRID @ Affine.translation(500, 0))
    with pytest.raises(GridMismatchError, match="overlap"):
        pansharpen(pan, far, out)
    pan.write_bytes(pan.read_bytes()[:40000])
    done = CliRunner().invoke(main, ["pansharpen", str(pan), str(ms), "-o", str(out)])
    assert done.exit_code == 1
    assert done.output.startswith("decr: ")
    names = {"pan.tif", "ms.tif", "eight.tif", "far.tif"}
    assert {p.name for p in tmp_path.iterdir()} == names
    out.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        pansharpen(pan, ms, out)


def test_what_a_killed_run_left_is_cleared_and_a_run_beside_is_not_broken(tmp_path: Path) -> None:
    pan, ms = images(tmp_path, 400, 400)
    out, work = tmp_path / "o" / "out.tif", tmp_path / "o" / ".out.tif.decr-pansharpen"
    out.parent.mkdir()
    with scratch_folder(work, out):
        (work / "mask.tif").write_text("of the other")
        with pytest.raises(OutputError, match=r"out\.tif: another decr is writing"):
            pansharpen(pan, ms, out)
        shutil.copytree(work, tmp_path / "killed")
    (tmp_path / "killed").rename(work)
    pansharpen(pan, ms, out)
    assert list(out.parent.iterdir()) == [out]


def test_the_command_says_what_it_wrote_and_refuses_wrong_weights(tmp_path: Path) -> None:
    pan, ms = images(tmp_path, 400, 400)
    run = CliRunner().invoke
    done = run(main, ["pansharpen", str(pan), str(ms), "-o", str(tmp_path / "a" / "out.tif")])
    assert done.output == f"{tmp_path / 'a' / 'out.tif'}: 400 x 400 px, blue, green, red, nir\n"
    for weights, code in (("0.5,0.5", 1), ("a,b", 2), ("0,0,0,0", 2)):
        out = str(tmp_path / "out.tif")
        done = run(main, ["pansharpen", str(pan), str(ms), "-o", out, "--weights", weights])
        assert done.exit_code == code


def test_what_would_be_taken_for_a_part_of_the_output_is_not_lost(tmp_path: Path) -> None:
    pan, ms = images(tmp_path)
    out, beside = tmp_path / "out.tif", tmp_path / "out.tif.msk"
    beside.write_text("mine")
    with pytest.raises(OutputError, match=r"out\.tif\.msk: would be taken for a part"):
        pansharpen(pan, ms, out)
    assert beside.read_text() == "mine"
    before = ms.read_bytes()
    ms.replace(beside)
    with pytest.raises(OutputError, match=r"out\.tif\.msk: is read by this run"):
        pansharpen(pan, beside, out, PansharpenOptions("b,g,r,n"))
    assert beside.read_bytes() == before
    with pytest.raises(OutputError, match="part of another raster"):
        pansharpen(pan, beside, tmp_path / "pan.tif.ovr", PansharpenOptions("b,g,r,n"))


def test_a_negative_is_refused(tmp_path: Path) -> None:
    pan, ms = images(tmp_path)
    with rasterio.open(pan) as file:
        dn = file.read()
    write(pan, 65535 - dn, descriptions=None, crs=UTM, transform=NORTH_UP, photometric="MINISWHITE")
    with pytest.raises(SceneError, match=r"pan\.tif is a negative: .*65535 minus.*number\)$"):
        pansharpen(pan, ms, tmp_path / "out.tif")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["ms.tif", "pan.tif"]


def test_guessed_names_that_are_written_are_told(tmp_path: Path) -> None:
    pan, ms = images(tmp_path)
    with rasterio.open(ms) as file:
        dn = file.read() // 8
    for path, pixels, grid in (
        (ms, dn, MS_GRID),
        (pan, dn[:1].repeat(4, 1).repeat(4, 2), NORTH_UP),
    ):
        write(path, pixels.astype(np.uint8), descriptions=None, crs=UTM, transform=grid)
    with pytest.warns(DecrWarning, match=r"ms\.tif: calls its fourth band alpha.*--bands r,g,b,n"):
        pansharpen(pan, ms, tmp_path / "out.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known = pansharpen(pan, ms, tmp_path / "known.tif", PansharpenOptions("r,g,b,n"))
    assert known.bands.roles == ("red", "green", "blue", "nir")


@pytest.mark.parametrize(
    "name",
    [
        "pan.tif",
        "here/../pan.tif",
        "{}/pan.tif",
        "/vsizip/pan.zip/pan.tif",
        "GTIFF_DIR:1:pan.tif",
        "GTIFF_DIR:1:{}/pan.tif",
        "vrt://pan.tif?bands=1",
        "pan.zarr",
        'ZARR:"pan.zarr"',
    ],
)
def test_an_image_is_fused_by_whatever_name_gdal_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pan, ms = images(tmp_path, 200, 300)
    (tmp_path / "here").mkdir()
    with ZipFile(tmp_path / "pan.zip", "w") as packed:
        packed.write(pan, "pan.tif")
    gdal_copy(pan, tmp_path / "pan.zarr", driver="Zarr")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecrWarning)
        pansharpen(name.format(tmp_path), Path("ms.tif"), Path("out.tif"))
    with rasterio.open("out.tif") as file:
        np.testing.assert_array_equal(file.read(), reference(pan, ms, "0.25,0.25,0.25,0.25"))
