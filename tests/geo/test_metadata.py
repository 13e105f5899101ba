"""Comparing metadata, and writing tags into room reserved for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC
from rasterio.shutil import copy as copy_raster

from decr.errors import OutputError, SceneError
from decr.geo.metadata import compare_metadata
from decr.geo.tiff_tags import ROOM_KEY, fill_room, room_for
from tests.geo.full_scenes import make

CHANGES: dict[str, Callable[[Any], None]] = {
    "band 4 description": lambda f: setattr(f, "descriptions", ("blue", "green", "red", "swir")),
    "band 1 nodata": lambda f: setattr(f, "nodata", 3),
    "band 1 scale": lambda f: setattr(f, "scales", (1.0, 0.2, 0.3, 0.4)),
    "band 4 offset": lambda f: setattr(f, "offsets", (1.0, 2.0, 3.0, 0.5)),
    "band 2 unit": lambda f: setattr(f, "units", ("W", "DN", "W", "W")),
    "band 1 colour": lambda f: setattr(f, "colorinterp", [ColorInterp.gray, *f.colorinterp[1:]]),
    "band 1 mask": lambda f: f.write_mask(np.zeros(f.shape, bool)),
    "tags VENDOR:CLOUD": lambda f: f.update_tags(ns="VENDOR", CLOUD="4"),
    "tags SENSOR": lambda f: f.update_tags(SENSOR="other"),
    "tags NEW": lambda f: f.update_tags(NEW="other"),
    "tags AREA_OR_POINT": lambda f: f.update_tags(AREA_OR_POINT="Point"),
    "band 1 tags GAIN": lambda f: f.update_tags(1, GAIN="2"),
    "band 2 tags BANDNS:NOTE": lambda f: f.update_tags(2, ns="BANDNS", NOTE="three"),
    "transform": lambda f: setattr(f, "transform", Affine(0.5, 0.1, 5e5 + 1, 0.1, -0.5, 4e6)),
    "crs": lambda f: setattr(f, "crs", "EPSG:32651"),
    "gcps": lambda f: setattr(f, "gcps", ([GroundControlPoint(0, 0, 1, 2)] * 4, f.crs)),
}


@pytest.mark.parametrize("field", CHANGES)
def test_every_kind_of_difference_is_seen(tmp_path: Path, field: str) -> None:
    a, b = make(tmp_path / "a.tif", "tags"), make(tmp_path / "b.tif", "tags")
    assert compare_metadata(a, b) == []
    with rasterio.open(b, "r+") as file:
        CHANGES[field](file)
    assert [line for line in compare_metadata(a, b) if line.startswith(f"{field}: ")]


def test_rpcs_of_unknown_error_are_those_that_tell_none(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.tif", "rpc"), tmp_path / "b.vrt"
    with rasterio.open(a, "r+") as file:
        file.rpcs = RPC(**file.rpcs.to_dict() | {"err_bias": -1, "err_rand": -1})
    copy_raster(a, b, driver="VRT")
    b.write_text(re.sub(r'<MDI key="ERR_(BIAS|RAND)">-1</MDI>', "", b.read_text()))
    with rasterio.open(a) as one, rasterio.open(b) as other:
        assert [one.rpcs.err_bias, other.rpcs.err_bias] == [-1, None]
    assert [line for line in compare_metadata(a, b) if line.startswith("rpc")] == []


def test_changed_rpcs_and_shapes_are_seen(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.tif", "rpc"), make(tmp_path / "b.tif", "rpc")
    assert compare_metadata(a, b) == []
    with rasterio.open(b, "r+") as file:
        rpcs = file.rpcs
        rpcs.lat_off += 1e-9
        file.rpcs = rpcs
    (line,) = compare_metadata(a, b)
    assert line.startswith("rpc: {'lat_off': ")
    assert "height" not in line
    profile = {"driver": "GTiff", "count": 1, "height": 2, "width": 3, "dtype": "uint8"}
    with rasterio.open(tmp_path / "c.tif", "w", **profile):
        pass
    fields = [line.split(":")[0] for line in compare_metadata(a, tmp_path / "c.tif")]
    assert {"size (rows, cols)", "bands", "dtypes", "rpc", "band 3 scale"} <= {*fields}


def test_ours_storage_and_statistics_are_not_compared(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.tif", "tags"), tmp_path / "b.tif"
    b.write_bytes(a.read_bytes())
    with rasterio.open(b, "r+") as file:
        file.update_tags(ns="DECR", SEED="1")
        file.update_tags(1, STATISTICS_MEAN="4")
        file.build_overviews([2])
    assert compare_metadata(a, b) == []


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"absent\.tif"):
        compare_metadata(tmp_path / "absent.tif", tmp_path / "absent.tif")


names = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S"], exclude_characters="=:"),
    min_size=1,
    max_size=12,
)
# GDAL's own reader drops blanks at the start of a value, and empty ones.
values = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=40
)


def named(
    keys: st.SearchStrategy[str], items: st.SearchStrategy[Any], least: int, most: int
) -> Any:
    """Dictionaries whose keys GDAL tells apart: it does not look at their case."""
    pairs = st.lists(
        st.tuples(keys, items),
        unique_by=lambda pair: pair[0].lower(),
        min_size=least,
        max_size=most,
    )
    return pairs.map(dict)


domains = named(names.map(lambda name: f"D{name}"), named(names, values, 1, 10), 0, 3)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(dataset=domains, first=domains, second=domains, big=st.booleans(), swap=st.booleans())
def test_any_tags_fit_their_room(
    tmp_path: Path, dataset: Any, first: Any, second: Any, big: bool, swap: bool
) -> None:
    path = tmp_path / "s.tif"
    profile = {"driver": "GTiff", "count": 2, "height": 3, "width": 4, "dtype": "uint8"}
    storage = {"BIGTIFF": "YES" if big else "NO", "ENDIANNESS": "BIG" if swap else "LITTLE"}
    with rasterio.open(path, "w", **profile, **storage) as file:
        file.write(np.arange(24, dtype="uint8").reshape(2, 3, 4))
        file.update_tags(**{ROOM_KEY: room_for(dataset, (first, second)), "OTHER": "x"})
        file.update_tags(1, OWN="y")
    size = path.stat().st_size
    fill_room(path, dataset, (first, second))
    assert path.stat().st_size == size
    with rasterio.open(path) as file:
        assert file.tags()["OTHER"] == "x"
        assert ROOM_KEY not in file.tags()
        assert file.tags(1) == {"OWN": "y"}
        for band, tags in enumerate((dataset, first, second)):
            for domain, items in tags.items():
                assert file.tags(band, ns=domain) == items, domain
        np.testing.assert_array_equal(file.read(), np.arange(24, dtype="uint8").reshape(2, 3, 4))


def test_a_file_without_room_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    profile = {"driver": "GTiff", "count": 1, "height": 3, "width": 4, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile):
        pass
    with pytest.raises(OutputError, match="holds no tags"):
        fill_room(path, {"A": {"b": "c"}}, ())
    with rasterio.open(path, "r+") as file:
        file.update_tags(A="1")
    with pytest.raises(OutputError, match="no room"):
        fill_room(path, {"A": {"b": "c"}}, ())
    path.write_bytes(b"not a tiff at all, is it?")
    with pytest.raises(OutputError, match="not a TIFF"):
        fill_room(path, {"A": {"b": "c"}}, ())
