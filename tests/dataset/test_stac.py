"""STAC of sets: names of their own, and pairs on the date line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from decr.dataset.stac import stac_files


def entry(name: str, west: float, east: float, split: str = "train") -> dict[str, Any]:
    corners = [[west, 1.0], [east, 1.0], [east, 0.0], [west, 0.0]]
    return {
        "cloudy": f"{split}/cloudy/x.tif",
        "clear": f"{split}/clear/x.tif",
        "split": split,
        "gsd_m": 10.0,
        "ccp": 0.5,
        "about": {
            "name": name,
            "mask": f"{split}/mask/x.tif",
            "corners_lonlat": corners,
            "cloudy_date": "2024-05-03T00:00:00+00:00",
            "clear_date": "2024-05-14T00:00:00+00:00",
        },
    }


def made(*entries: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The collection, and items by id."""
    files = {Path(name): json.loads(data) for name, data in stac_files(entries).items()}
    collection = files.pop(Path("stac/collection.json"))
    assert all(path.stem == item["id"] for path, item in files.items())
    return collection, {item["id"]: item for item in files.values()}


def test_pairs_whose_names_meet_on_one_level_have_items_of_their_own() -> None:
    collection, items = made(entry("d_x", 10, 11), entry("d/x", 12, 13, "test"), entry("e", 14, 15))
    assert {name: item["bbox"][0] for name, item in items.items()} == {
        "d_x": 10, "d_x_test": 12, "e": 14,
    }  # fmt: skip
    linked = {Path(link["href"]).stem for link in collection["links"] if link["rel"] == "item"}
    assert linked == {*items}


def test_a_pair_across_the_date_line_is_cut_there_and_its_box_goes_around_it() -> None:
    collection, items = made(entry("a", 179.5, -179.0), entry("b", 178.0, 179.0))
    assert items["a"]["bbox"] == [179.5, 0.0, -179.0, 1.0]
    geometry = items["a"]["geometry"]
    assert geometry["type"] == "MultiPolygon"
    spans = [sorted({lon for lon, _ in ring}) for (ring,) in geometry["coordinates"]]
    assert sorted(spans) == [[-180.0, -179.0], [179.5, 180.0]]
    assert collection["extent"]["spatial"]["bbox"] == [[178.0, 0.0, -179.0, 1.0]]
    far, _ = made(entry("a", 179.5, -179.0), entry("b", 10.0, 11.0), entry("c", -100.0, -99.0))
    assert far["extent"]["spatial"]["bbox"] == [[-180.0, 0.0, 180.0, 1.0]]
    near, _ = made(entry("a", 10.0, 11.0), entry("b", -20.0, -19.0))
    assert near["extent"]["spatial"]["bbox"] == [[-20.0, 0.0, 11.0, 1.0]]


def test_items_across_the_date_line_are_valid(tmp_path: Path) -> None:
    pystac = pytest.importorskip("pystac")
    pytest.importorskip("jsonschema")
    for name, data in stac_files([entry("a", 179.5, -179.0), entry("b", 178.0, 179.0)]).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    collection = pystac.Collection.from_file(str(tmp_path / "stac" / "collection.json"))
    collection.validate()
    for item in collection.get_items():
        item.validate()
