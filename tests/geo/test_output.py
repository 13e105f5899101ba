"""Writing: patches land where they should, everything else stays, metadata included."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rio_cogeo import cog_validate

from decr.errors import DecrWarning, GridMismatchError, OutputError, SceneError
from decr.geo import output
from decr.geo.grid import Window
from decr.geo.metadata import compare_metadata
from decr.geo.output import write_cog
from decr.geo.overlay import Patch
from tests.geo.full_scenes import make, patched
from tests.geo.scene_files import NORTH_UP

KINDS = ["plain", "tags", "mask", "external", "alpha", "nodata", "nan", "rpc", "gcp"]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "out.tif.decr-work"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("patches", [0, 1])
def test_a_copy_has_all_pixels_masks_and_metadata_and_its_patches(
    tmp_path: Path, work: Path, kind: str, patches: int
) -> None:
    source, out = make(tmp_path / "a & ü.tif", kind), tmp_path / "out & é.tif"
    before = {path: path.read_bytes() for path in tmp_path.glob("a*")}
    with rasterio.open(source) as file:
        expected, mask, dtype = file.read(), file.dataset_mask(), file.dtypes[0]
    chosen = []
    if patches:
        patch, pixels = patched(work, (0, 2), dtype)
        chosen.append(patch)
        expected[[0, 2], 500:800, 600:800] = pixels
    write_cog(str(source), chosen, out, {"SEED": "0"}, work)
    with rasterio.open(out) as file:
        np.testing.assert_array_equal(file.read(), expected)
        np.testing.assert_array_equal(file.dataset_mask(), mask)
        assert file.tags(ns="DECR") == {"SEED": "0"}
        assert file.tags(ns="VENDOR") == {"CLOUD": "3", "NAME": "ü & <x>"}
        assert file.tags(2, ns="BANDNS") == {"NOTE": "two"}
        assert file.overviews(1) == [2, 4]
        assert file.block_shapes == [(512, 512)] * 4
    assert compare_metadata(source, out) == []
    valid, errors, warnings = cog_validate(out, strict=True)
    assert valid, (errors, warnings)
    assert {path: path.read_bytes() for path in tmp_path.glob("a*")} == before
    assert not [*tmp_path.glob("out & é.tif.*")]
    assert not [*work.glob("cog*")]


def test_a_first_band_without_a_colour_loses_nothing_by_having_one(
    tmp_path: Path, work: Path
) -> None:
    source = tmp_path / "a.dat"
    profile = {"driver": "ENVI", "count": 4, "height": 64, "width": 64, "dtype": "uint16"}
    with rasterio.open(source, "w", crs="EPSG:32650", transform=NORTH_UP, **profile) as file:
        file.write(np.full((4, 64, 64), 7, np.uint16))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        write_cog(str(source), [], tmp_path / "o.tif", {}, work)
    assert compare_metadata(source, tmp_path / "o.tif") == ["band 1 colour: undefined -> gray"]


def test_statistics_stay_only_where_they_are_still_true(tmp_path: Path, work: Path) -> None:
    source, out = make(tmp_path / "a.tif", "tags"), tmp_path / "out.tif"
    untouched, _ = patched(work, (0,), "uint16")
    write_cog(str(source), [untouched], out, {}, work)
    with rasterio.open(out) as file:
        assert file.tags(2) == {"STATISTICS_MEAN": "5", "STATISTICS_MAXIMUM": "9"}
    touched, _ = patched(work, (1,), "uint16")
    write_cog(str(source), [touched], out, {}, work)
    with rasterio.open(out) as file:
        assert file.tags(2) == {}
        assert file.tags(1) == {"GAIN": "1.5"}


def test_own_tags_of_an_earlier_run_are_replaced(tmp_path: Path, work: Path) -> None:
    source = make(tmp_path / "a.tif", "tags")
    write_cog(str(source), [], tmp_path / "b.tif", {"SEED": "1", "OLD": "x"}, work)
    write_cog(str(tmp_path / "b.tif"), [], tmp_path / "c.tif", {"SEED": "2"}, work)
    with rasterio.open(tmp_path / "c.tif") as file:
        assert file.tags(ns="DECR") == {"SEED": "2"}
    assert compare_metadata(source, tmp_path / "c.tif") == []


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_later_patches_lie_on_top(tmp_path: Path, work: Path, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70))
    truth = np.full((3, height, width), 200, "uint8")
    source, out = tmp_path / "s.tif", tmp_path / "o.tif"
    profile: dict[str, Any] = {"driver": "GTiff", "dtype": "uint8"}
    with rasterio.open(source, "w", **profile, count=3, height=height, width=width) as file:
        file.write(truth)
    patches = []
    for index in range(data.draw(st.integers(0, 4))):
        row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        shape = data.draw(st.integers(1, height - row)), data.draw(st.integers(1, width - col))
        bands = tuple(data.draw(st.permutations(range(3)))[: data.draw(st.integers(1, 3))])
        path = work / f"patch_{index}.tif"
        pixels = np.arange(len(bands))[:, None, None] + np.full(shape, 10 * index, "uint8")
        with rasterio.open(
            path, "w", **profile, count=len(bands), height=shape[0], width=shape[1]
        ) as file:
            file.write(pixels.astype("uint8"))
        truth[list(bands), row : row + shape[0], col : col + shape[1]] = pixels
        patches.append(Patch(path, Window(row, col, *shape), bands))
    write_cog(str(source), patches, out, {}, work)
    with rasterio.open(out) as file:
        np.testing.assert_array_equal(file.read(), truth)


@pytest.mark.parametrize("patches", [0, 1])
def test_stale_overviews_of_the_source_do_not_leak(
    tmp_path: Path, work: Path, patches: int
) -> None:
    source = make(tmp_path / "a.tif", "plain")
    with rasterio.open(source, "r+") as file:
        truth = file.read()
        file.write(np.zeros_like(truth))
    with rasterio.open(source, "r+") as file:
        file.build_overviews([2, 4], Resampling.nearest)
    with rasterio.open(source, "r+") as file:
        file.write(truth)
    with rasterio.open(source, overview_level=0) as file:
        assert not file.read().any(), "the source's overviews should be stale for this test"
    patch, pixels = patched(work, (0, 1, 2, 3), "uint16")
    write_cog(str(source), [patch][:patches], tmp_path / "o.tif", {}, work)
    if patches:
        truth[:, 500:800, 600:800] = pixels
    mean = truth.reshape(4, 450, 2, 550, 2).mean(axis=(2, 4))
    with rasterio.open(tmp_path / "o.tif", overview_level=0) as file:
        assert np.abs(file.read() - mean).max() <= 0.5


@pytest.mark.parametrize("size", [1, 17, 511, 512, 513])
def test_small_scenes_are_valid(tmp_path: Path, work: Path, size: int) -> None:
    source = tmp_path / "s.tif"
    pixels = (np.arange(3 * size * size) % 251).reshape(3, size, size).astype("uint8")
    with rasterio.open(
        source, "w", driver="GTiff", count=3, height=size, width=size, dtype="uint8"
    ) as file:
        file.write(pixels)
    write_cog(str(source), [], tmp_path / "o.tif", {}, work)
    assert cog_validate(tmp_path / "o.tif", strict=True)[0]
    with rasterio.open(tmp_path / "o.tif") as file:
        np.testing.assert_array_equal(file.read(), pixels)
        assert file.overviews(1) == ([2] if size > 512 else [])


@pytest.mark.parametrize("kind", ["mask", "tags"])
def test_same_bytes_twice_and_for_any_number_of_threads(
    tmp_path: Path, work: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "a.tif", kind)
    patch, _ = patched(work, (0, 3), "uint16")
    seen = []
    for threads in (1, 1, 2, 16):
        monkeypatch.setattr(output, "_THREADS", threads)
        write_cog(str(source), [patch], tmp_path / "o.tif", {"A": "1"}, work)
        seen.append((tmp_path / "o.tif").read_bytes())
    assert seen[1:] == seen[:1] * 3


def test_leftovers_do_no_harm(tmp_path: Path, work: Path) -> None:
    source, out = make(tmp_path / "a.tif", "mask"), tmp_path / "o.tif"
    for name in ("cog.tif", "cog.tif.ovr.tmp", "cog.tif.msk.ovr.tmp", "cog.tif.aux.xml", "cog.vrt"):
        (work / name).write_bytes(b"torn")
    # Those of an output that is replaced would be taken for the new one's.
    for suffix in ("", ".aux.xml", ".ovr", ".msk"):
        (tmp_path / f"o.tif{suffix}").write_bytes(b"stale")
    write_cog(str(source), [], out, {}, work)
    assert cog_validate(out, strict=True)[0]
    assert not [*tmp_path.glob("o.tif.[amo]*")]
    assert not [*work.iterdir()]


def test_failures_are_explained_and_leave_no_output(tmp_path: Path, work: Path) -> None:
    source, out = make(tmp_path / "a.tif", "plain"), tmp_path / "o.tif"
    absent = Patch(tmp_path / "absent.tif", Window(0, 0, 10, 10), (0,))
    with pytest.raises(OutputError, match=r"o\.tif: cannot be written"):
        write_cog(str(source), [absent], out, {}, work)
    with pytest.raises(SceneError, match=r"no\.tif"):
        write_cog(str(tmp_path / "no.tif"), [], out, {}, work)
    with pytest.raises(OutputError, match="is the scene itself"):
        write_cog(str(source), [], source, {}, work)
    good, _ = patched(work, (0,), "uint16")
    for wrong in (
        Patch(good.path, Window(700, 600, 300, 200), (0,)),
        Patch(good.path, Window(0, 0, 300, 201), (0,)),
        Patch(good.path, Window(0, 0, 300, 200), (4,)),
        Patch(good.path, Window(0, 0, 300, 200), (0, 1)),
    ):
        with pytest.raises(GridMismatchError, match="does not fit"):
            write_cog(str(source), [wrong], out, {}, work)
    assert not out.exists()
    assert not [*work.glob("cog*")]


def test_a_full_disk_is_not_blamed_on_a_scene_of_the_same_name(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = make(tmp_path / "a.tif", "tags"), tmp_path / "out" / "a.tif"
    out.parent.mkdir()

    def full(*arguments: object, **options: object) -> None:
        raise RasterioError("/out/a.tif.decr-work/cog.tif, band 1: IWriteBlock failed: No space")

    monkeypatch.setattr("rasterio.shutil.copy", full)
    with pytest.raises(OutputError, match=r"cannot be written: .*No space; make sure"):
        write_cog(str(source), [], out, {}, work)


def test_where_gdal_gives_no_reason_both_files_are_named(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = make(tmp_path / "a.tif", "tags"), tmp_path / "o.tif"

    def failed(*arguments: object, **options: object) -> None:
        raise SystemError("Unknown GDAL Error. To debug: https://rasterio.readthedocs.io")

    monkeypatch.setattr("rasterio.shutil.copy", failed)
    words = r"o\.tif: cannot be written: GDAL does not say why; make sure .*a\.tif is whole"
    with pytest.raises(OutputError, match=words):
        write_cog(str(source), [], out, {}, work)


def test_a_damaged_scene_is_not_blamed_on_the_disk(tmp_path: Path, work: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 600, 600)).astype("uint8")
    profile = {"driver": "GTiff", "count": 5, "height": 600, "width": 600, "dtype": "uint8"}
    profile |= {"tiled": True, "compress": "deflate", "interleave": "band"}
    with rasterio.open(tmp_path / "s.tif", "w", **profile) as file:
        file.write(pixels)
    data = bytearray((tmp_path / "s.tif").read_bytes())
    data[-40_000:] = bytes(40_000)
    (tmp_path / "s.tif").write_bytes(data)
    with pytest.raises(SceneError, match=r"s\.tif: cannot be read to its end"):
        write_cog(str(tmp_path / "s.tif"), [], tmp_path / "o.tif", {}, work)
    assert not (tmp_path / "o.tif").exists()
