"""A set of pairs as a STAC 1.0 collection with an item a pair, as catalogues of imagery read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

STAC_FOLDER = "stac"
_VERSION = "1.0.0"
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
    items = {_id(entry): _item(entry) for entry in entries}
    boxes = [item["bbox"] for item in items.values()]
    times = sorted(e["about"][key] for e in entries for key in ("cloudy_date", "clear_date"))
    collection = {
        "type": "Collection",
        "stac_version": _VERSION,
        "id": _ID,
        "description": f"{len(entries)} pairs of a cloudy and a clear image of the same ground.",
        "license": "proprietary",
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


def _id(entry: Mapping[str, Any]) -> str:
    """The pair's name, on one level: files are called after it."""
    return str(entry["about"]["name"]).replace("/", "_")


def _item(entry: Mapping[str, Any]) -> dict[str, Any]:
    """One pair."""
    about = entry["about"]
    corners = about["corners_lonlat"]
    # Outlines of GeoJSON run counterclockwise.
    ring = [*corners, corners[0]]
    ring = ring if _area(ring) > 0 else ring[::-1]
    xs, ys = ([c[i] for c in corners] for i in (0, 1))
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
        "id": _id(entry),
        "collection": _ID,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [min(xs), min(ys), max(xs), max(ys)],
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


def _around(boxes: Sequence[Sequence[float]]) -> list[float]:
    west, south, east, north = zip(*boxes, strict=True)
    return [min(west), min(south), max(east), max(north)]


def _area(ring: Sequence[Sequence[float]]) -> float:
    """Twice the signed area."""
    return float(sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring)))


def _time(iso: str) -> str:
    """With the Z that STAC prefers."""
    return iso.replace("+00:00", "Z")


def _bytes(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
