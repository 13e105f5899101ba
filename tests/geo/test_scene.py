"""Opening scenes of all kinds, valid pixels, damage."""

from __future__ import annotations

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.shutil import copy as copy_raster

from decr.errors import BandError, GridMismatchError, SceneError
from decr.geo import opening
from decr.geo.grid import Window
from decr.geo.reader import reader
from decr.geo.scene import open_scene
from tests.geo.scene_files import BGRN, NORTH_UP, UTM, coded, write

ROTATED = Affine(0.4, 0.3, 500000, 0.3, -0.4, 4400000)


def read_all(path: Path, bands: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    scene = open_scene(path, bands)
    with reader(scene) as source:
        return source.read(scene.grid.window)


def test_open_describes_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a b&é.tif", coded(4, 40, 60), nodata=0, tiled=True,
                 blockxsize=16, blockysize=32)  # fmt: skip
    scene = open_scene(path)
    assert scene.path == str(path)
    assert scene.bands.roles == BGRN
    assert (scene.dtype, scene.count, scene.nodata) == ("uint16", 4, (0.0,) * 4)
    assert (scene.grid.height, scene.grid.width) == (40, 60)
    assert scene.grid.transform == NORTH_UP
    assert scene.grid.crs == UTM
    assert scene.grid.gsd_m == 0.5
    assert scene.mask_kind == "nodata"
    assert scene.block_shape == (32, 16)
    assert scene.warnings == ()
    assert pickle.loads(pickle.dumps(scene)) == scene


def test_read_windows_and_bands(tmp_path: Path) -> None:
    array = coded(4, 40, 60)
    scene = open_scene(write(tmp_path / "a.tif", array))
    assert scene.mask_kind == "none"
    window = Window(5, 7, 20, 30)
    with reader(scene) as source:
        dn, valid = source.read(window)
        assert dn.dtype == np.uint16
        np.testing.assert_array_equal(dn, array[:, 5:25, 7:37])
        assert valid.all()
        picked, _ = source.read(window, (3, 0, 3))
        np.testing.assert_array_equal(picked, array[[3, 0, 3], 5:25, 7:37])
        with pytest.raises(GridMismatchError, match="not inside"):
            source.read(Window(30, 0, 11, 4))
        with pytest.raises(BandError, match="choose from 0 to 3"):
            source.read(window, (4,))


def test_a_rotated_scene_has_the_gsd_and_the_ground_of_its_pixels(tmp_path: Path) -> None:
    scene = open_scene(write(tmp_path / "a.tif", coded(4, 10, 20), transform=ROTATED))
    assert scene.grid.gsd_m == pytest.approx(0.5)
    footprint = scene.grid.footprint()
    assert footprint is not None
    assert footprint.area == pytest.approx(10 * 20 * 0.25)
    assert footprint.area < footprint.envelope.area


def test_a_scene_placed_by_control_points_alone_has_a_gsd_and_no_footprint(tmp_path: Path) -> None:
    points = [
        GroundControlPoint(r, c, 500000 + 0.5 * c, 4400000 - 0.5 * r)
        for r, c in [(0, 0), (0, 30), (30, 0), (30, 30)]
    ]
    path = write(tmp_path / "a.tif", coded(4, 30, 30), transform=None, crs=UTM, gcps=points)
    scene = open_scene(path)
    assert scene.grid.gcps is not None
    assert len(scene.grid.gcps) == 4
    assert scene.grid.gcp_crs == UTM
    assert scene.grid.gsd_m == pytest.approx(0.5)
    assert scene.grid.footprint() is None
    assert scene.warnings == ()
    assert pickle.loads(pickle.dumps(scene)) == scene


def test_a_scene_placed_by_rpcs_alone_can_be_read_and_says_that_its_gsd_is_unknown(
    tmp_path: Path,
) -> None:
    line = [0.0, 0.0, 1.0, *[0.0] * 17]
    sample = [0.0, 1.0, *[0.0] * 18]
    one = [1.0, *[0.0] * 19]
    rpc = RPC(
        height_off=10, height_scale=500, lat_off=39.7, lat_scale=0.1, line_den_coeff=one,
        line_num_coeff=line, line_off=15, line_scale=15, long_off=117, long_scale=0.1,
        samp_den_coeff=one, samp_num_coeff=sample, samp_off=15, samp_scale=15,
    )  # fmt: skip
    scene = open_scene(write(tmp_path / "a.tif", coded(4, 30, 30), transform=None, crs=None,
                             rpcs=rpc))  # fmt: skip
    assert scene.grid.footprint() is None
    assert scene.grid.gsd_m is None
    assert "how large its pixels are" in scene.warnings[0]
    with reader(scene) as source:
        assert source.read(scene.grid.window)[1].all()


def test_a_scene_without_georeference_warns_of_nothing(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "a.tif"
    write(path, coded(3, 9, 9, "uint8"), transform=None, crs=None)
    recwarn.clear()
    scene = open_scene(path)
    with reader(scene) as source:
        source.read(scene.grid.window)
    assert not recwarn.list
    assert scene.grid.crs is None
    assert scene.bands.roles == ("red", "green", "blue")


def test_guess_is_reported_and_overridden(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", coded(4, 9, 9), descriptions=None, photometric="minisblack")
    scene = open_scene(path)
    assert scene.bands.roles == BGRN
    assert "--bands b,g,r,n" in scene.warnings[0]
    named = open_scene(path, "r,g,b,-")
    assert named.bands.roles == ("red", "green", "blue", "-")
    assert named.warnings == ()


def test_nodata_counts_in_any_data_band(tmp_path: Path) -> None:
    array = coded(4, 6, 6)
    array[0, 0, 0] = array[3, 5, 5] = 0
    path = write(tmp_path / "a.tif", array, nodata=0)
    dn, valid = read_all(path)
    np.testing.assert_array_equal(dn, array)
    assert not valid[0, 0]
    assert not valid[5, 5]
    assert valid.sum() == 34
    # A band that passes through does not decide.
    dn, valid = read_all(path, "b,g,r,-")
    assert dn.shape == (3, 6, 6)
    assert valid[5, 5]
    assert valid.sum() == 35
    # Whichever bands are asked for, all data bands decide.
    scene = open_scene(path)
    with reader(scene) as source:
        np.testing.assert_array_equal(source.read(scene.grid.window, (1,))[1], read_all(path)[1])


@pytest.mark.parametrize("nodata", [-9999, 70000, 0.5])
def test_nodata_that_no_number_can_hold(tmp_path: Path, nodata: float) -> None:
    path = write(tmp_path / "a.tif", coded(1, 6, 6, "uint16"))
    vrt = tmp_path / "a.vrt"
    vrt.write_text(
        '<VRTDataset rasterXSize="6" rasterYSize="6"><VRTRasterBand dataType="UInt16" band="1">'
        f"<NoDataValue>{nodata}</NoDataValue><SimpleSource>"
        f"<SourceFilename>{path}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    assert read_all(vrt)[1].all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("nodata", [None, np.nan, -9999.0, -3.4028234663852886e38, 0.1])
def test_floats_that_are_nodata_nan_or_infinite_are_not_valid(
    tmp_path: Path, dtype: str, nodata: float | None
) -> None:
    array = coded(4, 6, 6, dtype)
    array[1, 2, 3] = np.nan
    array[2, 4, 4] = np.inf
    missing = {(2, 3), (4, 4)}
    if nodata is not None:
        array[0, 1, 1] = nodata
        missing.add((1, 1))
    path = write(tmp_path / "a.tif", array, nodata=nodata)
    _, valid = read_all(path)
    assert {(int(r), int(c)) for r, c in np.argwhere(~valid)} == missing


def test_pixels_that_alpha_makes_transparent_are_not_valid_and_alpha_is_no_data(
    tmp_path: Path,
) -> None:
    array = coded(4, 6, 6, "uint8")
    array[3] = 255
    array[3, 2, 2] = 0
    array[3, 3, 3] = 1
    path = write(tmp_path / "a.tif", array, descriptions=None,
                 colours=("red", "green", "blue", "alpha"))  # fmt: skip
    scene = open_scene(path)
    assert scene.mask_kind == "alpha"
    dn, valid = read_all(path)
    assert dn.shape == (3, 6, 6)
    assert not valid[2, 2]
    assert valid.sum() == 35


def test_near_infrared_that_gdal_takes_for_alpha(tmp_path: Path) -> None:
    array = coded(4, 6, 6, "uint8")
    array[3, 2, 2] = 0
    path = write(tmp_path / "a.tif", array, colours=("red", "green", "blue", "alpha"))
    assert open_scene(path).mask_kind == "none"
    dn, valid = read_all(path)
    assert dn.shape == (4, 6, 6)
    assert valid.all()


@pytest.mark.parametrize("internal", [True, False])
def test_mask_inside_and_beside_the_file(tmp_path: Path, internal: bool) -> None:
    mask = np.full((6, 6), 255, dtype=np.uint8)
    mask[0, :3] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        path = write(tmp_path / "a.tif", coded(4, 6, 6), mask=mask)
    assert (tmp_path / "a.tif.msk").exists() != internal
    assert open_scene(path).mask_kind == "per_dataset"
    _, valid = read_all(path)
    np.testing.assert_array_equal(valid, mask > 0)


def test_mask_and_nodata_both_count(tmp_path: Path) -> None:
    array = coded(4, 6, 6)
    array[:, 5, 5] = 0
    mask = np.full((6, 6), 255, dtype=np.uint8)
    mask[0, 0] = 0
    _, valid = read_all(write(tmp_path / "a.tif", array, nodata=0, mask=mask))
    assert {tuple(p) for p in np.argwhere(~valid).tolist()} == {(0, 0), (5, 5)}


def test_polygons_are_told_from_other_files_that_are_no_rasters(tmp_path: Path) -> None:
    for name, said in (("a.GeoJSON", "its polygons with gdal_rasterize"), ("a.txt", "a GeoTIFF")):
        (tmp_path / name).write_text('{"type": "FeatureCollection", "features": []}')
        with pytest.raises(SceneError, match=rf"{name} is not a raster that GDAL can .*{said}$"):
            open_scene(tmp_path / name)


def test_a_scene_that_is_not_there_is_refused_and_named() -> None:
    with pytest.raises(SceneError, match=r"nowhere\.tif cannot be opened.*check the name"):
        open_scene("nowhere.tif")


def test_text_empty_files_and_folders_are_told_to_be_no_raster(tmp_path: Path) -> None:
    text = tmp_path / "notes.tif"
    text.write_text("no pixels here")
    with pytest.raises(SceneError, match="not a raster that GDAL can read") as caught:
        open_scene(text)
    assert "\n" not in str(caught.value)
    empty = tmp_path / "empty.tif"
    empty.touch()
    with pytest.raises(SceneError, match="is empty"):
        open_scene(empty)
    with pytest.raises(SceneError, match="is a folder"):
        open_scene(tmp_path)


@pytest.mark.parametrize(
    ("dtype", "text"),
    [("complex64", "complex numbers"), ("uint32", "uint32 numbers"), ("int8", "int8 numbers")],
)
def test_types_of_numbers_that_no_scene_may_have_are_named(
    tmp_path: Path, dtype: str, text: str
) -> None:
    path = write(tmp_path / "a.tif", np.ones((1, 4, 4), dtype=dtype))
    with pytest.raises(SceneError, match=text):
        open_scene(path)


def test_bands_of_two_types_are_refused(tmp_path: Path) -> None:
    mixed = tmp_path / "a.vrt"
    mixed.write_text(
        '<VRTDataset rasterXSize="6" rasterYSize="6"><VRTRasterBand dataType="UInt16" band="1"/>'
        '<VRTRasterBand dataType="Byte" band="2"/></VRTDataset>'
    )
    with pytest.raises(SceneError, match="mixes uint16, uint8"):
        open_scene(mixed)


def test_container_points_to_what_it_contains(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    for table in ("first", "second"):
        write(path, coded(3, 8, 8, "uint8"), driver="GPKG", raster_table=table,
              append_subdataset="YES")  # fmt: skip
    with pytest.raises(SceneError, match=r"holds no image .*try GPKG:.*first"):
        open_scene(path)


@pytest.mark.parametrize("compress", [None, "deflate"])
def test_a_truncated_scene_is_refused_where_pixels_are_missing_and_named(
    tmp_path: Path, compress: str | None
) -> None:
    noise = np.random.default_rng(0).integers(0, 2000, (4, 512, 512)).astype(np.uint16)
    path = write(tmp_path / "a.tif", noise, tiled=True, blockxsize=64, blockysize=64,
                 interleave="pixel", compress=compress)  # fmt: skip
    # A COG has its directory in front, so half a file still opens.
    cog = tmp_path / "cog.tif"
    copy_raster(
        path, cog, driver="COG", blocksize=128, compress=compress or "NONE", overviews="NONE"
    )
    os.truncate(cog, cog.stat().st_size // 2)
    scene = open_scene(cog)
    text = r"cog\.tif cannot be read at rows 400 to 511, cols 0 to 511: .+copy it again"
    with reader(scene) as source:
        assert source.read(Window(0, 0, 64, 64))[1].all()
        with pytest.raises(SceneError, match=text) as caught:
            source.read(Window(400, 0, 112, 512))
        assert "\n" not in str(caught.value)
        with pytest.raises(SceneError):
            source.read_coarse(Window(0, 0, 8, 8), 64)


def test_a_scene_that_changed_or_went_since_it_was_opened_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", coded(4, 8, 8))
    scene = open_scene(path)
    write(path, coded(4, 8, 9))
    with pytest.raises(SceneError, match="changed while"), reader(scene):
        pass
    path.unlink()
    with pytest.raises(SceneError, match="cannot be opened"), reader(scene):
        pass


def test_threads_read_the_same(tmp_path: Path) -> None:
    array = coded(4, 128, 128)
    scene = open_scene(write(tmp_path / "a.tif", array, compress="deflate"))

    def part(row: int) -> np.ndarray:
        with reader(scene) as source:
            return source.read(Window(row, 0, 16, 128))[0]

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(part, range(0, 128, 16)))
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), array)


def test_threads_open_scenes_on_the_map_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """One that lies nowhere is opened alone, for the filters of warnings are one for all."""
    placed = open_scene(write(tmp_path / "a.tif", coded(4, 8, 8)))
    nowhere = open_scene(write(tmp_path / "b.tif", coded(4, 8, 8), transform=None, crs=None))
    recwarn.clear()
    opens, both, alone = rasterio.open, threading.Barrier(2, timeout=30), list[bool]()

    def met(path: str, **options: Any) -> Any:
        if path == placed.path:
            both.wait()
        else:
            alone.append(opening._opening.locked())  # type: ignore[attr-defined]
        return opens(path, **options)

    def shape(scene: Any) -> tuple[int, ...]:
        with reader(scene) as source:
            return source.read(Window(0, 0, 8, 8))[0].shape

    monkeypatch.setattr(rasterio, "open", met)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(shape, [placed, placed])) == [(4, 8, 8)] * 2
        assert list(pool.map(shape, [nowhere, nowhere])) == [(4, 8, 8)] * 2
    assert alone == [True, True]
    assert not recwarn.list
