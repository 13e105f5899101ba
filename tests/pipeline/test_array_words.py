"""What calls with arrays say of mistakes, and when."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr

import decr
from decr.errors import BandError, ConfigError, DecrError, DecrWarning, SceneError
from decr.geo import opening
from decr.geo.scene import open_scene
from decr.pipeline.stored_array import stored
from decr.pipeline.words import of_array
from tests.pipeline.scenes import cloudy_pixels, same, write_scene


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"detector": "nope"}, "nope: neither a detector"),
        ({"aoi": "nope.geojson"}, r"nope\.geojson cannot be read"),
        ({"detector": "file:nope.tif"}, r"nope\.tif"),
        ({"cloud_mask": "nope.tif"}, r"nope\.tif"),
        ({"model": "nope"}, "nope: neither a file nor a model"),
    ],
)
def test_what_is_not_there_is_told_before_pixels_are_computed(
    options: dict[str, str], says: str
) -> None:
    import dask.array

    def never(*_: object) -> np.ndarray:
        raise AssertionError("pixels were computed")

    lazy = dask.array.map_blocks(
        never, chunks=((4,), (50,), (60,)), dtype="uint16", meta=np.array(0)
    )
    array = xr.DataArray(lazy, dims=("band", "y", "x"))
    if not {"model", "cloud_mask"} & set(options):
        for call in (decr.ccp, decr.cloud_mask):
            with pytest.raises(DecrError, match=says):
                call(array, decr.CcpConfig(**options))  # type: ignore[arg-type]
    with pytest.raises(DecrError, match=says):
        decr.declouds_array(array, decr.DecloudConfig(**options))  # type: ignore[arg-type]


def test_words_of_arrays_name_no_file() -> None:
    pixels = cloudy_pixels(50, 60)
    array = xr.DataArray(pixels, dims=("band", "y", "x"))
    told: list[set[str]] = []
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = decr.ccp(array, decr.CcpConfig(detector="threshold", dn_range=(0, 5)))
        told.append({str(w.message) for w in caught if w.category is DecrWarning})
    assert told[0] == told[1]
    said = " | ".join(sorted(told[0]))
    assert found.path == ""
    assert "the array does not say which band is which" in said
    assert "decr-" not in said
    with pytest.raises(SceneError, match=r"^the array: all pixels are nodata, (?!.*restore)"):
        decr.ccp((0 * array).rio.write_nodata(0), decr.CcpConfig(detector="threshold"))
    with pytest.raises(DecrError, match='bands="r,g" names 2 bands but the array has 4'):
        decr.declouds_array(array, decr.DecloudConfig(bands="r,g"), restorer=same())


def test_warnings_point_at_the_line_that_called_decr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = xr.DataArray(cloudy_pixels(50, 60), dims=("band", "y", "x"))
    with pytest.warns(DecrWarning, match="does not say which band is which") as told:
        decr.ccp(array, decr.CcpConfig(detector="threshold"))
    assert {w.filename for w in told if w.category is DecrWarning} == {__file__}

    def stopped(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("decr.pipeline.declouds.write_cog", stopped)
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(50, 60))
    config = decr.DecloudConfig(detector="threshold", bands="b,g,r,n")
    with pytest.warns(DecrWarning, match="interrupted") as told, pytest.raises(KeyboardInterrupt):
        decr.declouds(scene, tmp_path / "o.tif", config, restorer=same())
    assert {w.filename for w in told if "interrupted" in str(w.message)} == {__file__}


def test_a_config_of_another_kind_is_refused(tmp_path: Path) -> None:
    array = xr.DataArray(cloudy_pixels(50, 60), dims=("band", "y", "x"))
    path = write_scene(tmp_path / "s.tif", cloudy_pixels(50, 60))
    wrong: list[Any] = [decr.DecloudConfig(), {"detector": "threshold"}]
    for config in wrong:
        for call in (decr.ccp, decr.cloud_mask):
            with pytest.raises(ConfigError, match=r"must be a decr\.CcpConfig, not a "):
                call(array, config)
        with pytest.raises(ConfigError, match=r"must be a decr\.CcpConfig, not a "):
            decr.ccp(path, config)
    other: list[Any] = [decr.CcpConfig(), {}]
    for config in other:
        with pytest.raises(ConfigError, match=r"must be a decr\.DecloudConfig, not a "):
            decr.declouds_array(array, config, restorer=same())
        with pytest.raises(ConfigError, match=r"must be a decr\.DecloudConfig, not a "):
            decr.plan_scene(path, config)
        with pytest.raises(ConfigError, match=r"must be a decr\.DecloudConfig, not a "):
            decr.declouds(path, tmp_path / "o.tif", config, restorer=same())


def test_a_mask_in_memory_is_written_first(tmp_path: Path) -> None:
    array = rioxarray.open_rasterio(write_scene(tmp_path / "s.tif", cloudy_pixels(50, 60)))
    assert isinstance(array, xr.DataArray)
    found = decr.cloud_mask(array, decr.CcpConfig(detector="threshold"))
    assert found.any()
    mask: Any = found
    with pytest.raises(ConfigError, match=r"not a DataArray; .*astype\('uint8'\)\.rio\.to_raster"):
        decr.DecloudConfig(cloud_mask=mask)
    mask.astype("uint8").rio.to_raster(tmp_path / "m.tif")
    again = decr.CcpConfig(detector=f"file:{tmp_path / 'm.tif'}")
    np.testing.assert_array_equal(decr.cloud_mask(array, again), found)


@pytest.mark.parametrize("call", [decr.plan_scene, decr.open_scene, decr.declouds])
@pytest.mark.parametrize("scene", [np.zeros((4, 9, 9)), xr.DataArray(np.zeros((4, 9, 9))), None])
def test_arrays_where_a_path_is_wanted_are_told_where_to_go(
    tmp_path: Path, call: Any, scene: Any
) -> None:
    more = [tmp_path / "o.tif"] if call is decr.declouds else []
    with pytest.raises(
        SceneError, match=r"^a scene is named by .* not by a .*declouds_array"
    ) as no:
        call(scene, *more)
    assert len(str(no.value)) < 200


@pytest.mark.parametrize("name", ["restorer", "engine"])
@pytest.mark.parametrize("given", ["darker", 2, same])
def test_what_is_no_restorer_or_engine_is_refused(tmp_path: Path, name: str, given: Any) -> None:
    path = write_scene(tmp_path / "s.tif", cloudy_pixels(50, 60))
    kind = type(given).__name__
    with pytest.raises(
        ConfigError, match=rf"^{name} must be a decr\..*, not a {kind}; make one by"
    ):
        decr.declouds(path, tmp_path / "o.tif", **{name: given})


def test_a_band_that_a_detector_needs_is_told_of_it(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", cloudy_pixels(50, 60)[:3], names=("nir", "green", "pan"))
    says = r"s\.tif: .* but the detector needs .*choose a detector"
    with pytest.raises(DecrError, match=says):
        decr.ccp(path)
    bands = ("green", "nir")
    with pytest.raises(DecrError, match=says):
        decr.declouds(path, tmp_path / "o.tif", restorer=same(bands))


def test_what_is_no_number_is_told(tmp_path: Path) -> None:
    array = xr.DataArray(cloudy_pixels(50, 60), dims=("band", "y", "x"))
    with pytest.raises(SceneError, match=r"what uint16 cannot hold.*write_nodata\(None\)"):
        stored(array.assign_attrs(_FillValue=[0, 0, 0, 0]), tmp_path)
    with pytest.raises(SceneError, match=r"along x are <U\d+, not numbers; .*drop_vars\('x'\)"):
        stored(array.assign_coords(x=[f"c{col}" for col in range(60)]), tmp_path)


@pytest.mark.parametrize("key", ["scale_factor", "add_offset", "scales", "offsets"])
@pytest.mark.parametrize("given", ["a tenth", ("a", "b")])
def test_a_scale_that_is_no_number_is_told(tmp_path: Path, key: str, given: Any) -> None:
    array = xr.DataArray(cloudy_pixels(50, 60).astype("float32"), dims=("band", "y", "x"))
    array.encoding = {"dtype": "uint8", key: given}
    with pytest.raises(SceneError, match=rf"has {key}=.*no number; .*drop_encoding\(\)"):
        stored(array, tmp_path)
    stored(array.drop_encoding(), tmp_path)


def test_what_computes_an_array_may_open_rasters(tmp_path: Path) -> None:
    import dask.array

    pixels = cloudy_pixels(50, 60)

    def computed(*_: object) -> np.ndarray:
        assert not opening._opening.locked()  # type: ignore[attr-defined]
        return pixels

    lazy = dask.array.map_blocks(
        computed, chunks=((4,), (50,), (60,)), dtype="uint16", meta=np.array(0)
    )
    array = xr.DataArray(lazy, dims=("band", "y", "x"))
    with rasterio.open(stored(array, tmp_path)) as written:
        np.testing.assert_array_equal(written.read(), pixels)
    assert array.chunks is not None


def test_options_are_called_as_in_python() -> None:
    array = xr.DataArray(cloudy_pixels(50, 60), dims=("band", "y", "x"))
    with pytest.warns(DecrWarning, match=r'pass bands="b,g,r,n" to silence') as told:
        decr.ccp(array, decr.CcpConfig(detector="threshold", dn_range=(5000, 9000)))
    assert any("mend dn_range=, or leave it out" in str(w.message) for w in told)
    assert any("say it with gsd_m= if you know it" in str(w.message) for w in told)
    assert not any("--" in str(w.message) for w in told if w.category is DecrWarning)
    for bands, says in (
        (None, 'for example bands="p,-" '),
        ("r,g,b", 'bands="r,g,b" names 3 bands .* for example bands="p,-"$'),
        ("foo", "^bands=\"foo\": unknown band 'foo'"),
        ("red", '^bands="red" names 1 band but'),
        ("b;g", "^bands=\"b;g\": unknown band 'b;g'"),
        ("r, g,b", '^bands="r, g,b" names 3 bands but'),
        ("r,r", '^bands="r,r" for the array: '),
        ("r,g", "missing; pass bands= if the bands are there"),
    ):
        with pytest.raises(DecrError, match=says):
            decr.cloud_mask(array[:2], decr.CcpConfig(bands=bands))
    with pytest.raises(DecrError, match='so gsd="model" cannot be followed; use gsd="native"'):
        decr.declouds_array(array, decr.DecloudConfig(gsd="model"), restorer=same(gsd_m=2.0))


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("give --range LOW,HIGH, LOW first", "give dn_range=(LOW, HIGH), LOW first"),
        ("--tile 1 makes; give --tile 64", "tile_px=1 makes; give tile_px=64"),
        ("or use --device cpu", 'or use device="cpu"'),
        ("leave out --min-object, --margin", "leave out min_object_m2=, margin_m="),
        ("`dask worker --memory-limit`", "`dask worker --memory-limit`"),
        ("/tmp/a.tif: --bands p", 'the array: bands="p"'),
        ("given as --detector file:MASK", 'given as detector="file:MASK"'),
        ("--bands b.g names 1 band", 'bands="b.g" names 1 band'),
    ],
)
def test_options_are_called_by_their_arguments(said: str, wanted: str) -> None:
    with pytest.raises(DecrError) as caught, of_array(Path("/tmp/a.tif")):
        raise DecrError(said)
    assert str(caught.value) == wanted


def calls(given: Any) -> Iterator[str]:
    """What each call with an array says of something that is none."""
    for call in (decr.cloud_mask, decr.declouds_array):
        with pytest.raises(BandError) as caught:
            call(given)
        yield str(caught.value)


@pytest.mark.parametrize(
    ("dim", "first"),
    [("time", [1, 2]), ("time", None), ("when", np.array(["2023-01-01"], "datetime64[ns]"))],
)
def test_dates_are_no_bands(dim: str, first: Any) -> None:
    count = 1 if first is None else len(first)
    stack = xr.DataArray(cloudy_pixels(50, 60)[:count], dims=(dim, "y", "x"))
    stack = stack if first is None else stack.assign_coords({dim: first})
    remedy = f"give one date at a time: array.isel({dim}=0).expand_dims('band')"
    for said in calls(stack):
        assert said == f"the array's first dimension '{dim}' holds dates, not bands; {remedy}"
    one = stack.isel({dim: 0}).expand_dims("band")
    assert decr.ccp(one, decr.CcpConfig(detector="threshold")).coverage.valid_px == 3000


def test_what_is_no_scene_is_told_how_to_become_one(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", cloudy_pixels(50, 60))
    array = rioxarray.open_rasterio(path)
    assert isinstance(array, xr.DataArray)
    dated = array.expand_dims("time")
    by_path = "rioxarray.open_rasterio(path), or give decr.ccp the path itself"
    with path.open("rb") as file:
        for given, remedy in (
            (array.values, "; give xarray.DataArray(pixels, dims=('band', 'y', 'x'))"),
            (str(path), by_path),
            (path, by_path),
            (file, by_path),
            (array[0], "; give array.expand_dims('band')"),
            (dated, "; give one at a time: array.isel(time=0)"),
            (dated.transpose("band", "time", "y", "x"), "array.isel(time=0)"),
            (array.expand_dims(["place", "run"]), "array.isel(place=0, run=0)"),
            (array.to_dataset(name="a"), "; give dataset['a']"),
            (None, "not <class 'NoneType'>"),
        ):
            for said in calls(given):
                assert said.startswith("wanted a DataArray of three dimensions (band, y, x), not ")
                assert said.endswith(remedy)
        with pytest.raises(BandError, match="the path itself"):
            decr.ccp(file)  # type: ignore[arg-type]


def test_advice_on_a_dataset_keeps_the_names_of_its_bands(tmp_path: Path) -> None:
    names = ("red", "green", "blue", "nir")
    path = write_scene(tmp_path / "s.tif", cloudy_pixels(50, 60), names=names)
    dataset = rioxarray.open_rasterio(path, band_as_variable=True)
    assert isinstance(dataset, xr.Dataset)
    called = dataset.rename(dict(zip(dataset, names, strict=True)))
    for given in (dataset, called):
        for said in calls(given):
            advice = said.partition("; give ")[2]
            array = eval(advice, {"dataset": given, "xarray": xr})
            assert open_scene(stored(array, tmp_path)).bands.roles == names
    for variable in dataset.values():
        del variable.attrs["long_name"]
    for said in calls(dataset):
        array = "xarray.concat(dataset.values(), 'band')"
        assert said.endswith(f"give {array}, and name its bands by bands=")
