"""Window algebra and pixel grids: properties and known answers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.warp import transform
from rasterio.windows import transform as rasterio_transform
from shapely.geometry import Polygon

from decr.errors import ConfigError, GridMismatchError
from decr.geo.grid import GroundPoint, PixelGrid, Window

windows = st.builds(
    Window,
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(1, 40),
    st.integers(1, 40),
)
UTM = CRS.from_epsg(32650)
NORTH_UP = Affine(0.5, 0, 500000, 0, -0.5, 4400000)


def paint(window: Window) -> np.ndarray:
    """Mark the window's pixels on a canvas large enough for every example."""
    canvas = np.zeros((110, 110), dtype=bool)
    canvas[window.slices()] = True
    return canvas


@given(windows, windows)
def test_intersection_is_the_common_pixels(a: Window, b: Window) -> None:
    both = a.intersection(b)
    common = paint(a) & paint(b)
    assert both == b.intersection(a)
    if both is None:
        assert not common.any()
    else:
        np.testing.assert_array_equal(paint(both), common)
        assert both.area == common.sum()
        assert a.contains(both)
        assert b.contains(both)


@given(windows, windows)
def test_a_window_contains_what_lies_in_it_and_a_union_both(a: Window, b: Window) -> None:
    assert a.contains(b) == (not (paint(b) & ~paint(a)).any())
    union = a.union(b)
    assert union.contains(a)
    assert union.contains(b)
    assert union.row == min(a.row, b.row)
    assert union.col_stop == max(a.col_stop, b.col_stop)


@given(windows, st.integers(0, 9), st.integers(0, 9))
def test_slices_within_a_window_find_the_same_pixels_and_others_are_refused(
    outer: Window, drow: int, dcol: int
) -> None:
    inner = Window(outer.row + drow, outer.col + dcol, 3, 2)
    if not outer.contains(inner):
        with pytest.raises(GridMismatchError, match="not inside"):
            inner.slices(outer)
        return
    array = np.arange(110 * 110).reshape(110, 110)
    np.testing.assert_array_equal(array[outer.slices()][inner.slices(outer)], array[inner.slices()])


@given(windows, st.integers(1, 7))
def test_coarsened_is_the_smallest_cover(w: Window, k: int) -> None:
    fine = w.coarsened(k).scaled(k)
    assert fine.contains(w)
    assert w.row - fine.row < k
    assert fine.row_stop - w.row_stop < k
    assert fine.col_stop - w.col_stop < k
    assert w.scaled(k).coarsened(k) == w


@given(windows, windows)
def test_clipped_is_the_part_inside(w: Window, within: Window) -> None:
    inside = w.intersection(within)
    if inside is None:
        with pytest.raises(GridMismatchError, match="does not touch"):
            w.clipped(within)
    else:
        assert w.clipped(within) == inside


@given(windows, st.integers(0, 20))
def test_an_expanded_window_stays_within_its_limit(w: Window, px: int) -> None:
    limit = Window(0, 0, 100, 100)
    grown = w.expand(px, limit)
    assert limit.contains(grown)
    assert grown.contains(w)
    assert grown.row == max(0, w.row - px)
    assert grown.col_stop == min(100, w.col_stop + px)


def test_a_window_knows_its_ends_moves_and_is_not_expanded_elsewhere() -> None:
    w = Window(2, 3, 4, 5)
    assert (w.row_stop, w.col_stop, w.shape, w.area) == (6, 8, (4, 5), 20)
    assert w.shift(-2, 1) == Window(0, 4, 4, 5)
    r = w.to_rasterio()
    assert (r.row_off, r.col_off, r.height, r.width) == (2, 3, 4, 5)
    with pytest.raises(GridMismatchError, match="does not touch"):
        Window(50, 50, 2, 2).expand(1, Window(0, 0, 10, 10))


@pytest.mark.parametrize("numbers", [(-1, 0, 1, 1), (0, -1, 1, 1), (0, 0, 0, 1), (0, 0, 1, -2)])
def test_windows_with_negative_starts_or_no_pixels_are_refused(
    numbers: tuple[int, int, int, int],
) -> None:
    with pytest.raises(ConfigError, match="no such window"):
        Window(*numbers)


def test_shift_out_of_the_scene_fails() -> None:
    with pytest.raises(ConfigError):
        Window(2, 2, 4, 4).shift(-3, 0)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@given(windows, st.floats(-180, 180), st.floats(0.1, 30))
def test_window_transform_agrees_with_rasterio(w: Window, angle: float, pixel: float) -> None:
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    rotated = Affine(pixel * cos, pixel * sin, 500000, pixel * sin, -pixel * cos, 4400000)
    grid = PixelGrid(200, 200, rotated, UTM)
    expected = rasterio_transform(w.to_rasterio(), rotated)
    np.testing.assert_allclose(grid.window_transform(w), expected, rtol=1e-12, atol=1e-9)
    footprint = grid.footprint(w)
    assert footprint is not None
    assert footprint.area == pytest.approx(w.area * pixel**2)
    assert grid.gsd_m == pytest.approx(pixel)


@given(st.lists(windows, max_size=9), st.floats(-180, 180), st.floats(0.1, 30))
def test_footprints_of_many_windows_have_the_corners_of_each(
    many: list[Window], angle: float, pixel: float
) -> None:
    rotated = Affine.translation(500000.3, 4400000.7) @ Affine.rotation(angle) @ Affine.scale(pixel)
    found = PixelGrid(200, 200, rotated, UTM).footprints(many)
    t = rotated
    for w, outline in zip(many, found, strict=True):
        corners = [(w.col, w.row), (w.col_stop, w.row), (w.col_stop, w.row_stop)]
        corners += [(w.col, w.row_stop), (w.col, w.row)]
        assert outline is not None
        assert list(outline.exterior.coords) == [
            (t.a * c + t.b * r + t.c, t.d * c + t.e * r + t.f) for c, r in corners
        ]
    assert PixelGrid(200, 200, Affine.identity()).footprints(many) == [None] * len(many)


def test_the_footprint_of_a_north_up_grid_or_window_is_its_box() -> None:
    grid = PixelGrid(100, 200, NORTH_UP, UTM)
    expected = Polygon.from_bounds(500000, 4399950, 500100, 4400000)
    assert grid.footprint().equals(expected)
    assert grid.footprint(Window(50, 0, 50, 20)).bounds == (500000, 4399950, 500010, 4399975)
    assert grid.window == Window(0, 0, 100, 200)


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000))
@example(26, 23)
@example(28988, 759)
def test_picked_pixels_are_those_of_gdal(length: int, side: int) -> None:
    numbers = np.arange(length, dtype=np.int32)
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", height=length, width=1, count=1, dtype="int32") as file:
            file.write(numbers[:, None], 1)
        with memory.open() as file:
            wanted = file.read(1, out_shape=(min(length, side), 1))[:, 0]
    rows, cols = PixelGrid(length, 1, Affine.identity()).picked(side)
    np.testing.assert_array_equal(rows, wanted)
    assert cols.tolist() == [0]
    np.testing.assert_array_equal(PixelGrid(1, length, Affine.identity()).picked(side)[1], wanted)


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 9))
def test_a_coarsened_grid_covers_all_pixels_by_larger_ones(height: int, width: int, k: int) -> None:
    grid = PixelGrid(height, width, NORTH_UP, UTM).coarsened(k)
    assert (grid.height, grid.width) == (-(-height // k), -(-width // k))
    assert grid.transform == Affine(0.5 * k, 0, 500000, 0, -0.5 * k, 4400000)
    assert grid.gsd_m == 0.5 * k


def test_pixel_sizes_are_metres_whatever_the_unit_and_the_gsd_is_their_mean() -> None:
    feet = CRS.from_epsg(2263)
    assert PixelGrid(9, 9, NORTH_UP, feet).gsd_m == pytest.approx(0.5 * 1200 / 3937)
    oblong = Affine(1, 0, 0, 0, -3, 0)
    assert PixelGrid(9, 9, oblong, UTM).gsd_m == 2.0
    assert PixelGrid(9, 9, oblong, UTM).pixel_m == (1.0, 3.0)
    assert PixelGrid(9, 9, NORTH_UP, None).pixel_m is None


@pytest.mark.parametrize(
    ("latitude", "east", "north"),
    # Length of a degree of longitude and latitude on WGS 84, from published tables.
    [(0, 111319.49, 110574.28), (45, 78846.81, 111131.75), (60, 55800.0, 111412.24)],
)
def test_the_gsd_of_a_geographic_grid_is_that_of_its_latitude(
    latitude: float, east: float, north: float
) -> None:
    degree = 1e-5
    grid = PixelGrid(10, 10, Affine(degree, 0, 10, 0, -degree, latitude), CRS.from_epsg(4326))
    assert grid.gsd_m == pytest.approx((east + north) / 2 * degree, rel=2e-5)


def test_gsd_on_mars_uses_its_own_radius() -> None:
    mars = CRS.from_wkt(
        'GEOGCS["Mars",DATUM["D",SPHEROID["S",3396190,0]],PRIMEM["R",0],'
        'UNIT["degree",0.0174532925199433]]'
    )
    grid = PixelGrid(2, 2, Affine(0.01, 0, 0, 0, -0.01, 0.01), mars)
    assert grid.gsd_m == pytest.approx(3396190 * np.pi / 180 * 0.01)


def test_gsd_of_web_mercator_is_local() -> None:
    y = 8399737.89  # 60 degrees north, where one metre on the map is half a metre
    grid = PixelGrid(2, 2, Affine(1, 0, 0, 0, -1, y), CRS.from_epsg(3857))
    assert grid.gsd_m == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("name", ["ESRI:102100", "EPSG:3395"])
def test_gsd_of_maps_of_the_world_is_local(name: str) -> None:
    (x,), (y,) = transform("EPSG:4326", name, [10.0], [60.0])
    grid = PixelGrid(2, 2, Affine(1, 0, x, 0, -1, y), CRS.from_user_input(name))
    assert grid.gsd_m == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("name", ["EPSG:32650", "EPSG:2154", "EPSG:2056"])
def test_grids_of_countries_mean_their_metres(name: str) -> None:
    centre = {"EPSG:32650": (117, 40), "EPSG:2154": (2, 47), "EPSG:2056": (8, 47)}[name]
    (x,), (y,) = transform("EPSG:4326", name, [centre[0]], [centre[1]])
    grid = PixelGrid(2, 2, Affine(0.5, 0, x, 0, -0.5, y), CRS.from_user_input(name))
    assert grid.gsd_m == 0.5


@pytest.mark.parametrize("name", ["EPSG:32660", "EPSG:3413", "EPSG:3031", "EPSG:3395"])
def test_gsd_at_the_date_line_and_the_poles(name: str) -> None:
    """Longitudes jump there, or mean nothing."""
    lat = {"EPSG:3413": 90.0, "EPSG:3031": -90.0}.get(name, 10.0)
    (x,), (y,) = transform("EPSG:4326", name, [180.0 - 1e-5], [lat])
    grid = PixelGrid(2, 2, Affine(2, 0, x, 0, -2, y), CRS.from_user_input(name))
    assert grid.gsd_m == pytest.approx(2.0, rel=0.035)


def test_unplaced_grids_know_nothing() -> None:
    bare = PixelGrid(10, 10, Affine.identity(), None)
    assert bare.footprint() is None
    assert bare.gsd_m is None
    assert bare.coarsened(4).footprint() is None
    # A CRS without a transform, as RPC-only files have it, says nothing about pixel size.
    assert PixelGrid(10, 10, Affine.identity(), CRS.from_epsg(4326)).gsd_m is None
    assert PixelGrid(10, 10, NORTH_UP, None).gsd_m is None


def test_control_points_that_span_an_area_give_a_gsd() -> None:
    points = tuple(
        GroundPoint(r, c, 500000 + 0.7 * c, 4400000 - 0.7 * r)
        for r, c in [(0, 0), (0, 99), (99, 0), (99, 99)]
    )
    grid = PixelGrid(100, 100, Affine.identity(), None, points, UTM)
    assert grid.footprint() is None
    assert grid.gsd_m == pytest.approx(0.7)
    assert grid.coarsened(4).gsd_m == pytest.approx(2.8)
    assert grid.resized(25, 20).pixel_m == pytest.approx((3.5, 2.8))
    assert not grid.resized(25, 20).has_transform
    on_a_line = PixelGrid(100, 100, Affine.identity(), None, points[:2], UTM)
    assert on_a_line.gsd_m is None


def test_a_grid_comes_back_from_a_pickle() -> None:
    grid = PixelGrid(10, 20, NORTH_UP, UTM, (GroundPoint(0, 0, 1, 2),), UTM)
    assert pickle.loads(pickle.dumps(grid)) == grid
