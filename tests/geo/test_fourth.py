"""Near infrared that GDAL calls alpha for being the fourth of four bands of bytes."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rio_cogeo import cog_validate

from decr.errors import SceneError
from decr.geo.align import aligned
from decr.geo.fourth import WITH_NIR
from decr.geo.grid import Window
from decr.geo.metadata import compare_metadata
from decr.geo.missing import mask_kind
from decr.geo.output import write_cog
from decr.geo.reader import SceneReader, reader
from decr.geo.scene import open_scene
from decr.geo.tiff_tags import call_fourth_alpha
from tests.geo.scene_files import write

NIR, ALPHA = ("red", "green", "blue", "nir"), ("red", "green", "blue", "alpha")


def ground(height: int = 90, width: int = 120, seed: int = 0) -> np.ndarray:
    """(4, H, W) uint8 of 40..199 in all bands."""
    return np.random.default_rng(seed).integers(40, 200, (4, height, width)).astype(np.uint8)


def nameless(path: Path, array: np.ndarray, **options: Any) -> Path:
    """A file that says nothing of its bands."""
    return write(path, array, descriptions=None, **options)


def with_water(side: int = 1200) -> tuple[np.ndarray, np.ndarray]:
    """A picture and (H, W) bool, True where it is 0 in near infrared alone."""
    array, water = ground(side, side), np.zeros((side, side), bool)
    water[: side // 2, : side // 2] = True
    array[3, water] = 0
    return array, water


def test_a_picture_is_near_infrared_and_that_is_told(tmp_path: Path) -> None:
    path = nameless(tmp_path / "s.tif", ground())
    scene = open_scene(path)
    assert (scene.bands.roles, scene.mask_kind) == (NIR, "none")
    (told,) = scene.warnings
    assert str(path) in told
    for option in ("--bands r,g,b,n ", "b,g,r,n", "r,g,b,a"):
        assert option in told
    for said, roles in (("r,g,b,n", NIR), ("r,g,b,a", ALPHA)):
        known = open_scene(path, said)
        assert (known.bands.roles, known.warnings) == (roles, ())


def test_water_that_is_black_in_near_infrared_is_no_missing_data(tmp_path: Path) -> None:
    array, _ = with_water(200)
    scene = open_scene(nameless(tmp_path / "s.tif", array))
    with reader(pickle.loads(pickle.dumps(scene))) as source:
        dn, valid = source.read(scene.grid.window)
        assert source.valid(scene.grid.window).all()
        assert source.read_coarse(scene.grid.coarsened(4).window, 4)[1].min() == 16
        for bands in ((0, 1, 2), (3,)):
            assert source.thumbnail(50, bands)[1].all()
    np.testing.assert_array_equal(dn, array)
    assert valid.all()


@given(seed=st.integers(0, 99), frame=st.floats(0, 0.9), black=st.sampled_from([0, 255]))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_frame_of_no_data_hides_no_picture(
    tmp_path: Path, seed: int, frame: float, black: int
) -> None:
    for nodata in (None, black):
        array = ground(seed=seed)
        array[:, : int(frame * 90)] = black
        path = nameless(tmp_path / f"{seed} {frame} {black} {nodata}.tif", array, nodata=nodata)
        assert open_scene(path).bands.roles == NIR


@given(
    seed=st.integers(0, 99),
    clear=st.floats(0, 1),
    soft=st.integers(0, 20),
    grades=st.integers(1, 16),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_transparency_stays_transparency_without_a_word(
    tmp_path: Path, seed: int, clear: float, soft: int, grades: int
) -> None:
    """Of 0 and 255 with a soft edge, or of up to 16 grades."""
    array, rng = ground(seed=seed), np.random.default_rng(seed)
    array[3] = 255
    array[3, : int(90 * clear)] = 0
    array[3, :soft] = np.linspace(0, 255, soft).astype(np.uint8)[:, None]
    drawn = rng.choice(np.arange(1, 255), grades, replace=False).astype(np.uint8)
    graded = np.concatenate([array[:3], rng.choice(drawn, (1, 90, 120))])
    for name, pixels in (("edge", array), ("grades", graded)):
        scene = open_scene(nameless(tmp_path / f"{name}.tif", pixels))
        assert (scene.bands.roles, scene.warnings, scene.mask_kind) == (ALPHA, (), "alpha")


def test_alpha_that_has_a_name_and_files_of_other_kinds_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("pixels were read")

    monkeypatch.setattr(SceneReader, "read", refuse)
    named = write(tmp_path / "n.tif", ground(), descriptions=(None, None, None, "alpha"))
    words = write(tmp_path / "w.tif", ground().astype(np.uint16), descriptions=None, colours=ALPHA)
    last = nameless(tmp_path / "l.tif", ground(), colours=("blue", "green", "red", "alpha"))
    for path in (named, words, last):
        assert open_scene(path).bands.alpha_index == 3
    assert open_scene(nameless(tmp_path / "b.tif", ground()), "r,g,b,a").bands.roles == ALPHA


def test_little_is_read_of_a_large_scene_and_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Window] = []
    whole = SceneReader.read

    def read(self: SceneReader, window: Window, *more: Any) -> Any:
        asked.append(window)
        return whole(self, window, *more)

    monkeypatch.setattr(SceneReader, "read", read)
    profile = {"driver": "GTiff", "count": 4, "height": 20_000, "width": 30_000, "dtype": "uint8"}
    with rasterio.open(tmp_path / "s.tif", "w", **profile, tiled=True, sparse_ok=True) as file:
        file.write(ground(512, 30_000), window=((0, 512), (0, 30_000)))
    scene = open_scene(tmp_path / "s.tif")
    assert len(asked) == 16
    assert max(window.area for window in asked) <= 512 * 512
    # Each window lies in a quarter of its own along both sides, to a block of 256.
    quarters = {((w.row + 255) // 5000, (w.col + 255) // 7500) for w in asked}
    assert len(quarters) == 16
    assert open_scene(tmp_path / "s.tif") == scene
    assert asked[:16] == asked[16:]


@given(
    seed=st.integers(0, 99),
    row=st.integers(0, 3400),
    col=st.integers(0, 3400),
    tiled=st.booleans(),
)
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_small_picture_on_a_large_canvas_is_found_wherever_it_lies(
    tmp_path: Path, seed: int, row: int, col: int, tiled: bool
) -> None:
    """2 % of the canvas, which a few windows may miss altogether."""
    path, window = tmp_path / "s.tif", ((row, row + 600), (col, col + 600))
    profile = {"driver": "GTiff", "count": 4, "height": 4000, "width": 4000, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, tiled=tiled, sparse_ok=True) as file:
        file.write(ground(600, 600, seed), window=window)
    assert open_scene(path).bands.roles == NIR


@given(seed=st.integers(0, 99), number=st.sampled_from([0, 255]), share=st.floats(0.55, 0.85))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_transparency_that_may_be_a_picture_is_told(
    tmp_path: Path, seed: int, number: int, share: float
) -> None:
    """More than half of it is water, or vegetation as bright as can be."""
    array = ground(seed=seed)
    array[3, : int(90 * share)] = number
    path = nameless(tmp_path / "s.tif", array)
    scene = open_scene(path)
    assert (scene.bands.roles, scene.mask_kind) == (ALPHA, "alpha")
    (told,) = scene.warnings
    for word in (str(path), "transparency", "--bands r,g,b,n", "r,g,b,a"):
        assert word in told
    for said in ("r,g,b,n", "r,g,b,a"):
        assert open_scene(path, said).warnings == ()


def test_a_damaged_file_is_told_when_it_is_looked_at(tmp_path: Path) -> None:
    path = nameless(tmp_path / "s.tif", ground(), compress="deflate")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(data)
    with pytest.raises(SceneError, match=r"s\.tif"):
        open_scene(path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("order", ["red green blue", "blue green red"])
def test_overviews_show_water_that_is_black_in_near_infrared(
    tmp_path: Path, dtype: str, order: str
) -> None:
    array, water = with_water()
    colours = (*order.split(), "alpha")
    source = nameless(tmp_path / "s.tif", array.astype(dtype), colours=colours)
    out, work = tmp_path / "o.tif", tmp_path / "work"
    work.mkdir()
    three = ",".join(colour[0] for colour in colours[:3])
    scene = open_scene(source, f"{three},n")
    write_cog(str(source), [], out, {}, work, scene=scene)
    assert compare_metadata(source, out) == []
    assert cog_validate(out, strict=True)[0]
    with rasterio.open(out) as file:
        np.testing.assert_array_equal(file.read(), array)
        levels = file.overviews(1)
    assert levels == [2, 4]
    for level, k in enumerate(levels):
        with rasterio.open(out, overview_level=level) as file:
            assert file.colorinterp[3].name == "alpha"
            shape = (4, 1200 // k, k, 1200 // k, k)
            wanted = array.reshape(shape).mean(axis=(2, 4))
            inside = water[::k, ::k]
            assert np.abs(file.read() - wanted)[:, inside].max() <= level + 1
    # What is transparency is left out of colours, as ever.
    known = open_scene(source, f"{three},a")
    write_cog(str(source), [], tmp_path / "a.tif", {}, work, scene=known)
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as file:
        assert not file.read()[:, 5:100, 5:100].any()


@pytest.mark.parametrize("big", ["YES", "NO"])
def test_the_fourth_band_can_be_called_alpha_afterwards(tmp_path: Path, big: str) -> None:
    path = nameless(tmp_path / "s.tif", ground(), alpha="unspecified", bigtiff=big)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2], Resampling.average)
    with rasterio.open(path) as file:
        assert file.colorinterp[3].name == "undefined"
    call_fourth_alpha(path)
    with rasterio.open(path) as file, rasterio.open(path, overview_level=0) as half:
        assert [colour.name for colour in file.colorinterp] == list(ALPHA)
        assert half.colorinterp[3].name == "alpha"
        np.testing.assert_array_equal(file.read(), ground())


@pytest.mark.parametrize("big", ["YES", "NO"])
def test_so_can_the_fourth_of_bands_without_colours(tmp_path: Path, big: str) -> None:
    """Of which three are told to be of no colour, so that the numbers lie elsewhere in the file."""
    array = ground().astype(np.uint16)
    path = nameless(tmp_path / "s.tif", array, photometric="minisblack", bigtiff=big)
    call_fourth_alpha(path)
    with rasterio.open(path) as file:
        assert [c.name for c in file.colorinterp] == ["gray", "undefined", "undefined", "alpha"]
        np.testing.assert_array_equal(file.read(), array)


@pytest.mark.parametrize("beside", ["nothing", "nodata", "mask"])
@pytest.mark.parametrize("smooth", [False, True])
def test_water_stays_in_an_image_that_is_warped_whatever_else_says_what_is_missing(
    tmp_path: Path, smooth: bool, beside: str
) -> None:
    array, _water = with_water(200)
    nodata = {"nodata": 255} if beside == "nodata" else {}
    path = nameless(tmp_path / "s.tif", array, **nodata)
    if beside == "mask":
        with rasterio.open(path, "r+") as file:
            file.write_mask(np.full(array.shape[1:], 255, np.uint8))
    grid = open_scene(path).grid
    with aligned(str(path), grid, (0.0, 0.0), smooth, nodata.get("nodata"), WITH_NIR) as image:
        np.testing.assert_array_equal(image.read(grid.window, range(4)), array)


@pytest.mark.parametrize("smooth", [False, True])
def test_what_nobody_says_is_no_alpha_cuts_an_image_that_is_warped(
    tmp_path: Path, smooth: bool
) -> None:
    array, water = with_water(200)
    path = nameless(tmp_path / "s.tif", array)
    scene = open_scene(path)
    with rasterio.open(path) as dataset:
        assert mask_kind(dataset, scene.bands) == "none"
    with aligned(str(path), scene.grid, (0.0, 0.0), smooth, None) as file:
        assert not file.read(scene.grid.window, range(3))[:, water].any()


def test_no_warning_comes_from_names_that_say_what_is_what(tmp_path: Path) -> None:
    path = write(tmp_path / "s.tif", ground(), descriptions=NIR)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scene = open_scene(path)
    assert (scene.bands.roles, scene.warnings) == (NIR, ())
