"""Virtual rasters of pansharpening: two images laid over one another, fused, and described."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree as ET

from decr.errors import GridMismatchError
from decr.geo.acquisition import acquired
from decr.geo.grid import Window
from decr.geo.names import absolute_name
from decr.geo.opening import opened
from decr.geo.overlay import control_points
from decr.geo.scene import Scene

_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32",
          "float64": "Float64"}  # fmt: skip
_BLOCK_PX = 512
_AROUND = 3
"""Multispectral pixels around the panchromatic image that resampling may look at."""


@dataclass(frozen=True, slots=True)
class Laid:
    """How a multispectral image lies over a panchromatic one, whose pixels all numbers count.

    GDAL 3.10 takes corners less than a multispectral pixel apart for the same, and moves others to
    whole ones, so colours would be off by up to that much. It is given a canvas instead, which so
    many whole multispectral pixels cover exactly: colours are in place to half a fine pixel.

    Attributes
    ----------
    ms
        Pixels of the multispectral image: those over the panchromatic one, and a few around.
    rows, cols
        Edges of the canvas they cover; they may lie beyond the panchromatic image.
    both
        What of the panchromatic image is covered, and written.
    """

    ms: Window
    rows: tuple[int, int]
    cols: tuple[int, int]
    both: Window


def laid_over(pan: Scene, ms: Scene) -> Laid:
    """Lay one image over the other: by their transforms, or corner to corner without.

    Raises
    ------
    GridMismatchError
        If they share no pixel.
    """
    if pan.grid.has_transform:
        t = ~pan.grid.transform @ ms.grid.transform
        down, across = (t.e, t.f), (t.a, t.c)
    else:
        down = (pan.grid.height / ms.grid.height, 0.0)
        across = (pan.grid.width / ms.grid.width, 0.0)
    (row, height), rows = _covered(*down, pan.grid.height, ms.grid.height)
    (col, width), cols = _covered(*across, pan.grid.width, ms.grid.width)
    corner = max(0, rows[0]), max(0, cols[0])
    size = min(pan.grid.height, rows[1]) - corner[0], min(pan.grid.width, cols[1]) - corner[1]
    if height < 1 or width < 1 or min(size) < 1:
        raise GridMismatchError(
            f"{pan.path} and {ms.path} overlap by less than a pixel; check their names"
        )
    return Laid(Window(row, col, height, width), rows, cols, Window(*corner, *size))


def _covered(
    scale: float, offset: float, fine: int, coarse: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """First coarse pixel and their number along an axis, and where in fine ones they begin and end.

    Coarse pixel ``n`` begins at ``scale * n + offset``.
    """
    half = 0.5 / scale  # what sticks out by less than half a fine pixel does not
    first = math.floor(-offset / scale + half) - _AROUND
    stop = math.ceil((fine - offset) / scale - half) + _AROUND
    first, stop = max(0, first), min(coarse, stop)
    return (first, stop - first), (round(scale * first + offset), round(scale * stop + offset))


def fused_xml(
    pan: Scene, ms: Scene, laid: Laid, weights: Sequence[float], resampling: str, work: Path
) -> bytes:
    """GDAL's virtual pansharpened raster of the canvas; writes what it is made of beside it."""
    size = laid.rows[1] - laid.rows[0], laid.cols[1] - laid.cols[0]
    _write_canvas(
        work / "pan.vrt", pan, pan.grid.window, (-laid.rows[0], -laid.cols[0]), size, size
    )
    _write_canvas(work / "ms.vrt", ms, laid.ms, (0, 0), laid.ms.shape, size)
    root = ET.Element("VRTDataset", subClass="VRTPansharpenedDataset")
    for number, role in enumerate(ms.bands.data_roles, 1):
        band = ET.SubElement(
            root,
            "VRTRasterBand",
            dataType=_TYPES[ms.dtype],
            band=str(number),
            subClass="VRTPansharpenedRasterBand",
        )
        ET.SubElement(band, "Description").text = role
        ET.SubElement(band, "ColorInterp").text = _colour(role)
    ET.SubElement(root, "BlockXSize").text = str(_BLOCK_PX)
    ET.SubElement(root, "BlockYSize").text = str(_BLOCK_PX)
    how = ET.SubElement(root, "PansharpeningOptions")
    ET.SubElement(how, "Algorithm").text = "WeightedBrovey"
    shares = ET.SubElement(ET.SubElement(how, "AlgorithmOptions"), "Weights")
    shares.text = ",".join(repr(w) for w in weights)
    ET.SubElement(how, "Resampling").text = resampling
    ET.SubElement(how, "NumThreads").text = "ALL_CPUS"
    ET.SubElement(how, "SpatialExtentAdjustment").text = "None"
    _source(ET.SubElement(how, "PanchroBand"), "pan.vrt", 1)
    for number in range(1, len(ms.bands.data_roles) + 1):
        _source(ET.SubElement(how, "SpectralBand", dstBand=str(number)), "ms.vrt", number)
    return ET.tostring(root)


def _write_canvas(
    out: Path,
    scene: Scene,
    window: Window,
    at: tuple[int, int],
    shape: tuple[int, int],
    size: tuple[int, int],
) -> None:
    """Write a virtual raster of a scene's data bands: a window of it at (row, col) of a canvas.

    ``shape`` is the canvas in pixels of the scene, ``size`` in those of the panchromatic image,
    which made-up coordinates count.
    """
    root = ET.Element("VRTDataset", rasterXSize=str(shape[1]), rasterYSize=str(shape[0]))
    steps = (0.0, size[1] / shape[1], 0.0, 0.0, 0.0, -size[0] / shape[0])
    ET.SubElement(root, "GeoTransform").text = ",".join(map(repr, steps))
    for number, index in enumerate(scene.bands.data_indices, 1):
        band = ET.SubElement(root, "VRTRasterBand", dataType=_TYPES[scene.dtype], band=str(number))
        if scene.nodata[index] is not None:
            ET.SubElement(band, "NoDataValue").text = repr(scene.nodata[index])
        source = ET.SubElement(band, "SimpleSource")
        _source(source, absolute_name(scene.path), index + 1, beside=False)
        _rectangle(source, "SrcRect", window)
        _rectangle(source, "DstRect", replace(window, row=0, col=0), at)
    out.write_bytes(ET.tostring(root))


def _rectangle(
    parent: ET.Element, name: str, window: Window, at: tuple[int, int] | None = None
) -> None:
    """Write a rectangle, at another (row, col) if given, which may lie outside."""
    row, col = (window.row, window.col) if at is None else at
    size = {"xSize": str(window.width), "ySize": str(window.height)}
    ET.SubElement(parent, name, {"xOff": str(col), "yOff": str(row), **size})


def described_xml(pan: Scene, fused: Path, laid: Laid, mask: Path | None) -> bytes:
    """What both cover of the fused canvas, with what the panchromatic image says of it.

    A weighted mean of the bands is the panchromatic image, so their scale and unit are its own.
    """
    both, index = laid.both, pan.bands.data_indices[0]
    part = replace(both, row=both.row - laid.rows[0], col=both.col - laid.cols[0])
    with opened(str(fused)) as dataset, opened(pan.path) as one:
        root = ET.Element("VRTDataset", rasterXSize=str(both.width), rasterYSize=str(both.height))
        if pan.grid.has_transform:
            t = pan.grid.window_transform(both)
            ET.SubElement(root, "SRS").text = "" if pan.grid.crs is None else pan.grid.crs.to_wkt()
            ET.SubElement(root, "GeoTransform").text = ",".join(repr(v) for v in t.to_gdal())
        else:
            root.extend(control_points(one))
        for number, role in enumerate(dataset.descriptions, 1):
            band = ET.SubElement(
                root,
                "VRTRasterBand",
                dataType=_TYPES[dataset.dtypes[number - 1]],
                band=str(number),
                blockXSize=str(_BLOCK_PX),
                blockYSize=str(_BLOCK_PX),
            )
            ET.SubElement(band, "Description").text = role
            ET.SubElement(band, "UnitType").text = one.units[index] or ""
            ET.SubElement(band, "Offset").text = repr(float(one.offsets[index]))
            ET.SubElement(band, "Scale").text = repr(float(one.scales[index]))
            ET.SubElement(band, "ColorInterp").text = _colour(role)
            source = ET.SubElement(band, "SimpleSource")
            _source(source, fused.name, number)
            _rectangle(source, "SrcRect", part)
            _rectangle(source, "DstRect", part, (0, 0))
    if mask is not None:
        band = ET.SubElement(ET.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
        source = ET.SubElement(band, "SimpleSource")
        _source(source, mask.name, 1)
    _describe(root, pan, (both.row, both.col))
    return ET.tostring(root)


def _colour(role: str) -> str:
    return role.capitalize() if role in ("red", "green", "blue") else "Undefined"


def _describe(root: ET.Element, pan: Scene, cut: tuple[int, int]) -> None:
    """Tags and RPCs; those of an image that is cut by rows and columns are moved along."""
    with opened(pan.path) as dataset:
        tags, rpc = dataset.tags(), dataset.tags(ns="RPC")
    tags = {key: text for key, text in tags.items() if key != "AREA_OR_POINT"}
    when = acquired(pan.path)
    if when is not None:
        tags["ACQUISITIONDATETIME"] = when.when.isoformat()
    if any(cut):
        for key, px in zip(("LINE_OFF", "SAMP_OFF"), cut, strict=True):
            if key in rpc:
                rpc[key] = repr(float(rpc[key]) - px)
    for domain, values in (("", tags), ("RPC", rpc)):
        if values:
            metadata = ET.SubElement(root, "Metadata", {"domain": domain} if domain else {})
            for key, text in values.items():
                ET.SubElement(metadata, "MDI", key=key).text = text


def _source(parent: ET.Element, name: str, band: int, beside: bool = True) -> None:
    """Name a band, from 1, of a file that lies beside the virtual raster or anywhere."""
    ET.SubElement(parent, "SourceFilename", relativeToVRT=str(int(beside))).text = name
    ET.SubElement(parent, "SourceBand").text = str(band)
