"""Tables of footprints as GeoParquet 1.1: columns of numbers and names, and an outline per row."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform_geom
from shapely.geometry.base import BaseGeometry

from decr.errors import ConfigError

LONLAT = CRS.from_user_input("OGC:CRS84")


def require_pyarrow() -> Any:
    """The module pyarrow.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "GeoParquet needs pyarrow; install it with pip install 'decr[geoparquet]'"
        ) from error
    return pyarrow


def in_one_crs(
    outlines: Sequence[BaseGeometry | None], crs: Sequence[CRS | None]
) -> tuple[list[BaseGeometry | None], CRS | None]:
    """Outlines in the CRS that all share, else in longitude and latitude; None where unplaced.

    Parameters
    ----------
    outlines, crs
        Of each row; a row without a CRS loses its outline if others have one.
    """
    objects = {id(c): c for c in crs if c is not None}  # of thousands of rows, mostly one
    known = {c.to_wkt(): c for c in objects.values()}
    if len(known) <= 1:
        only = next(iter(known.values()), None)
        pairs = zip(outlines, crs, strict=True)
        return [o if only is None or c is not None else None for o, c in pairs], only
    moved: list[BaseGeometry | None] = []
    for outline, own in zip(outlines, crs, strict=True):
        if outline is None or own is None:
            moved.append(None)
            continue
        there = transform_geom(own, LONLAT, shapely.geometry.mapping(outline))
        moved.append(shapely.geometry.shape(there))
    return moved, LONLAT


def geoparquet(
    columns: Mapping[str, NDArray[Any] | Sequence[Any]],
    outlines: Sequence[BaseGeometry | None],
    crs: CRS | None,
    about: Mapping[str, str],
) -> bytes:
    """A table with a column ``geometry``, as the bytes of a file.

    Parameters
    ----------
    columns
        By name, of equal length.
    outlines
        Polygons in ``crs``, or None.
    crs
        None if it is not known.
    about
        Text that goes beside the table, by key.

    Raises
    ------
    ConfigError
        If pyarrow is not installed.
    """
    pa = require_pyarrow()
    shapes = np.array(outlines, dtype=object)
    there = shapes[[shape is not None for shape in outlines]]
    turned = [None if s is None else shapely.geometry.polygon.orient(s) for s in outlines]
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted({shape.geom_type for shape in there}),
        # null says "not known"; without the key it would be longitude and latitude.
        "crs": None if crs is None else crs.to_dict(projjson=True),
        "edges": "planar",
        "orientation": "counterclockwise",
    }
    if len(there):
        column["bbox"] = [float(v) for v in shapely.total_bounds(there)]
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    arrays = {name: pa.array(values) for name, values in columns.items()}
    wkb = shapely.to_wkb(np.array(turned, dtype=object))
    arrays["geometry"] = pa.array(wkb, pa.binary())
    table = pa.table(arrays).replace_schema_metadata({"geo": json.dumps(geo), **about})
    sheet = io.BytesIO()
    pa.parquet.write_table(table, sheet, compression="zstd")
    return sheet.getvalue()
