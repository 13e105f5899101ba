"""Everything a raster says about itself besides its pixels, and what differs between two."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from os import PathLike, fspath
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import rasterio.shutil
from rasterio.io import MemoryFile

from decr.geo.opening import opened

Tags = dict[str, dict[str, str]]
"""Tag domain ("" is the default one) -> key -> value. XML domains hold one document, key "doc"."""

OUR_DOMAIN = "DECR"

# About the way the file is stored, or computed by GDAL while reading.
_STORAGE = {
    "IMAGE_STRUCTURE",
    "DERIVED_SUBDATASETS",
    "SUBDATASETS",
    "TILING_SCHEME",
    "LocationInfo",
    "xml:VRT",
    "vrt_sources",
    "new_vrt_sources",
}

# Describe pixels, not the scene: wrong as soon as a pixel changes.
_STATISTICS = "STATISTICS_"

# Tags that libtiff keeps as a float.
_FLOAT_TAGS = {"TIFFTAG_XRESOLUTION", "TIFFTAG_YRESOLUTION"}

_TRANSFORM_TOLERANCE_PX = 1e-6
_RPC_TOLERANCE = 1e-12

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")

# XML inside XML: parsing it would rename its prefixes, or fail.
_DOCUMENT = re.compile(
    r'^( *)<Metadata domain="xml:[^>]*format="xml">.*?^\1</Metadata>$', re.M | re.S
)


def compare_metadata(a: str | PathLike[str], b: str | PathLike[str]) -> list[str]:
    """List what two rasters, anything GDAL opens, say differently about themselves.

    Compared are size, bands, dtypes, grid, CRS, control points, RPCs, nodata, masks, names,
    colours, categories, scales, offsets, units, and every tag of every domain. Not compared are
    pixels, pixel statistics, the way of storage, overviews, and decr's own tags.

    Returns
    -------
    list of str
        ``"field: value in a -> value in b"``; empty if nothing is lost, changed or added.

    Raises
    ------
    SceneError
        If one cannot be opened.
    """
    first, second = (_described(fspath(path)) for path in (a, b))
    lines = []
    for name in sorted({*first, *second}):
        one, other = first.get(name), second.get(name)
        if not _same(name, one, other):
            if name == "rpc" and one and other:
                differ = [key for key in one if not _close(one[key], other.get(key))]
                one, other = ({key: rpc.get(key) for key in differ} for rpc in (one, other))
            lines.append(f"{name}: {_short(one)} -> {_short(other)}")
    return lines


def header(dataset: Any) -> ET.Element:
    """Return GDAL's own description of an open dataset, as the XML of a virtual raster.

    Unlike rasterio's properties it holds tags that are not UTF-8, category names, epochs of CRSs
    and names of control points. Missing are XML domains, and of bands all but the default domain:
    see `more_tags`.
    """
    with MemoryFile(ext=".vrt") as file:
        rasterio.shutil.copy(dataset, file.name, driver="VRT", COPY_SRC_MDD="YES")
        text = bytes(file.getbuffer()).decode("utf-8", errors=_LATIN1)
    return ET.fromstring(_DOCUMENT.sub("", _NOT_XML.sub("", text)))


def header_tags(element: ET.Element) -> Tags:
    """Tags in the `header` of a dataset, or in one of its bands, without those about storage."""
    tags: Tags = {}
    for metadata in element.iterfind("Metadata"):
        domain = metadata.get("domain", "")
        if domain not in _STORAGE:
            items = {i.get("key", ""): i.text or "" for i in metadata.iterfind("MDI")}
            tags.setdefault(domain, {}).update(items)
    return tags


def more_tags(dataset: Any, band: int = 0) -> Tags:
    """Tags that `header` lacks: XML documents of the dataset; all named domains of a band (> 0)."""
    tags: Tags = {}
    for domain in dataset.tag_namespaces(band):
        if not domain or domain in _STORAGE:
            continue
        document = domain.startswith("xml:")
        if document or band > 0:
            values = dict(dataset.tags(band, ns=domain))
            tags[domain] = {"doc": values[domain]} if document and domain in values else values
    return tags


def is_statistic(key: str) -> bool:
    """Whether a tag of a band is computed from its pixels."""
    return key.startswith(_STATISTICS)


def _latin1(error: UnicodeError) -> tuple[str, int]:
    """Decode what is not UTF-8 the way old TIFF writers meant it."""
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("latin-1"), error.end


_LATIN1 = "decr.latin1"
codecs.register_error(_LATIN1, _latin1)


def _described(path: str) -> dict[str, Any]:
    """Everything that is compared, flat."""
    with opened(path) as dataset:
        return dict(_fields(dataset))


def _fields(dataset: Any) -> Iterator[tuple[str, Any]]:
    points, points_crs = dataset.gcps
    root = header(dataset)
    yield "size (rows, cols)", dataset.shape
    yield "bands", dataset.count
    yield "dtypes", dataset.dtypes
    yield "transform", tuple(dataset.transform)[:6]
    yield "crs", dataset.crs
    dated = root.find("SRS[@coordinateEpoch]")
    yield "coordinate epoch", None if dated is None else dated.get("coordinateEpoch")
    yield "gcps", [(p.row, p.col, p.x, p.y, p.z or 0.0) for p in points]
    yield "gcps crs", points_crs if points else None
    # GeoTIFF says of an unknown error that it is -1.
    unknown = (("err_bias", -1.0), ("err_rand", -1.0))
    rpc = dataset.rpcs.to_dict() if dataset.rpcs else {}
    yield "rpc", {k: None if (k, v) in unknown else v for k, v in rpc.items()} or None
    tags = header_tags(root) | more_tags(dataset)
    tags.setdefault("", {}).setdefault("AREA_OR_POINT", "Area")
    yield from _tag_fields("tags", tags)
    bands = root.findall("VRTRasterBand")
    for index, band in enumerate(bands):
        yield from _band_fields(dataset, index, band)


def _band_fields(dataset: Any, index: int, element: ET.Element) -> Iterator[tuple[str, Any]]:
    name = f"band {index + 1}"
    yield f"{name} nodata", dataset.nodatavals[index]
    yield f"{name} mask", sorted(flag.name for flag in dataset.mask_flag_enums[index])
    yield f"{name} description", dataset.descriptions[index] or ""
    yield f"{name} colour", dataset.colorinterp[index].name
    yield f"{name} scale", dataset.scales[index]
    yield f"{name} offset", dataset.offsets[index]
    yield f"{name} unit", dataset.units[index] or ""
    yield f"{name} categories", [c.text for c in element.iterfind("CategoryNames/Category")]
    yield f"{name} colour table", [dict(e.attrib) for e in element.iterfind("ColorTable/Entry")]
    tags = header_tags(element) | more_tags(dataset, index + 1)
    yield from _tag_fields(f"{name} tags", tags)


def _tag_fields(prefix: str, tags: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    for domain, items in tags.items():
        # RPCs are compared as numbers: writers format them differently.
        if domain in (OUR_DOMAIN, "RPC"):
            continue
        for key, value in items.items():
            if not is_statistic(key):
                yield f"{prefix} {f'{domain}:' if domain else ''}{key}", value


def _same(name: str, a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    if name == "transform":
        # Writers that store the centre of a pixel shift it by half a pixel and back.
        scale = max(abs(value) for value in (a[0], a[1], a[3], a[4]))
        return bool(np.allclose(a, b, rtol=1e-15, atol=scale * _TRANSFORM_TOLERANCE_PX))
    if name == "rpc":
        return a.keys() == b.keys() and all(_close(a[key], b[key]) for key in a)
    if name.startswith("tags ") and name.split()[-1] in _FLOAT_TAGS:
        return bool(np.float32(a) == np.float32(b))
    if isinstance(a, float) and isinstance(b, float) and np.isnan(a):
        return bool(np.isnan(b))
    if isinstance(a, str) and a.lstrip().startswith("<"):
        return _without_layout(a) == _without_layout(b)
    return bool(a == b)


def _close(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    return bool(np.allclose(a, b, rtol=_RPC_TOLERANCE, atol=0))


def _without_layout(document: str) -> str:
    """XML without the blanks between its elements, which GDAL rearranges."""
    return re.sub(r">\s+<", "><", document.strip())


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
