"""`decr.declouds_array`: an array in, an array out, from whatever kind of file it was read."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

import decr
from decr.errors import DecrError, OutputError, SceneError
from decr.geo.reader import reader
from decr.geo.scene import open_scene
from decr.pipeline.stored_array import stored
from tests.pipeline.scenes import cloudy_pixels, darker, same, write_scene


@pytest.mark.parametrize("tiled", [False, True])
def test_an_array_read_from_strips_or_blocks(tmp_path: Path, tiled: bool) -> None:
    blocks = {"tiled": True, "blockxsize": 128, "blockysize": 128} if tiled else {}
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(200, 300), **blocks)
    array = rioxarray.open_rasterio(scene)
    assert isinstance(array, xr.DataArray)
    config = decr.DecloudConfig(detector="threshold", bands="b,g,r,n")
    out = decr.declouds_array(array, config, restorer=same())
    np.testing.assert_array_equal(out.values, array.values)
    assert out.rio.transform() == array.rio.transform()


@pytest.mark.parametrize("scaled", [False, True])
def test_pixels_missing_from_a_masked_array_stay_missing(tmp_path: Path, scaled: bool) -> None:
    pixels = cloudy_pixels(200, 300)
    pixels[:, :20] = 0
    scene = write_scene(tmp_path / "s.tif", pixels, nodata=0)
    if scaled:
        with rasterio.open(scene, "r+") as file:
            file.scales, file.offsets = (0.5,) * 4, (-3.0,) * 4
    array = rioxarray.open_rasterio(scene, masked=True, mask_and_scale=scaled)
    assert isinstance(array, xr.DataArray)
    assert array.isnull().sum() == 4 * 20 * 300
    encoding = dict(array.encoding)
    config = decr.DecloudConfig(detector="threshold", bands="b,g,r,n")
    out = decr.declouds_array(array, config, restorer=same())
    np.testing.assert_array_equal(out.values, array.values)
    assert array.encoding == encoding
    ccp = decr.CcpConfig(detector="threshold", bands="b,g,r,n")
    assert decr.ccp(array, ccp).coverage.valid_px == 180 * 300


def test_bands_taken_out_of_an_array_keep_their_own_names(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(100, 120))
    array = rioxarray.open_rasterio(scene)
    assert isinstance(array, xr.DataArray)
    config = decr.CcpConfig(detector="threshold")
    turned = array.sel(band=[3, 2, 1])
    assert len(turned.attrs["long_name"]) == 4
    found = decr.ccp(turned, config)
    assert found.ccp == decr.ccp(array.astype(">u2").sel(band=[1, 2, 3]), config).ccp
    unnamed = turned.drop_vars("band")
    assert decr.ccp(unnamed, replace(config, bands="r,g,b")).ccp == found.ccp


@pytest.mark.parametrize("order", [[1, 2, 3, 4], [3, 2, 1, 4], [4, 3, 2, 1], [3, 2, 1], [4, 3]])
@pytest.mark.parametrize("coordinate", ["numbers", "text"])
def test_bands_in_another_order_are_known(
    tmp_path: Path, order: list[int], coordinate: str
) -> None:
    names = ("blue", "green", "red", "nir")
    path = write_scene(tmp_path / "s.tif", cloudy_pixels(50, 60), names=names)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets, file.units = (1, 1, 1, 2), (0, 0, 0, 1), ("a", "b", "c", "d")
    array = rioxarray.open_rasterio(path)
    assert isinstance(array, xr.DataArray)
    before = dict(array.attrs)
    if coordinate == "text":
        array = array.assign_coords(band=list(names))
    with rasterio.open(stored(array.isel(band=[n - 1 for n in order]), tmp_path)) as written:
        assert written.descriptions == tuple(names[n - 1] for n in order)
        np.testing.assert_array_equal(written.read(), array.values[[n - 1 for n in order]])
    assert array.attrs == before


@pytest.mark.parametrize(
    "part",
    [
        (slice(None), slice(None)),
        (slice(7, 40), slice(13, None)),
        (slice(None, None, -1), slice(None, None, 3)),
        (slice(5, 6), slice(9, 10)),
    ],
)
def test_parts_of_a_rotated_scene_lie_where_they_are(
    tmp_path: Path, part: tuple[slice, slice]
) -> None:
    turned = Affine.translation(5e5, 4e6) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)
    array = rioxarray.open_rasterio(
        write_scene(tmp_path / "s.tif", cloudy_pixels(50, 60), transform=turned)
    )
    assert isinstance(array, xr.DataArray)
    some = array[:, part[0], part[1]]
    height, width = some.shape[1:]
    with rasterio.open(stored(some, tmp_path)) as written:
        rows, cols = np.mgrid[:height, :width]
        x, y = written.transform @ (cols + 0.5, rows + 0.5)
    np.testing.assert_allclose(x, some.xc, atol=1e-6)
    np.testing.assert_allclose(y, some.yc, atol=1e-6)


def test_other_coordinates_called_like_those_of_rotated_scenes_say_nothing(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", cloudy_pixels(50, 60))
    array = rioxarray.open_rasterio(path)
    assert isinstance(array, xr.DataArray)
    lon, lat = np.meshgrid(np.linspace(110, 111, 60), np.linspace(31, 30, 50))
    other = array.assign_coords(xc=(("y", "x"), lon), yc=(("y", "x"), lat))
    with rasterio.open(stored(other, tmp_path)) as written:
        assert written.transform == array.rio.transform()


def test_chunks_are_stored_as_they_are(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", cloudy_pixels(300, 400), nodata=0)
    whole = rioxarray.open_rasterio(path)
    array = rioxarray.open_rasterio(path, chunks={"band": 3, "y": 70, "x": 130})
    assert isinstance(array, xr.DataArray)
    assert isinstance(whole, xr.DataArray)
    with rasterio.open(stored(array, tmp_path)) as written:
        np.testing.assert_array_equal(written.read(), whole.values)
        assert (written.nodata, written.transform) == (0, whole.rio.transform())


@pytest.mark.parametrize("called", [["B04", "B03", "B02", "B08"], ["", "", "", ""], [1, "x", 2, 3]])
def test_a_coordinate_that_names_no_bands_leaves_their_names(
    tmp_path: Path, called: list[object]
) -> None:
    array = rioxarray.open_rasterio(write_scene(tmp_path / "s.tif", cloudy_pixels(50, 60)))
    assert isinstance(array, xr.DataArray)
    other = array.assign_coords(band=np.array(called, object))
    with rasterio.open(stored(other, tmp_path)) as written:
        assert written.descriptions == ("blue", "green", "red", "nir")
    del other.attrs["long_name"]
    with rasterio.open(stored(other, tmp_path)) as written:
        texts = [text if isinstance(text, str) else "" for text in called]
        assert [name or "" for name in written.descriptions] in (texts, [""] * 4)


def test_what_an_accessor_was_told_is_not_lost(tmp_path: Path) -> None:
    pixels = cloudy_pixels(200, 300)
    pixels[:, :20] = 0
    file = rioxarray.open_rasterio(write_scene(tmp_path / "s.tif", pixels))
    assert isinstance(file, xr.DataArray)
    bare = xr.DataArray(file.values, dims=("band", "row", "col"), attrs=dict(file.attrs))
    told = bare.rio.set_spatial_dims(x_dim="col", y_dim="row").rio.write_crs("EPSG:32633")
    told = told.rio.set_nodata(0)
    path = stored(told, tmp_path)
    with rasterio.open(path) as written:
        assert (written.crs.to_epsg(), written.nodata) == (32633, 0)
        np.testing.assert_array_equal(written.read(), pixels)


def test_a_grid_that_attributes_point_to_is_kept(tmp_path: Path) -> None:
    scene = rioxarray.open_rasterio(write_scene(tmp_path / "s.tif", cloudy_pixels(30, 40)))
    assert isinstance(scene, xr.DataArray)
    array = scene.rename({"spatial_ref": "crs"}).drop_vars(["x", "y"])
    array.encoding = {}
    array.attrs["grid_mapping"] = "crs"
    assert open_scene(stored(array, tmp_path)).grid.transform == scene.rio.transform()


def test_ground_control_points_stay(tmp_path: Path) -> None:
    corners = [(0, 0), (0, 300), (200, 0), (200, 300)]
    points = [GroundControlPoint(r, c, 5e5 + 2 * c, 4e6 - 2 * r) for r, c in corners]
    path = write_scene(tmp_path / "g.tif", cloudy_pixels(200, 300), crs=None, transform=None)
    with rasterio.open(path, "r+") as file:
        file.gcps = (points, "EPSG:32632")
    array = rioxarray.open_rasterio(path)
    assert isinstance(array, xr.DataArray)
    assert open_scene(stored(array, tmp_path)).grid.gsd_m == pytest.approx(2.0, abs=1e-3)


def test_bands_called_by_text_are_no_numbers_of_names(tmp_path: Path) -> None:
    array = rioxarray.open_rasterio(write_scene(tmp_path / "s.tif", cloudy_pixels(100, 120)))
    assert isinstance(array, xr.DataArray)
    lettered = array.assign_coords(band=list("bgrn")).isel(band=[2, 1, 0])
    config = decr.CcpConfig(detector="threshold", bands="r,g,b")
    assert decr.ccp(lettered, config).ccp == decr.ccp(array.isel(band=[2, 1, 0]), config).ccp


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a.transpose("y", "x", "band"), "transpose it"),
        (lambda a: a.rename(y="row", x="col"), "set_spatial_dims"),
        (lambda a: a.astype("float16"), "float16 numbers"),
        (lambda a: a[:, :0], "has shape"),
        (lambda a: a[0], "three dimensions"),
        (lambda a: a.values, "DataArray"),
        (lambda a: a.to_dataset(name="a"), "DataArray"),
        (lambda a: a.to_dataset("band"), r"give xarray\.concat\(dataset\.values\(\), 'band'\)"),
    ],
)
def test_arrays_that_are_no_scene_are_refused(
    tmp_path: Path, change: Callable[[xr.DataArray], xr.DataArray], says: str
) -> None:
    array = rioxarray.open_rasterio(write_scene(tmp_path / "s.tif", cloudy_pixels(50, 60)))
    assert isinstance(array, xr.DataArray)
    with pytest.raises(DecrError, match=says):
        decr.declouds_array(change(array), restorer=same())
    with pytest.raises(DecrError, match=says):
        decr.cloud_mask(change(array))


@pytest.mark.parametrize("where", ["attrs", "encoding"])
def test_a_nodata_number_of_another_dtype_is_told(tmp_path: Path, where: str) -> None:
    array = xr.DataArray(cloudy_pixels(50, 60), dims=("band", "y", "x"))
    getattr(array, where)["_FillValue"] = -9999
    for _ in range(2):
        with pytest.raises(SceneError, match=r"-9999.*uint16.*write_nodata\(None\)"):
            stored(array, tmp_path)
    stored(array.drop_encoding().rio.write_nodata(None), tmp_path)


@pytest.mark.parametrize(
    ("attrs", "encoding", "wanted"),
    [
        ({"_FillValue": np.nan}, {}, None),
        ({}, {"_FillValue": np.nan}, None),
        ({"missing_value": np.nan, "nodatavals": (np.nan,) * 4}, {}, None),
        ({}, {"_FillValue": 7}, 7),
        ({"_FillValue": 7}, {}, 7),
        ({}, {}, None),
    ],
)
def test_whole_numbers_are_never_nan(
    tmp_path: Path, attrs: dict[str, float], encoding: dict[str, float], wanted: int | None
) -> None:
    array = xr.DataArray(cloudy_pixels(50, 60), dims=("band", "y", "x"), attrs=attrs)
    array.encoding = encoding
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotGeoreferencedWarning)
        path = stored(array, tmp_path)
    with rasterio.open(path) as written:
        assert written.nodata == wanted


def test_an_array_without_coordinates_is_no_reason_to_warn() -> None:
    array = xr.DataArray(cloudy_pixels(200, 300), dims=("band", "y", "x"))
    clouds, clear = decr.CcpConfig(detector="threshold"), decr.DecloudConfig(detector="threshold")
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotGeoreferencedWarning)
        mask = decr.cloud_mask(array, clouds)
        changed = decr.declouds_array(array, clear, restorer=darker()) != array
    assert 0 < mask.mean() < 1
    assert bool(changed.any())


@pytest.mark.parametrize("nodata", [0, 65535])
def test_a_mask_knows_no_nodata_number_of_its_scene(tmp_path: Path, nodata: int) -> None:
    path = write_scene(tmp_path / "s.tif", cloudy_pixels(200, 300), nodata=nodata)
    array = rioxarray.open_rasterio(path, masked=True)
    assert isinstance(array, xr.DataArray)
    config = decr.CcpConfig(detector="threshold", bands="b,g,r,n")
    mask = decr.cloud_mask(array, config)
    assert 0 < float(mask.mean()) < 1
    assert mask.rio.nodata is None
    assert mask.rio.crs == array.rio.crs
    np.testing.assert_array_equal(mask.rio.isel_window(Window(0, 0, 300, 200)), mask)
    assert "_FillValue" not in {**mask.attrs, **mask.encoding}


def test_no_room_for_an_array_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = xr.DataArray(cloudy_pixels(50, 60), dims=("band", "y", "x"))
    with pytest.raises(OutputError, match=r"put into the folder.*gone.*TMPDIR"):
        stored(array, tmp_path / "gone")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match=r"put into the folder.*TMPDIR"):
        decr.declouds_array(array, restorer=same())


TURNED = Affine.translation(5e5, 4e6) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)


@pytest.mark.parametrize("turned", [False, True])
@given(rows=st.lists(st.integers(0, 29), min_size=3, max_size=12))
@settings(max_examples=25, deadline=None)
def test_rows_lie_where_they_did_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, turned: bool, rows: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("a")
    place = {"transform": TURNED} if turned else {}
    array = rioxarray.open_rasterio(write_scene(folder / "in.tif", cloudy_pixels(30, 8), **place))
    assert isinstance(array, xr.DataArray)
    some, steps = array.isel(y=rows), np.diff(rows)
    try:
        path = stored(some, folder)
    except SceneError:
        assert len(set(steps)) > 1 or steps[0] == 0
        return
    with rasterio.open(path) as written:
        x, y = some.xc[:, 0] if turned else some.x[0], some.yc[:, 0] if turned else some.y
        cols, places = ~written.transform @ (np.zeros(len(rows)) + x.values, y.values)
    np.testing.assert_allclose(places, np.arange(len(rows)) + 0.5, atol=0.11)
    np.testing.assert_allclose(cols, 0.5, atol=1e-6)


def test_arrays_with_gaps_are_told_where(tmp_path: Path) -> None:
    array = rioxarray.open_rasterio(write_scene(tmp_path / "s.tif", cloudy_pixels(50, 60)))
    assert isinstance(array, xr.DataArray)
    gap = xr.concat([array[:, :20], array[:, 30:]], "y")
    said = r"along y: index 20 does not follow index 19.*array\.reindex\(y"
    config = decr.CcpConfig(detector="threshold")
    for call in (decr.ccp, decr.cloud_mask):
        with pytest.raises(SceneError, match=said):
            call(gap, config)
    with pytest.raises(SceneError, match=said):
        decr.declouds_array(gap, restorer=same())
    with pytest.raises(SceneError, match=r"along x: index 1.*sortby\('x'\)"):
        stored(array.isel(x=[0, *range(2, 60)]), tmp_path)
    whole = gap.reindex(y=array.y, fill_value=0)
    assert decr.ccp(whole, config).grid.transform == array.rio.transform()


def test_degrees_that_are_rounded_are_even(tmp_path: Path) -> None:
    degrees = np.linspace(110, 110.001, 200)
    array = xr.DataArray(cloudy_pixels(200, 200), dims=("band", "y", "x"))
    rounded = array.assign_coords(x=degrees.astype("float32"), y=degrees[::-1].astype("float32"))
    assert np.unique(np.diff(rounded.x)).size > 1
    with rasterio.open(stored(rounded, tmp_path)) as written:
        assert written.res[0] == pytest.approx(0.001 / 199, rel=0.01)


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (None, ("blue", "green", "red", "nir")),
        (None, ("red", "green", "blue")),
        (("red", "green", "blue", "alpha"), ("red", "green", "blue", "alpha")),
        (("red", "green", "blue", "nir"), ("red", "green", "blue", "nir")),
        (("blue", "green", "red"), ("blue", "green", "red")),
        (("B08", "B04", "B03"), ("red", "green", "blue")),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_bands_without_names_are_guessed_aloud_in_bytes_as_in_other_numbers(
    tmp_path: Path, names: tuple[str, ...] | None, roles: tuple[str, ...], dtype: str
) -> None:
    pixels = (cloudy_pixels(50, 60)[: len(roles)] // 8).astype(dtype)
    pixels[-1, :20] = 0  # dark water in near infrared
    array = xr.DataArray(pixels, dims=("band", "y", "x"))
    if names is not None:
        array.attrs["long_name"] = names
    scene = open_scene(stored(array, tmp_path))
    guessed = [said for said in scene.warnings if "assuming " + ", ".join(roles) in said]
    assert scene.bands.roles == roles
    assert len(guessed) == (names is None or "B04" in names)
    assert (scene.mask_kind == "alpha") == ("alpha" in roles)
    with reader(scene) as pixels_of:
        valid = pixels_of.read(scene.grid.window)[1]
    assert valid.all() != ("alpha" in roles)


@pytest.mark.parametrize(
    "attrs",
    [
        {5: "x", ("a", "b"): 1},
        {"long_name": np.array(["blue", "green", "red", "nir"])},
        {"scale_factor": "0.1"},
        {"scale_factor": (1.0,) * 4, "add_offset": (0.0,) * 4},
        {"bidx": "1", "band_tags": [{}] * 9, "ns": "RPC"},
    ],
)
def test_attributes_that_only_describe_do_no_harm(tmp_path: Path, attrs: dict[Any, Any]) -> None:
    array = rioxarray.open_rasterio(write_scene(tmp_path / "s.tif", cloudy_pixels(50, 60)))
    assert isinstance(array, xr.DataArray)
    other = array.rename(("a", "name")).assign_attrs(attrs)  # type: ignore[arg-type]
    config = decr.DecloudConfig(detector="threshold", full=True)
    out = decr.declouds_array(other, config, restorer=darker())
    np.testing.assert_array_equal(out, decr.declouds_array(array, config, restorer=darker()))
    assert out.name == ("a", "name")
    assert out.attrs.keys() == other.attrs.keys()


@pytest.mark.parametrize("where", ["name", "long_name"])
def test_one_name_is_that_of_one_band_but_not_of_several(tmp_path: Path, where: str) -> None:
    array = xr.DataArray(cloudy_pixels(50, 60), dims=("band", "y", "x"))
    array = array.rename("nir") if where == "name" else array.assign_attrs(long_name="nir")
    assert open_scene(stored(array[:1], tmp_path)).bands.roles == ("nir",)
    assert open_scene(stored(array, tmp_path)).bands.roles == ("blue", "green", "red", "nir")
