"""A set of pairs as a STAC 1.1 collection with an item a pair, as catalogues of imagery read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import shapely
from shapely.geometry import mapping
from shapely.geometry.polygon import orient

from decr.dataset.splits import unwrapped

STAC_FOLDER = "stac"
_VERSION = "1.1.0"
_COLLECTION = "collection.json"
_ID = "cloudy-and-clear-pairs"
_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
_TIFF = "image/tiff; application=geotiff"


def stac_files(entries: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Files by name, relative to the set's folder.

    Parameters
    ----------
    entries
        Lines of the manifest of a set whose pairs have places and dates; at least one.
    """
    items = {name: _item(name, entry) for name, entry in zip(_ids(entries), entries, strict=True)}
    boxes = [item["bbox"] for item in items.values()]
    times = sorted(e["about"][key] for e in entries for key in ("cloudy_date", "clear_date"))
    collection = {
        "type": "Collection",
        "stac_version": _VERSION,
        "id": _ID,
        "description": f"{len(entries)} pairs of a cloudy and a clear image of the same ground.",
        "license": "other",  # of which none is named
        "extent": {
            "spatial": {"bbox": [_around(boxes)]},
            "temporal": {"interval": [[_time(times[0]), _time(times[-1])]]},
        },
        "links": [
            {"rel": "root", "href": f"./{_COLLECTION}", "type": "application/json"},
            *(
                {"rel": "item", "href": f"./items/{name}.json", "type": "application/geo+json"}
                for name in items
            ),
        ],
    }
    files = {f"{STAC_FOLDER}/{_COLLECTION}": _bytes(collection)}
    return files | {f"{STAC_FOLDER}/items/{name}.json": _bytes(i) for name, i in items.items()}


def _ids(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The pairs' names, on one level: files are called after them. The split tells equals apart."""
    ids: dict[str, None] = {}
    for entry in entries:
        name = str(entry["about"]["name"]).replace("/", "_")
        while name in ids:
            name += f"_{entry['split']}"
        ids[name] = None
    return list(ids)


def _item(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """One pair."""
    about = entry["about"]
    corners = about["corners_lonlat"]
    geometry, bbox = _outline(corners)
    links = [
        {"rel": rel, "href": f"../{_COLLECTION}", "type": "application/json"}
        for rel in ("root", "parent", "collection")
    ]
    assets = {
        key: {"href": f"../../{name}", "type": _type(name), "title": title, "roles": [role]}
        for key, name, title, role in (
            ("cloudy", entry["cloudy"], "Cloudy image", "data"),
            ("clear", entry["clear"], "Clear image", "data"),
            ("mask", about["mask"], "Cloud mask: 1 cloudy, 0 clear, 255 no data", "metadata"),
        )
    }
    return {
        "type": "Feature",
        "stac_version": _VERSION,
        "id": name,
        "collection": _ID,
        "geometry": geometry,
        "bbox": bbox,
        "properties": {
            "datetime": _time(about["cloudy_date"]),
            "gsd": entry["gsd_m"],
            "decr:split": entry["split"],
            **({"decr:subset": about["subset"]} if "subset" in about else {}),
            "decr:ccp": entry["ccp"],
            "decr:clear_datetime": _time(about["clear_date"]),
        },
        "links": links,
        "assets": assets,
    }


def _type(name: str) -> str:
    return _TYPES.get(PurePosixPath(name).suffix.lower(), _TIFF)


def _outline(corners: Sequence[Sequence[float]]) -> tuple[dict[str, Any], list[float]]:
    """Geometry and bounding box as GeoJSON has them: outlines run counterclockwise.

    Across the date line the outline is cut there, and the west of the box is more than its east.
    """
    ring = unwrapped(np.asarray(corners))
    outline = shapely.Polygon(ring)
    west, south, east, north = (float(v) for v in outline.bounds)
    if west >= -180.0 and east <= 180.0:
        return dict(mapping(orient(outline))), [west, south, east, north]
    parts = []
    for degrees in (-360.0, 0.0, 360.0):
        turned = shapely.Polygon(ring + np.array((degrees, 0.0)))
        part = turned.intersection(shapely.box(-180, -90, 180, 90))
        if part.area > 0:
            parts.append(orient(part))
    return dict(mapping(shapely.MultiPolygon(parts))), [
        _wrapped(west), south, _wrapped(east), north,
    ]  # fmt: skip


def _wrapped(lon: float) -> float:
    """A longitude in -180..180."""
    return lon - 360.0 * round(lon / 360.0)


def _around(boxes: Sequence[Sequence[float]]) -> list[float]:
    """The box around others; around all longitudes if that would be wider than half the earth."""
    west, south, east, north = zip(*boxes, strict=True)
    if all(w <= e for w, e in zip(west, east, strict=True)):
        return [min(west), min(south), max(east), max(north)]
    # From 0 to 360 degrees, those that cross the date line are like all others.
    wests = [w % 360.0 for w in west]
    first = min(wests)
    last = max(w + (e - o) % 360.0 for w, o, e in zip(wests, west, east, strict=True))
    sides = (-180.0, 180.0) if last - first > 180.0 else (_wrapped(first), _wrapped(last))
    return [sides[0], min(south), sides[1], max(north)]


def _time(iso: str) -> str:
    """With the Z that STAC prefers."""
    return iso.replace("+00:00", "Z")


def _bytes(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
