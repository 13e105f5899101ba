"""Cloud coverage by features of a vector file: counted exactly, read once for all scenes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from decr.cloud.coverage import Coverage
from decr.config import CcpConfig
from decr.coverage import count
from decr.coverage.many import ccp_scenes
from decr.errors import ConfigError, DecrWarning
from decr.geo import features as geo_features
from decr.geo.aoi import Aoi
from decr.geo.features import Feature
from decr.geo.grid import Window
from tests.coverage.test_ccp import found, masked_scene
from tests.pipeline.scenes import cloudy_pixels, write_scene


def test_features_are_counted_by_pixel_centres(tmp_path: Path) -> None:
    scene, mask, classes, valid = masked_scene(tmp_path, 300, 400)
    boxes = [(10, 20, 110, 60), (5000, 0, 5010, 10), (390, 290, 500, 500)]
    rings = [
        [[500000 + 0.5 * x, 4000000 - 0.5 * y] for x, y in ((a, b), (a, d), (c, d), (c, b), (a, b))]
        for a, b, c, d in boxes
    ]
    crs = {"type": "name", "properties": {"name": "EPSG:32650"}}
    features = [
        {"type": "Feature", "id": n, "properties": None,
         "geometry": {"type": "Polygon", "coordinates": [ring]}}
        for n, ring in enumerate(rings)
    ]  # fmt: skip
    aoi = tmp_path / "a.geojson"
    aoi.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    got = found(scene, detector=f"file:{mask}", aoi=aoi)
    assert "cloudy = marked by the mask" in got.facts["definition"]
    assert [name for name, _ in got.features] == ["0", "1", "2"]
    cloudy = (classes > 0) & valid
    for (a, b, c, d), (_, counts) in zip(boxes, got.features, strict=True):
        cut = slice(b, d), slice(a, c)
        assert counts == Coverage(int(cloudy[cut].sum()), int(valid[cut].sum()))


def test_features_of_many_scenes_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [str(write_scene(tmp_path / f"{n}.tif", cloudy_pixels(60, 70))) for n in range(3)]
    far = {"type": "Polygon", "coordinates": [[[9, 1], [9, 2], [8, 2], [9, 1]]]}
    aoi = tmp_path / "a.geojson"
    aoi.write_text(json.dumps(far))
    read, loaded = [], geo_features.loaded
    monkeypatch.setattr(geo_features, "loaded", lambda name: read.append(name) or loaded(name))
    config = CcpConfig(detector="threshold", aoi=aoi)
    with pytest.warns(DecrWarning, match="does not touch"):
        outcomes = list(ccp_scenes(scenes, config))
    assert all(one.result and one.result.features == (("1", Coverage()),) for one in outcomes)
    assert read == [str(aoi)]


def test_features_that_cannot_be_read_are_told_once_for_all_scenes(tmp_path: Path) -> None:
    scenes = [str(write_scene(tmp_path / f"{n}.tif", cloudy_pixels(60, 70))) for n in range(2)]
    with pytest.raises(ConfigError, match=r"gone\.geojson"):
        list(ccp_scenes(scenes, CcpConfig(detector="threshold", aoi=tmp_path / "gone.geojson")))


_SPAN = st.tuples(st.integers(-20, 60), st.integers(1, 40))


@given(spans=st.lists(st.tuples(_SPAN, _SPAN), max_size=9), at=st.tuples(_SPAN, _SPAN))
def test_a_window_is_asked_of_the_features_whose_bounds_it_meets(
    spans: list[tuple[tuple[int, int], tuple[int, int]]], at: tuple[tuple[int, int], ...]
) -> None:
    boxes = [shapely.box(x, y, x + width, y + height) for (x, width), (y, height) in spans]
    features = [Feature("", None), *(Feature("", Aoi(box, 50, 50)) for box in boxes)]
    (row, height), (col, width) = at
    window = Window(max(row, 0), max(col, 0), height, width)
    bounds = {n: one.area.bounds_window for n, one in enumerate(features) if one.area}
    shared = {n: found and found.intersection(window) for n, found in bounds.items()}
    asked = count._Areas(features).under(window)
    assert {n: part for n, _, part in asked} == {n: part for n, part in shared.items() if part}
