"""Areas of interest: placement, pixel centres, independence of the window, errors."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.features import geometry_mask
from rasterio.warp import transform
from shapely.geometry import MultiPolygon, Polygon, mapping

from decr.errors import ConfigError
from decr.geo.aoi import Aoi, read_aoi
from decr.geo.features import read_features, read_vectors
from decr.geo.grid import GroundPoint, PixelGrid, Window
from tests.geo.areas import GRID, NORTH_UP, UTM, WGS84, ground, lonlat, save

ROTATED = Affine(0.4, 0.3, 500000, 0.3, -0.4, 4400000)
OLD_UTM = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32650"}}


BOX = shapely.box(20, 30, 120, 80)  # cols 20-119, rows 30-79


@pytest.mark.parametrize("wrap", ["geometry", "feature", "collection", "geometries", "old"])
def test_every_kind_of_geojson_gives_the_same_area(tmp_path: Path, wrap: str) -> None:
    # Half a pixel of slack: reprojection there and back must not decide.
    geometry = lonlat(ground(shapely.box(19.7, 29.7, 120.3, 80.3)))
    feature = {"type": "Feature", "properties": None, "geometry": geometry}
    empty = {"type": "Feature", "properties": {}, "geometry": None}
    point = {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": "Point", "coordinates": [0, 0]},
    }
    documents = {
        "geometry": geometry,
        "feature": feature,
        "collection": {"type": "FeatureCollection", "features": [empty, feature, point]},
        "geometries": {"type": "GeometryCollection", "geometries": [geometry]},
        "old": {**ground(BOX), "crs": OLD_UTM},
    }
    aoi = read_aoi(save(tmp_path / "a.geojson", documents[wrap]), GRID)
    expected = np.zeros((200, 300), dtype=bool)
    expected[30:80, 20:120] = True
    np.testing.assert_array_equal(aoi.mask(GRID.window), expected)
    assert aoi.bounds_window == Window(30, 20, 50, 100)
    assert pickle.loads(pickle.dumps(aoi)).mask(Window(25, 15, 30, 30)).sum() == 25 * 25


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(0, 2**32 - 1))
def test_mask_does_not_depend_on_the_window(data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Snapped corners put many pixel centres exactly on edges.
    corners = rng.integers(-10, 210, (6, 2)) / 2 + 0.5
    area = shapely.make_valid(Polygon(corners))
    aoi = Aoi(area, 90, 110)
    whole = aoi.mask(Window(0, 0, 90, 110))
    for _ in range(5):
        row, col = data.draw(st.integers(0, 89)), data.draw(st.integers(0, 109))
        window = Window(
            row, col, data.draw(st.integers(1, 90 - row)), data.draw(st.integers(1, 110 - col))
        )
        np.testing.assert_array_equal(aoi.mask(window), whole[window.slices()])
    bounds = aoi.bounds_window
    inside = np.zeros_like(whole)
    if bounds is not None:
        inside[bounds.slices()] = True
    assert not (whole & ~inside).any()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_mask_agrees_with_gdal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    area = shapely.union_all(
        [shapely.make_valid(Polygon(rng.uniform(-20, 220, (5, 2)))) for _ in range(2)]
    )
    ours = Aoi(area, 150, 200).mask(Window(0, 0, 150, 200))
    theirs = geometry_mask([area], (150, 200), Affine.identity(), invert=True)
    # Only centres that lie on an edge may differ, and random edges miss them.
    assert (ours != theirs).sum() <= 1


_HALVES = st.integers(0, 60).map(lambda n: n / 2)
"""Half of them pass through centres of pixels."""


def _covered(areas: list[Polygon]) -> np.ndarray:
    """How many areas each pixel of 30 x 30 belongs to, each read within its own bounds."""
    times = np.zeros((30, 30), np.int64)
    for aoi in (Aoi(area, 30, 30) for area in areas):
        window = aoi.bounds_window
        if window is not None:
            times[window.slices()] += aoi.mask(window)
    return times


@settings(deadline=None, max_examples=100)
@given(st.sets(_HALVES), st.lists(st.sets(_HALVES), min_size=1))
def test_rectangles_that_share_edges_share_no_pixel_and_lose_none(
    across: set[float], down: list[set[float]]
) -> None:
    xs = sorted({-1.0, 31.0, *across})
    areas = []
    for n, (left, right) in enumerate(pairwise(xs)):  # corners of one lie on edges of another
        ys = sorted({-1.0, 31.0, *down[n % len(down)]})
        areas += [shapely.box(left, top, right, bottom) for top, bottom in pairwise(ys)]
    assert (_covered(areas) == 1).all()


_OFF = st.floats(0, 30, width=32)


@settings(deadline=None, max_examples=100)
@given(
    st.one_of(st.tuples(_HALVES, _HALVES), st.tuples(_OFF, _OFF)),
    st.lists(st.one_of(_HALVES, _OFF), min_size=4, max_size=20),
)
def test_slanted_splits_share_no_pixel_and_lose_none(
    middle: tuple[float, float], cuts: list[float]
) -> None:
    corners = [(-40.0, -40.0), (70.0, -40.0), (70.0, 70.0), (-40.0, 70.0)]
    sides, ends = [(1, 0), (0, 1), (-1, 0), (0, -1)], []
    for n, (corner, along) in enumerate(zip(corners, sides, strict=True)):
        ends.append(corner)
        for cut in sorted(set(cuts[n::4])):
            far = 40.0 + cut
            ends.append((corner[0] + along[0] * far, corner[1] + along[1] * far))
    fan = [Polygon([middle, a, b]) for a, b in pairwise([*ends, ends[0]])]
    assert (_covered(fan) == 1).all()


def test_a_centre_on_an_edge_belongs_to_what_is_right_of_it_or_below() -> None:
    aoi, whole = Aoi(shapely.box(2.5, 3.5, 5.5, 6.5), 10, 10), Window(0, 0, 10, 10)
    assert aoi.bounds_window == Window(3, 2, 3, 3)
    assert aoi.mask(whole)[3:6, 2:5].all()
    assert aoi.mask(whole).sum() == 9


def test_holes_are_left_out_and_parts_within_them_are_in() -> None:
    ring = shapely.box(10, 10, 90, 90) - shapely.box(40, 40, 60, 60)
    mask = Aoi(MultiPolygon([ring, shapely.box(50, 50, 52, 52)]), 100, 100).mask(
        Window(0, 0, 100, 100)
    )
    assert mask.sum() == 80 * 80 - 20 * 20 + 4
    assert not mask[45, 45]
    assert mask[51, 51]


def test_an_area_of_a_rotated_scene_covers_its_pixels(tmp_path: Path) -> None:
    grid = PixelGrid(200, 300, ROTATED, UTM)
    path = save(tmp_path / "a.json", {**ground(BOX, grid), "crs": OLD_UTM})
    # Floating point may move edges by a hair, not across the centres half a pixel away.
    mask = read_aoi(path, grid).mask(grid.window)
    assert mask.sum() == 50 * 100
    assert mask[30:80, 20:120].all()


def test_long_edges_follow_the_parallel(tmp_path: Path) -> None:
    # A parallel of latitude is curved in UTM: sagging by several pixels over half a degree.
    grid = PixelGrid(4000, 90_000, NORTH_UP, UTM)
    west, east, south, north = 117.02, 117.5, 39.735, 39.745
    box = mapping(shapely.box(west, south, east, north))
    aoi = read_aoi(save(tmp_path / "a.json", box), grid)
    lon = (west + east) / 2
    (x,), (y,) = transform(WGS84, UTM, [lon], [south])
    col, row = round((x - 500000) / 0.5), (4400000 - y) / 0.5
    column = aoi.mask(Window(0, col, 4000, 1))[:, 0]
    last = int(np.flatnonzero(column)[-1])
    assert abs(last + 0.5 - row) <= 1.0
    # The straight chord between the corners would be off by more.
    xs, ys = transform(WGS84, UTM, [west, east], [south, south])
    chord = (4400000 - np.interp(x, xs, ys)) / 0.5
    assert abs(chord - row) > 20


def test_a_ring_that_crosses_itself_and_has_heights_covers_both_its_halves(tmp_path: Path) -> None:
    bow_tie = {
        "type": "Polygon",
        "coordinates": [[[500010, 4399990, 5], [500060, 4399940, 5], [500060, 4399990, 5],
                         [500010, 4399940, 5], [500010, 4399990, 5]]],
        "crs": OLD_UTM,
    }  # fmt: skip
    mask = read_aoi(save(tmp_path / "a.json", bow_tie), GRID).mask(GRID.window)
    assert mask.sum() == pytest.approx(5000, abs=110)


def test_parts_that_overlap_are_no_hole(tmp_path: Path) -> None:
    # Edges that lie on one another would hide what becomes of the rest.
    parts = MultiPolygon([shapely.box(0, 0, 100, 100), shapely.box(50, 50, 150, 150)])
    path = save(tmp_path / "a.json", {**ground(parts), "crs": OLD_UTM})
    assert read_aoi(path, GRID).mask(GRID.window).sum() == 17_500
    (feature,) = read_features(read_vectors(path), GRID)
    assert feature.area is not None
    assert feature.area.mask(GRID.window).sum() == 17_500


def test_partly_outside_is_clipped(tmp_path: Path) -> None:
    path = save(tmp_path / "a.json", {**ground(shapely.box(-50, -50, 10, 5)), "crs": OLD_UTM})
    aoi = read_aoi(path, GRID)
    assert aoi.bounds_window == Window(0, 0, 5, 10)
    assert aoi.mask(GRID.window).sum() == 50


def test_large_area_is_quick() -> None:
    angle = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    circle = Polygon(np.stack([25000 + 20000 * np.cos(angle), 25000 + 20000 * np.sin(angle)], 1))
    aoi = Aoi(circle, 50_000, 50_000)
    assert aoi.mask(Window(24000, 24000, 1536, 1536)).all()
    assert not aoi.mask(Window(0, 0, 1536, 1536)).any()
    edge = aoi.mask(Window(24300, 4200, 1536, 1536))
    assert 0 < edge.mean() < 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "is not GeoJSON"),
        ("[1, 2]", "is not GeoJSON: it is a list"),
        ('{"type": "Topology"}', "type 'Topology'"),
        ('{"type": "FeatureCollection", "features": [3]}', "type None"),
        ('{"type": "FeatureCollection"}', "broken FeatureCollection"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1]]]}', "broken Polygon"),
        ('{"type": "Polygon", "coordinates": 7}', "broken Polygon"),
        ('{"type": "Point", "coordinates": [117, 39]}', "holds no polygon"),
        ('{"type": "FeatureCollection", "features": []}', "holds no polygon"),
        ('{"type": "Polygon", "coordinates": [], "crs": {"type": "link"}}', "holds no polygon"),
    ],
)
def test_files_that_are_no_areas_are_refused_and_named(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_aoi(path, GRID)
    assert "a.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_area_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_aoi(tmp_path / "none.json", GRID)


@pytest.mark.parametrize("name", ["https://h/a.json", "http:/h/a.json", "/vsicurl/https://h/a"])
def test_an_area_at_an_address_is_to_be_downloaded(name: str) -> None:
    with pytest.raises(ConfigError, match="areas are read from files of this machine; download"):
        read_aoi(name, GRID)


def test_a_crs_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.json", {**ground(BOX), "crs": {"type": "link"}})
    with pytest.raises(ConfigError, match='"crs" member'):
        read_aoi(path, GRID)
    path = save(tmp_path / "a.json", {**ground(BOX), "crs": {"properties": {"name": "Moon-7"}}})
    with pytest.raises(ConfigError, match="export the area in EPSG:4326"):
        read_aoi(path, GRID)


def test_an_area_that_cannot_be_brought_to_the_scene_is_told_to_other_processes(
    tmp_path: Path,
) -> None:
    path = save(tmp_path / "a.json", mapping(shapely.box(117, 39, 118, 40)))
    site = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]')
    with pytest.raises(ConfigError, match="cannot be brought to the scene's") as caught:
        read_aoi(path, PixelGrid(200, 300, NORTH_UP, site))
    error: BaseException | None = caught.value
    while error is not None:  # GDAL's own cannot be unpickled
        assert not isinstance(error, CPLE_BaseError)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    "box",
    [(100, 39, 101, 40), (39, 117, 40, 118), (500000, 4399950, 500050, 4400000)],
    ids=["elsewhere", "latitude first", "metres"],
)
def test_an_area_that_does_not_touch_the_scene_is_refused(
    tmp_path: Path, box: tuple[float, ...]
) -> None:
    path = save(tmp_path / "a.json", mapping(shapely.box(*box)))
    with pytest.raises(ConfigError, match="longitude first"):
        read_aoi(path, GRID)


def test_area_that_touches_no_pixel_centre(tmp_path: Path) -> None:
    speck = {**ground(shapely.box(10.1, 10.1, 10.2, 10.2)), "crs": OLD_UTM}
    with pytest.raises(ConfigError, match="does not touch"):
        read_aoi(save(tmp_path / "a.json", speck), GRID)


@pytest.mark.parametrize(
    "grid",
    [
        PixelGrid(9, 9, NORTH_UP, None),
        PixelGrid(9, 9, Affine.identity(), WGS84),
        PixelGrid(9, 9, Affine.identity(), None, (GroundPoint(0, 0, 1, 1),), UTM),
    ],
)
def test_an_area_of_a_scene_without_map_coordinates_is_refused(
    tmp_path: Path, grid: PixelGrid
) -> None:
    path = save(tmp_path / "a.json", ground(BOX))
    with pytest.raises(ConfigError, match="scene has no map coordinates"):
        read_aoi(path, grid)


def test_brackets_without_end_are_one_error(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ConfigError, match=r"deep\.json is not GeoJSON"):
        read_aoi(tmp_path / "deep.json", GRID)
