"""Writing: patches land where they should, everything else stays, metadata included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling
from rasterio.rpc import RPC
from rio_cogeo import cog_validate

from decr.errors import OutputError
from decr.geo import output
from decr.geo.metadata import compare_metadata
from decr.geo.output import Patch, write_cog

SIZE = (1100, 900)
COLOURS = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined]


def _rpc() -> RPC:
    numbers = [float(n) / 7 for n in range(20)]
    return RPC(
        height_off=100.0,
        height_scale=500.0,
        lat_off=30.0,
        lat_scale=0.1,
        line_off=450.0,
        line_scale=450.0,
        long_off=110.0,
        long_scale=0.1,
        samp_off=550.0,
        samp_scale=550.0,
        line_den_coeff=numbers,
        line_num_coeff=numbers,
        samp_den_coeff=numbers,
        samp_num_coeff=numbers,
        err_bias=0.5,
        err_rand=0.25,
    )


def make(path: Path, kind: str) -> Path:
    """A uint16 (or float32) scene with every sort of metadata, of one of several kinds."""
    width, height = SIZE
    rng = np.random.default_rng(1)
    dtype = "float32" if kind == "nan" else "uint16"
    pixels = rng.integers(1, 2000, (4, height, width)).astype(dtype)
    if kind == "nan":
        pixels[:, :50] = np.nan
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": 4,
        "height": height,
        "width": width,
        "dtype": dtype,
        "tiled": True,
    }
    if kind not in ("gcp", "rpc"):
        profile |= {"crs": "EPSG:32650", "transform": Affine(0.5, 0.1, 5e5, 0.1, -0.5, 4e6)}
    if kind in ("nodata", "nan"):
        profile["nodata"] = np.nan if kind == "nan" else 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind != "external"):
        with rasterio.open(path, "w", **profile) as file:
            file.write(pixels)
            file.descriptions = ("blue", "green", "red", "nir")
            file.colorinterp = [*COLOURS[:3], ColorInterp.alpha] if kind == "alpha" else COLOURS
            file.scales, file.offsets = (0.1, 0.2, 0.3, 0.4), (1.0, 2.0, 3.0, 4.0)
            file.units = ("W", "W", "W", "W")
            file.update_tags(
                SENSOR="JL1",
                TIFFTAG_DATETIME="2024:01:02 03:04:05",
                TIFFTAG_IMAGEDESCRIPTION="a & b <c>",
            )
            file.update_tags(ns="VENDOR", CLOUD="3", NAME="ü & <x>")
            if kind != "plain":
                file.update_tags(1, GAIN="1.5")
            file.update_tags(2, ns="BANDNS", NOTE="two")
            if kind == "rpc":
                file.rpcs = _rpc()
            if kind == "gcp":
                points = [
                    GroundControlPoint(r + 1 / 3, c + 1 / 7, 110 + c / 9e3, 30 - r / 9e3, 12.3)
                    for r in (0, 450, 899)
                    for c in (0, 550, 1099)
                ]
                file.gcps = (points, rasterio.crs.CRS.from_epsg(4326))
        if kind in ("mask", "external"):
            with rasterio.open(path, "r+") as file:
                file.write_mask(np.arange(height * width).reshape(height, width) % 7 > 0)
    return path


def patched(folder: Path, bands: tuple[int, ...], dtype: str) -> tuple[Patch, NDArray[Any]]:
    """A patch of 300 x 200 px at (500, 600)."""
    pixels = np.full((len(bands), 300, 200), 7, dtype)
    path = folder / "patch.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), height=300, width=200, dtype=dtype
    ) as file:
        file.write(pixels)
    return Patch(path, 500, 600, 300, 200, bands), pixels


KINDS = ["plain", "tags", "mask", "external", "alpha", "nodata", "nan", "rpc", "gcp"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("patches", [0, 1])
def test_pixels_and_metadata(tmp_path: Path, kind: str, patches: int) -> None:
    source, out, work = make(tmp_path / "a & ü.tif", kind), tmp_path / "out.tif", tmp_path / "work"
    work.mkdir()
    before = source.read_bytes()
    with rasterio.open(source) as file:
        expected, mask, dtype = file.read(), file.dataset_mask(), file.dtypes[0]
    chosen = []
    if patches:
        bands = (0, 2)
        patch, pixels = patched(work, bands, dtype)
        chosen.append(patch)
        expected[list(bands), 500:800, 600:800] = pixels
    write_cog(str(source), chosen, out, {"SEED": "0"}, work)
    with rasterio.open(out) as file:
        np.testing.assert_array_equal(file.read(), expected)
        np.testing.assert_array_equal(file.dataset_mask(), mask)
        assert file.tags(ns="DECR") == {"SEED": "0"}
        assert file.tags(ns="VENDOR") == {"CLOUD": "3", "NAME": "ü & <x>"}
        assert file.tags(2, ns="BANDNS") == {"NOTE": "two"}
        assert file.overviews(1) == [2, 4]
    assert compare_metadata(source, out) == []
    valid, errors, warnings = cog_validate(out, strict=True)
    assert valid, (errors, warnings)
    assert source.read_bytes() == before
    assert not list(tmp_path.glob("*.aux.xml"))


def test_every_kind_of_difference_is_seen(tmp_path: Path) -> None:
    a = make(tmp_path / "a.tif", "tags")
    changes = {
        "names": lambda f: setattr(f, "descriptions", ("blue", "green", "red", "swir")),
        "nodata": lambda f: setattr(f, "nodata", 3),
        "scales": lambda f: setattr(f, "scales", (1.0, 0.2, 0.3, 0.4)),
        "dataset tags VENDOR": lambda f: f.update_tags(ns="VENDOR", CLOUD="4"),
        "band 1 tags": lambda f: f.update_tags(1, GAIN="2"),
        "transform": lambda f: setattr(f, "transform", Affine(1, 0, 0, 0, -1, 0)),
        "crs": lambda f: setattr(f, "crs", "EPSG:32651"),
    }
    for field, change in changes.items():
        b = make(tmp_path / "b.tif", "tags")
        with rasterio.open(b, "r+") as file:
            change(file)
        assert any(line.startswith(field) for line in compare_metadata(a, b)), field


def test_stale_overviews_of_the_source_do_not_leak(tmp_path: Path) -> None:
    source = make(tmp_path / "a.tif", "plain")
    with rasterio.open(source, "r+") as file:
        truth = file.read()
        file.write(np.zeros_like(truth))
        file.build_overviews([2, 4], Resampling.nearest)
        file.write(truth)
    with rasterio.open(source, overview_level=0) as file:
        assert not file.read().any(), "the source's overviews should be stale for this test"
    work = tmp_path / "work"
    work.mkdir()
    write_cog(str(source), [], tmp_path / "o.tif", {}, work)
    with rasterio.open(tmp_path / "o.tif", overview_level=0) as file:
        assert abs(file.read().mean() - truth.mean()) < 5


@pytest.mark.parametrize("size", [1, 17, 511, 513])
def test_small_scenes_are_valid(tmp_path: Path, size: int) -> None:
    source = tmp_path / "s.tif"
    pixels = np.arange(3 * size * size).reshape(3, size, size).astype("uint8")
    with rasterio.open(
        source, "w", driver="GTiff", count=3, height=size, width=size, dtype="uint8"
    ) as file:
        file.write(pixels)
    write_cog(str(source), [], tmp_path / "o.tif", {}, tmp_path)
    assert cog_validate(tmp_path / "o.tif", strict=True)[0]
    with rasterio.open(tmp_path / "o.tif") as file:
        np.testing.assert_array_equal(file.read(), pixels)


def test_packed_bits_come_out_as_numbers(tmp_path: Path) -> None:
    source = tmp_path / "s.tif"
    pixels = np.arange(64 * 64).reshape(1, 64, 64).astype("uint16") % 2048
    with rasterio.open(
        source, "w", driver="GTiff", count=1, height=64, width=64, dtype="uint16", nbits=11
    ) as file:
        file.write(pixels)
    write_cog(str(source), [], tmp_path / "o.tif", {}, tmp_path)
    with rasterio.open(tmp_path / "o.tif") as file:
        np.testing.assert_array_equal(file.read(), pixels)


def test_same_bytes_twice_and_for_any_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "a.tif", "mask")
    seen = []
    for threads in ("ALL_CPUS", "1", "4"):
        monkeypatch.setitem(output._COG, "NUM_THREADS", threads)
        write_cog(str(source), [], tmp_path / "o.tif", {"A": "1"}, tmp_path)
        seen.append((tmp_path / "o.tif").read_bytes())
    assert seen[0] == seen[1] == seen[2]


def test_leftovers_of_a_killed_run_do_no_harm(tmp_path: Path) -> None:
    source = make(tmp_path / "a.tif", "mask")
    for name in ("cog.tif", "cog.tif.ovr.tmp", "cog.tif.msk.ovr.tmp"):
        (tmp_path / name).write_bytes(b"torn")
    write_cog(str(source), [], tmp_path / "o.tif", {}, tmp_path)
    assert cog_validate(tmp_path / "o.tif", strict=True)[0]


def test_a_failed_write_leaves_no_output(tmp_path: Path) -> None:
    source = make(tmp_path / "a.tif", "plain")
    patch = Patch(tmp_path / "absent.tif", 0, 0, 10, 10, (0,))
    with pytest.raises(OutputError, match=r"o\.tif: cannot be written"):
        write_cog(str(source), [patch], tmp_path / "o.tif", {}, tmp_path)
    assert not (tmp_path / "o.tif").exists()
