"""GeoParquet 1.1: its metadata, its geometry, and what becomes of several CRS or none."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import shapely
from rasterio.crs import CRS

from decr.errors import ConfigError
from decr.geo.geoparquet import geoparquet, in_one_crs

UTM50, UTM51 = CRS.from_epsg(32650), CRS.from_epsg(32651)
BOX = shapely.box(500000, 4400000, 500100, 4400200, ccw=False)


@pytest.fixture
def parquet() -> Any:
    return pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


def test_the_file_is_geoparquet(tmp_path: Path, parquet: Any) -> None:
    path = tmp_path / "t.parquet"
    columns = {"name": ["a", "b"], "ccp": [0.25, None]}
    path.write_bytes(geoparquet(columns, [BOX, None], UTM50, {"definition": "said"}))
    table = parquet.read_table(path)
    assert table.column_names == ["name", "ccp", "geometry"]
    assert table["ccp"].to_pylist() == [0.25, None]
    assert str(table.schema.field("geometry").type) == "binary"
    assert table.schema.metadata[b"definition"] == b"said"
    geo = json.loads(table.schema.metadata[b"geo"])
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    column = geo["columns"]["geometry"]
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
    assert column["bbox"] == [500000, 4400000, 500100, 4400200]
    assert column["orientation"] == "counterclockwise"
    assert column["crs"]["type"] == "ProjectedCRS"
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32650}
    one, none = table["geometry"].to_pylist()
    assert none is None
    shape = shapely.from_wkb(one)
    assert shape.equals(BOX)
    assert shape.exterior.is_ccw


def test_an_unknown_crs_is_null_and_not_left_out(tmp_path: Path, parquet: Any) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(geoparquet({"n": [1]}, [None], None, {}))
    column = json.loads(parquet.read_schema(path).metadata[b"geo"])["columns"]["geometry"]
    assert column["crs"] is None
    assert column["geometry_types"] == []
    assert "bbox" not in column


def test_one_crs_is_kept_and_several_become_degrees() -> None:
    assert in_one_crs([BOX, BOX], [UTM50, UTM50]) == ([BOX, BOX], UTM50)
    assert in_one_crs([BOX, None], [None, None]) == ([BOX, None], None)
    moved, crs = in_one_crs([BOX, BOX, None], [UTM50, UTM51, None])
    assert crs is not None
    assert crs.is_geographic
    first, second, third = moved
    assert first is not None
    assert second is not None
    assert third is None
    assert first.centroid.x == pytest.approx(117, abs=0.01)
    assert second.centroid.x == pytest.approx(123, abs=0.01)
    assert 39 < first.centroid.y < 41


def test_a_crs_that_many_rows_share_is_written_out_once() -> None:
    written = []

    class Told(CRS):  # type: ignore[misc]
        def to_wkt(self, *of: Any, **how: Any) -> str:
            written.append(self)
            return str(super().to_wkt(*of, **how))

    crs = Told.from_epsg(32650)
    assert in_one_crs([BOX] * 100, [crs] * 100) == ([BOX] * 100, crs)
    assert len(written) < 5


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'decr\[geoparquet\]'"):
        geoparquet({}, [], None, {})
