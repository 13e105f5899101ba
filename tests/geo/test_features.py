"""Features of vector files: one area each, with a name, in file order, whatever the format."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform
from shapely.geometry import mapping

from decr.errors import ConfigError, DecrWarning
from decr.geo import features as geo_features
from decr.geo.aoi import Aoi
from decr.geo.features import Feature, read_features, read_vectors, why_missed
from decr.geo.grid import PixelGrid, Window

GRID = PixelGrid(100, 200, Affine(2.0, 0, 500000, 0, -2.0, 4400000), CRS.from_epsg(32650))
WHOLE = Window(0, 0, 100, 200)
BOXES = [(0, 0, 20, 10), (30, 40, 60, 90), (150, 0, 260, 50)]  # col, row to col, row


def ground(box: tuple[int, int, int, int]) -> shapely.Polygon:
    col, row, col_stop, row_stop = box
    return shapely.box(
        500000 + 2 * col, 4400000 - 2 * row_stop, 500000 + 2 * col_stop, 4400000 - 2 * row
    )


def pixels(path: Path) -> list[int]:
    return [
        0 if f.area is None else int(f.area.mask(WHOLE).sum())
        for f in read_features(read_vectors(path), GRID)
    ]


WANTED = [200, 30 * 50, 50 * 50]


def geojson(path: Path, features: list[dict[str, Any]]) -> Path:
    crs = {"type": "name", "properties": {"name": "EPSG:32650"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return path


def feature(box: tuple[int, int, int, int], **rest: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": mapping(ground(box)), "properties": {}, **rest}


def test_geojson_features_keep_order_and_names(tmp_path: Path) -> None:
    path = geojson(
        tmp_path / "a.geojson",
        [
            feature(BOXES[0], properties={"name": "barn"}),
            feature(BOXES[1], id=7),
            {"type": "Feature", "geometry": None, "properties": None},
            feature(BOXES[2], properties={"id": 0}),
        ],
    )
    assert [f.name for f in read_features(read_vectors(path), GRID)] == ["barn", "7", "3", "0"]
    assert pixels(path) == [WANTED[0], WANTED[1], 0, WANTED[2]]


def test_a_lone_geometry_is_one_feature(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    crs = {"type": "name", "properties": {"name": "EPSG:32650"}}
    path.write_text(json.dumps({**mapping(ground(BOXES[1])), "crs": crs}))
    assert pixels(path) == [WANTED[1]]


def test_a_feature_may_lie_elsewhere(tmp_path: Path) -> None:
    path = geojson(tmp_path / "a.geojson", [feature((500, 500, 510, 510)), feature(BOXES[0])])
    assert pixels(path) == [0, WANTED[0]]


def test_features_all_over_the_world_miss_the_scene(tmp_path: Path) -> None:
    path = tmp_path / "world.json"
    boxes = [
        {"type": "Feature", "geometry": mapping(shapely.box(lon, lat, lon + 10, lat + 10))}
        for lon in range(-180, 180, 10)
        for lat in range(-90, 90, 10)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": boxes}))
    # The scene lies at 117 E 39.7 N; of what is 90 degrees away its map has no coordinates.
    assert sorted(pixels(path))[-2:] == [0, 100 * 200]


@pytest.mark.parametrize(("name", "driver"), [("a.gpkg", "GPKG"), ("a.shp", "ESRI Shapefile")])
@pytest.mark.parametrize("crs", ["EPSG:32650", "EPSG:4326"])
def test_features_in_other_formats_and_systems_cover_the_same_pixels(
    tmp_path: Path, name: str, driver: str, crs: str
) -> None:
    raw = pytest.importorskip("pyogrio", reason="pyogrio is not installed").raw
    from rasterio.warp import transform_geom

    # Half a pixel of slack: reprojection there and back must not decide.
    shapes = [ground(box).buffer(0.5, join_style="mitre") for box in BOXES]
    if crs != "EPSG:32650":
        shapes = [
            shapely.geometry.shape(transform_geom("EPSG:32650", crs, mapping(s))) for s in shapes
        ]
    raw.write(
        tmp_path / name,
        np.array([shapely.to_wkb(s) for s in shapes], dtype=object),
        [np.array(["barn", "yard", None], dtype=object), np.array([1.0, np.nan, np.nan])],
        ["name", "id"],
        driver=driver,
        crs=crs,
        geometry_type="Polygon",
    )
    assert [f.name for f in read_features(read_vectors(tmp_path / name), GRID)] == [
        "barn",
        "yard",
        "3",
    ]
    assert pixels(tmp_path / name) == WANTED


def test_without_pyogrio_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    with pytest.raises(ConfigError, match=r"a\.gpkg.*pip install 'decr\[vector\]'"):
        read_vectors(tmp_path / "a.gpkg")


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson"])
@pytest.mark.parametrize("content", [None, b"", b"\x00\x01 no vectors \xff" * 50])
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    pytest.importorskip("pyogrio", reason="pyogrio is not installed")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=name):
        read_vectors(tmp_path / name)


def test_no_feature_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no feature"):
        read_vectors(geojson(tmp_path / "a.geojson", []))


def test_a_scene_without_coordinates_takes_none(tmp_path: Path) -> None:
    path = geojson(tmp_path / "a.geojson", [feature(BOXES[0])])
    file = read_vectors(path)
    with pytest.raises(ConfigError, match="no map coordinates"):
        read_features(file, PixelGrid(10, 10, Affine.identity()))


def test_a_file_in_coordinates_far_from_the_scene_is_told_with_both(tmp_path: Path) -> None:
    path = geojson(tmp_path / "a.geojson", [feature(BOXES[0]), feature(BOXES[1])])
    document = json.loads(path.read_text())
    del document["crs"]
    path.write_text(json.dumps(document))
    file = read_vectors(path)
    found = read_features(file, GRID)
    assert len(found) == 2
    told = why_missed(file, found, GRID)
    assert told is not None
    says = r"a\.geojson does not touch the scene; area x 500000 .* in EPSG:4326, scene x 500000"
    assert re.search(says, told)


def test_a_file_whose_features_have_no_polygon_is_told(tmp_path: Path) -> None:
    features = [{"type": "Feature", "geometry": None, "properties": None}]
    path = geojson(tmp_path / "a.geojson", features)
    file = read_vectors(path)
    found = read_features(file, GRID)
    assert len(found) == 1
    told = why_missed(file, found, GRID)
    assert told is not None
    assert "a.geojson holds no polygon, so none" in told


def test_a_file_of_which_one_feature_lies_on_the_scene_misses_nothing(tmp_path: Path) -> None:
    path = geojson(tmp_path / "near.geojson", [feature((900, 0, 901, 1)), feature(BOXES[0])])
    near = read_vectors(path)
    assert why_missed(near, read_features(near, GRID), GRID) is None


def test_the_layer_of_polygons_is_taken_and_others_are_told(tmp_path: Path) -> None:
    raw = pytest.importorskip("pyogrio.raw")
    path = tmp_path / "a.gpkg"
    road = shapely.LineString([(500000, 4400000), (500100, 4399900)])
    layers = {"roads": road, "fields": ground(BOXES[1]), "barns": ground(BOXES[0])}
    for count, (layer, geometry) in enumerate(layers.items(), 1):
        raw.write(
            path,
            shapely.to_wkb(np.array([geometry])),
            [np.array([layer], object)],
            ["name"],
            layer=layer,
            crs="EPSG:32650",
            geometry_type=geometry.geom_type,
        )
        if count == 2:
            assert [f.name for f in read_features(read_vectors(path), GRID)] == ["fields"]
            assert pixels(path) == [WANTED[1]]
    with pytest.warns(DecrWarning, match=r"layers fields, barns; those of fields are used"):
        assert [f.name for f in read_features(read_vectors(path), GRID)] == ["fields"]


def test_folders_of_kml_are_looked_into(tmp_path: Path) -> None:
    pytest.importorskip("pyogrio")
    east, north = 116.9, 39.7
    box = f"{east},{north} {east + 1},{north} {east + 1},{north + 1} {east},{north}"
    path = tmp_path / "a.kml"
    path.write_text(
        '<kml xmlns="http://www.opengis.net/kml/2.2"><Document>'
        "<Folder><name>signs</name><Placemark><name>sign</name><Point><coordinates>1,1"
        "</coordinates></Point></Placemark></Folder>"
        "<Folder><name>fields</name><Placemark><name>field</name><Polygon><outerBoundaryIs>"
        f"<LinearRing><coordinates>{box}</coordinates></LinearRing></outerBoundaryIs></Polygon>"
        "</Placemark></Folder></Document></kml>"
    )
    assert [one.name for one in read_features(read_vectors(path), GRID)] == ["field"]


def test_a_feature_along_the_edge_does_not_touch_a_pixel(tmp_path: Path) -> None:
    path = geojson(tmp_path / "a.geojson", [feature((200, 0, 210, 100))])
    file = read_vectors(path)
    told = why_missed(file, read_features(file, GRID), GRID)
    assert told is not None
    assert "does not touch" in told


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_what_is_left_out_far_from_a_scene_has_no_pixel_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    """Placing only what can meet a scene, on any map and at the date line, is placing all."""
    degrees = CRS.from_epsg(4326)
    own, theirs = (
        CRS.from_epsg(data.draw(st.sampled_from([4326, 4269, 32660, 3857]))) for _ in range(2)
    )
    (x,), (y,) = transform(degrees, own, [data.draw(st.floats(177.5, 179.999))], [-10.0])
    unit, side = (1e-5 if crs.is_geographic else 1.0 for crs in (theirs, own))
    grid = PixelGrid(60, 80, Affine(side, 0, x, 0, -side, y), own)
    centre = grid.footprint()
    assert centre is not None
    (a,), (b,) = transform(own, theirs, [centre.centroid.x], [centre.centroid.y])
    offsets = st.floats(-400, 400)
    features = []
    for left, low in data.draw(st.lists(st.tuples(offsets, offsets), min_size=1, max_size=8)):
        turn = 0 if unit == 1.0 else data.draw(st.sampled_from([-360.0, 0.0, 360.0]))
        wide, high = data.draw(st.tuples(st.floats(1, 90), st.floats(1, 90)))
        corner = (a + turn + left * unit, b + low * unit)
        box = shapely.box(*corner, corner[0] + wide * unit, corner[1] + high * unit)
        features.append({"type": "Feature", "geometry": mapping(box), "properties": {}})
    path = geojson(tmp_path / "a.geojson", features)
    path.write_text(path.read_text().replace("EPSG:32650", theirs.to_string()))

    def in_it(found: list[Feature]) -> list[tuple[Window, bytes] | None]:
        areas = [one.area for one in found]
        bounds = [None if area is None else area.bounds_window for area in areas]
        return [
            None if area is None or window is None else (window, area.mask(window).tobytes())
            for area, window in zip(areas, bounds, strict=True)
        ]

    quick = in_it(read_features(read_vectors(path), grid))
    with monkeypatch.context() as patched:
        patched.setattr(geo_features, "_in_reach", lambda file, _: range(len(file.areas)))
        assert in_it(read_features(read_vectors(path), grid)) == quick


def test_what_is_far_from_a_scene_is_not_brought_to_its_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = [(500 * n, 0, 500 * n + 20, 10) for n in range(100)]
    file = read_vectors(geojson(tmp_path / "a.geojson", [feature(box) for box in boxes]))
    placed, project = [], geo_features.projected
    monkeypatch.setattr(
        geo_features, "projected", lambda *given: placed.append(given) or project(*given)
    )
    found = read_features(file, GRID)
    assert len(placed) == 1
    assert [type(one.area) for one in found] == [Aoi] + 99 * [type(None)]
    assert [one.name for one in found] == [str(n) for n in range(1, 101)]
