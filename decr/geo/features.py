"""Features of any vector file, each as an area over the pixels of a scene."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from decr.errors import ConfigError, warn
from decr.geo.aoi import (
    Aoi,
    crs_of,
    in_every_turn,
    in_pixels,
    loaded,
    missed,
    polygons_in,
    projected,
    surroundings,
    unplaced,
    valid_parts,
)
from decr.geo.grid import PixelGrid
from decr.geo.opening import unlinked

_JSON = (".geojson", ".json")
_ANY = ("Unknown", "GeometryCollection")
"""What GDAL calls layers whose geometries may be of any kind."""
_NAMES = ("name", "Name", "NAME", "id", "ID")


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a vector file.

    Attributes
    ----------
    name
        Its property "name" or "id", else its id in the file, else its number, from 1.
    area
        None if it has no polygon.
    """

    name: str
    area: Aoi | None


@dataclass(frozen=True, slots=True, eq=False)
class VectorFile:
    """The features of a vector file, read once to be placed on many scenes.

    Attributes
    ----------
    path
        As it was given.
    names
        As `Feature` has them, in file order.
    areas
        Of each feature in coordinates of the file, valid; empty where it has no polygon.
    crs
        Of these coordinates.
    tree
        Of the areas, to find those that lie near a scene.
    """

    path: str
    names: tuple[str, ...]
    areas: NDArray[np.object_]
    crs: CRS
    tree: shapely.STRtree


def read_vectors(path: str | os.PathLike[str]) -> VectorFile:
    """Read all features of a vector file.

    Parameters
    ----------
    path
        GeoJSON (.geojson, .json); or anything else that GDAL reads, such as GeoPackage or
        Shapefile, of which the first layer that has polygons counts, with the extra "vector".

    Raises
    ------
    ConfigError
        If the file cannot be read or holds no feature, or if the extra is missing.

    Warns
    -----
    DecrWarning
        If several layers have polygons.
    """
    name = os.fspath(path)
    rows = list(_of_geojson(name) if Path(name).suffix.lower() in _JSON else _of_layer(name))
    if not rows:
        raise ConfigError(f"{name} holds no feature; draw the areas as polygons")
    names = tuple(label or str(number) for number, (label, _, _) in enumerate(rows, 1))
    areas = np.array([shapely.union_all(polygons) for _, polygons, _ in rows], np.object_)
    return VectorFile(name, names, areas, rows[0][2], shapely.STRtree(areas))


def read_features(file: VectorFile, grid: PixelGrid) -> list[Feature]:
    """Place all features of a vector file on a scene.

    Returns
    -------
    list of Feature
        In file order. They may lie outside the scene; far from it, they have no area.

    Raises
    ------
    ConfigError
        If the scene is not placed on the map, or cannot show where a feature lies.
    """
    if grid.crs is None or not grid.has_transform:
        raise unplaced(file.path)
    near = surroundings(grid, file.crs)
    placed = {i: _placed(file.areas[i], file, grid, near) for i in _in_reach(file, near)}
    return [Feature(name, placed.get(i)) for i, name in enumerate(file.names)]


def why_missed(file: VectorFile, features: Sequence[Feature], grid: PixelGrid) -> str | None:
    """What to say of a file none of whose features touches the scene; None where one does."""
    scene = shapely.box(0, 0, grid.width, grid.height)
    if any(
        feature.area is not None
        and feature.area.area.intersects(scene)
        and not feature.area.area.touches(scene)
        for feature in features
    ):
        return None
    every = shapely.GeometryCollection(list(file.areas))
    if every.is_empty:
        return f"{file.path} holds no polygon, so none of its features has a pixel"
    return missed(every, file.crs, grid, file.path)


_Row = tuple[str, list[BaseGeometry], CRS]


def _of_geojson(name: str) -> Iterator[_Row]:
    """Name, polygons and CRS of each feature; a geometry alone is one feature."""
    document = loaded(name)
    crs = crs_of(document, name)
    features = document.get("features") if document.get("type") == "FeatureCollection" else None
    for feature in features if isinstance(features, list) else [document]:
        polygons = list(polygons_in(feature, name))
        found = feature.get("properties")
        said = dict(found) if isinstance(found, Mapping) else {}
        yield _label(said, feature.get("id")), polygons, crs


def _label(properties: Mapping[str, Any], own: Any) -> str:
    """What people call a feature; empty if nothing says."""
    given = (properties.get(key) for key in _NAMES)
    # A missing number is NaN in a column, which differs from itself.
    said = next((value for value in given if value is not None and value == value), own)
    return "" if said is None else str(said)


def _of_layer(name: str) -> Iterator[_Row]:
    """As `_of_geojson`, from one layer of a file that GDAL reads."""
    try:
        from pyogrio import list_layers, raw
    except ImportError as error:
        raise ConfigError(
            f"{name}: only GeoJSON is read without pyogrio; export the areas as .geojson, or "
            f"install it with pip install 'decr[vector]'"
        ) from error
    try:
        meta, _, shapes, columns = raw.read(name, layer=_layer_of(name, list_layers(name)))
        crs = CRS.from_user_input(meta["crs"]) if meta["crs"] else None
        geometries = shapely.from_wkb(shapes) if shapes is not None else []
    except (RuntimeError, ValueError, OSError, RasterioError, ShapelyError) as error:
        # All errors of pyogrio are RuntimeErrors.
        raise ConfigError(f"{name} cannot be read as a vector file: {error}") from unlinked(error)
    if crs is None:
        raise ConfigError(f"{name} does not say its CRS; set one, or export as .geojson")
    fields = {str(key): column for key, column in zip(meta["fields"], columns, strict=True)}
    for row, geometry in enumerate(geometries):
        label = _label({key: column[row] for key, column in fields.items()}, None)
        yield label, list(valid_parts(geometry)) if geometry is not None else [], crs


def _layer_of(name: str, layers: Iterable[tuple[str, str | None]]) -> str | None:
    """The first layer with polygons, else the first."""
    kinds = {str(layer): kind or "" for layer, kind in layers}
    areas = [
        layer
        for layer, kind in kinds.items()
        if "Polygon" in kind or (kind in _ANY and len(kinds) > 1 and _has_polygons(name, layer))
    ]
    chosen = next(iter(areas or kinds), None)
    if len(areas) > 1:
        warn(
            f"{name}: has polygons in the layers {', '.join(areas)}; those of {chosen} are used; "
            f"export another as a file of its own to use that"
        )
    return chosen


def _has_polygons(name: str, layer: str) -> bool:
    """Whether a layer of any kinds, such as a folder of a KML file, holds a polygon."""
    from pyogrio import raw

    _, _, shapes, _ = raw.read(name, layer=layer, columns=[])
    found = [] if shapes is None else shapely.from_wkb(shapes)
    return any(one is not None and not one.is_empty and list(valid_parts(one)) for one in found)


def _in_reach(file: VectorFile, near: BaseGeometry | None) -> list[int]:
    """Which features, by their bounds, lie in the surroundings of a scene, if these are known."""
    if near is None:
        return list(range(len(file.areas)))
    written = in_every_turn(near) if file.crs.is_geographic else [near]
    boxes = [box for one in written for box in shapely.get_parts(one)]
    found: list[int] = np.unique(file.tree.query(np.array(boxes, np.object_))[1]).tolist()
    return found


def _placed(
    area: BaseGeometry, file: VectorFile, grid: PixelGrid, near: BaseGeometry | None
) -> Aoi | None:
    if area.is_empty:
        return None
    area = in_pixels(projected(area, file.crs, grid, near, file.path), grid.transform)
    if area.is_empty or not np.isfinite(shapely.get_coordinates(area)).all():
        return None  # nowhere near the scene
    return Aoi(area, grid.height, grid.width)
