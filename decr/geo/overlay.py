"""A virtual raster that shows a scene with some rectangles replaced, and says all that it says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import rasterio

from decr.errors import GridMismatchError
from decr.geo.grid import Window
from decr.geo.metadata import header, header_tags, is_statistic, more_tags
from decr.geo.names import absolute_name
from decr.geo.tiff_tags import ROOM_KEY, Domains, room_for, xmp_room

# Domains that GDAL keeps in TIFF tags of their own, and writes there from a virtual raster.
_XMP = "xml:XMP"
_OWN_TIFF_TAGS = {"", "RPC", "COLOR_PROFILE", _XMP}

_DATASET_PARTS = ("SRS", "GeoTransform")
_BAND_PARTS = ("Description", "UnitType", "ColorInterp", "NoDataValue", "HideNoDataValue")


@dataclass(frozen=True, slots=True)
class Patch:
    """A rectangle of new pixels for some bands of a scene.

    Attributes
    ----------
    path
        GeoTIFF of the scene's dtype, with one band for each of `bands`.
    window
        Where it lies, in scene pixels.
    bands
        0-based bands of the scene that it replaces.
    """

    path: Path
    window: Window
    bands: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Overlay:
    """A virtual raster, and the tags that must be added to what GDAL writes from it.

    Attributes
    ----------
    xml
        For a ``.vrt`` file.
    dataset_tags, band_tags, xmp
        As for `decr.geo.tiff_tags.fill_room`.
    """

    xml: bytes
    dataset_tags: Domains
    band_tags: tuple[Domains, ...]
    xmp: str | None


def overlay(
    dataset: Any, patches: Sequence[Patch], own_tags: Domains, mask: Path | None = None
) -> Overlay:
    """Describe a scene with patches over it.

    Parameters
    ----------
    dataset
        The scene, open in rasterio.
    patches
        The later ones lie on top.
    own_tags
        Tag domains that replace those of the scene.
    mask
        GeoTIFF of one band, 0 where a pixel is missing; in place of the scene's nodata and mask.

    Raises
    ------
    GridMismatchError
        If a patch does not fit the scene.
    """
    described = header(dataset)
    bands = described.findall("VRTRasterBand")
    found = header_tags(described) | more_tags(dataset)
    xmp = found.get(_XMP, {}).get("doc")
    tags = {k: v for k, v in found.items() if k not in _OWN_TIFF_TAGS} | dict(own_tags)
    band_tags = tuple(more_tags(dataset, band) for band in dataset.indexes)
    root = ET.Element("VRTDataset", _size("raster", dataset.width, dataset.height))
    root.extend(part for name in _DATASET_PARTS for part in described.iterfind(name))
    root.extend(control_points(dataset, described))
    root.extend(_metadata(described, room_for(tags, band_tags), xmp))
    changed = {band for patch in patches for band in patch.bands}
    if mask is not None:
        for band in bands:
            band[:] = [part for part in band if part.tag != "NoDataValue"]
    out = [_band(root, dataset, old, i + 1, i in changed) for i, old in enumerate(bands)]
    name = _source_name(dataset, bands[0])
    shape = dataset.shape
    for index, element in enumerate(out):
        _add_source(element, name, str(index + 1), dataset.block_shapes[index], shape)
    if mask is not None or described.find("MaskBand") is not None:
        band = ET.SubElement(ET.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
        file, which = (name, "mask,1") if mask is None else (str(mask.absolute()), "1")
        _add_source(band, file, which, dataset.block_shapes[0], shape)
    # Thousands of files in one folder: listing it for each is slow.
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        for patch in patches:
            _add_patch(out, patch, dataset)
    return Overlay(ET.tostring(root, encoding="utf-8"), tags, band_tags, xmp)


def without_alpha(xml: bytes) -> bytes:
    """The same virtual raster, in which GDAL takes no band for the mask of others."""
    return xml.replace(b"<ColorInterp>Alpha<", b"<ColorInterp>Undefined<")


def _size(prefix: str, width: int, height: int) -> dict[str, str]:
    return {f"{prefix}XSize": str(width), f"{prefix}YSize": str(height)}


def control_points(dataset: Any, described: ET.Element | None = None) -> list[ET.Element]:
    """Ground control points for a virtual raster, none or one list, with all their digits.

    GDAL prints twelve after the point. Its own description of the dataset is taken if given.
    """
    found = list((header(dataset) if described is None else described).iterfind("GCPList"))
    elements = (element for points in found for element in points.iterfind("GCP"))
    for element, point in zip(elements, dataset.gcps[0], strict=True):
        values = {"Pixel": point.col, "Line": point.row, "X": point.x, "Y": point.y}
        element.attrib.update({key: repr(float(value)) for key, value in values.items()})
        if point.z is not None:
            element.set("Z", repr(float(point.z)))
    return found


def _metadata(described: ET.Element, room: str, xmp: str | None) -> list[ET.Element]:
    """Elements of the domains that GDAL itself carries over, with placeholders for the others."""
    found = [e for e in described.iterfind("Metadata") if e.get("domain", "") in _OWN_TIFF_TAGS]
    default = next((e for e in found if not e.get("domain")), None)
    if default is None:
        found.append(default := ET.Element("Metadata"))
    ET.SubElement(default, "MDI", key=ROOM_KEY).text = room
    if xmp is not None:
        packet = ET.Element("Metadata", domain=_XMP, format="xml")
        ET.SubElement(packet, "room").text = xmp_room(xmp)
        found.append(packet)
    return found


def _band(root: ET.Element, dataset: Any, old: ET.Element, band: int, changed: bool) -> ET.Element:
    """Add a band with the description of the scene's, still without pixels."""
    new = ET.SubElement(root, "VRTRasterBand", dataType=old.get("dataType", ""), band=str(band))
    items = header_tags(old).get("", {})
    kept = {k: v for k, v in items.items() if not (changed and is_statistic(k))}
    if kept:
        metadata = ET.SubElement(new, "Metadata")
        for key, value in kept.items():
            ET.SubElement(metadata, "MDI", key=key).text = value
    new.extend(part for name in _BAND_PARTS for part in old.iterfind(name))
    # GDAL prints too few digits of these.
    for name, value in (("Offset", dataset.offsets), ("Scale", dataset.scales)):
        ET.SubElement(new, name).text = repr(float(value[band - 1]))
    return new


def _source_name(dataset: Any, band: ET.Element) -> str:
    """Name under which GDAL can open the scene again, from any folder."""
    if dataset.driver == "VRT":
        # A virtual raster describes itself by its own sources, and one without a file of its own
        # (vrt://...) has them alone as its files.
        name, files = dataset.name, dataset.files
        own = not name.startswith("vrt://") and files and name.endswith(Path(files[0]).name)
        name = files[0] if own else name
    else:
        name = band.findtext("*/SourceFilename") or dataset.name
    return absolute_name(name)


def _add_source(
    band: ET.Element,
    name: str,
    source_band: str,
    block: tuple[int, int],
    shape: tuple[int, int],
    at: tuple[int, int] = (0, 0),
) -> None:
    """Lay a raster over a band of a virtual raster. Shapes are (rows, cols), `at` is (row, col)."""
    source = ET.SubElement(band, "SimpleSource")
    ET.SubElement(source, "SourceFilename", relativeToVRT="0").text = name
    ET.SubElement(source, "SourceBand").text = source_band
    # Without these properties GDAL opens every file at once, to look.
    properties = _size("Raster", shape[1], shape[0]) | _size("Block", block[1], block[0])
    properties["DataType"] = band.get("dataType", "")
    ET.SubElement(source, "SourceProperties", properties)
    size = {"xSize": str(shape[1]), "ySize": str(shape[0])}
    ET.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0", **size})
    ET.SubElement(source, "DstRect", {"xOff": str(at[1]), "yOff": str(at[0]), **size})


def _add_patch(bands: Sequence[ET.Element], patch: Patch, dataset: Any) -> None:
    with rasterio.open(patch.path) as opened:
        blocks = opened.block_shapes
        found = (opened.shape, opened.count, {*opened.dtypes})
    dtypes = {dataset.dtypes[band] for band in patch.bands if band < dataset.count}
    window, scene = patch.window, Window(0, 0, *dataset.shape)
    expected = (window.shape, len(patch.bands), dtypes)
    known = {*patch.bands} <= {*range(dataset.count)}
    if not scene.contains(window) or found != expected or not known:
        raise GridMismatchError(
            f"{patch.path} with (shape, bands, dtype) {found} does not fit {patch} in a scene of "
            f"{dataset.shape} pixels and {dataset.count} bands; start again with an empty folder"
        )
    name = os.path.abspath(patch.path)  # noqa: PTH100
    for index, band in enumerate(patch.bands):
        at = (window.row, window.col)
        _add_source(bands[band], name, str(index + 1), blocks[index], window.shape, at)
