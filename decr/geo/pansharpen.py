"""Pansharpening by GDAL: a virtual raster of panchromatic and multispectral images, then a COG."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decr.errors import BandError, ConfigError, GridMismatchError, OutputError, SceneError
from decr.files import scratch_folder, writable_folder
from decr.geo.acquisition import acquired
from decr.geo.gdal import gdal_environment
from decr.geo.grid import PixelGrid, Window
from decr.geo.layers import Layer, block_windows, layer_writer
from decr.geo.opening import local_files, opened
from decr.geo.output import check_sidecars, write_cog
from decr.geo.overlay import control_points
from decr.geo.scene import Scene, SceneReader, open_scene, reader

_REACH = {"Cubic": 2, "Nearest": 0, "Bilinear": 1, "CubicSpline": 2, "Lanczos": 3, "Average": 1}
"""How many multispectral pixels away each resampling looks."""
RESAMPLING = tuple(_REACH)
_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32",
          "float64": "Float64"}  # fmt: skip
_BLOCK_PX = 512
_COLS = 8192


@dataclass(frozen=True, slots=True)
class PansharpenOptions:
    """How colours are put on the panchromatic image.

    Attributes
    ----------
    bands
        Roles of the multispectral file's bands in file order; None reads them from it.
    weights
        Share of each data band in the panchromatic one; None takes all alike.
    resampling
        Of the multispectral image; one of `RESAMPLING`.

    Raises
    ------
    ConfigError
        For weights that are not positive numbers, or another resampling.
    """

    bands: str | None = None
    weights: tuple[float, ...] | None = None
    resampling: str = "Cubic"

    def __post_init__(self) -> None:
        if self.resampling not in RESAMPLING:
            raise ConfigError(f"resampling is one of {', '.join(RESAMPLING)}")
        given = self.weights
        if given is not None and not (all(0 <= w < math.inf for w in given) and sum(given) > 0):
            raise ConfigError(f"weights {given} must not be negative, and not all 0")


def pansharpen(
    pan: Path | str, ms: Path | str, out: Path, options: PansharpenOptions | None = None
) -> Scene:
    """Fuse two images of one acquisition by GDAL's weighted Brovey transform, block by block.

    Bands keep their names; CRS, transform, ground control points, RPCs, scale, offset and unit are
    those of the panchromatic image; the time of acquisition is kept as a tag, also if only an XML
    file beside the image says it. Where a pixel is missing in either image (nodata, alpha, mask,
    NaN) a mask in ``out`` says so, and as far around missing multispectral pixels as resampling
    reaches, unless both images have one nodata number, which GDAL leaves out of its means.

    Parameters
    ----------
    pan
        One panchromatic band, or one and alpha; /vsi paths and URLs as str.
    ms
        Bands of larger pixels over the same ground.
    out
        COG; appears whole or not at all.

    Returns
    -------
    Scene
        What was written.

    Raises
    ------
    SceneError, BandError
        If an image cannot be read, or the bands are others.
    GridMismatchError
        If the two do not lie over one another.
    OutputError
        If ``out`` or a file that would be taken for a part of it (``OUT.msk``, ``OUT.ovr``,
        ``OUT.aux.xml``) is there already, or ``out`` cannot be written.
    """
    options = options or PansharpenOptions()
    if out.exists():
        raise OutputError(f"{out} exists already; delete it or give another name")
    with gdal_environment():
        one, many = _opened_pan(pan), open_scene(ms, options.bands)
        _check(one, many, options)
        check_sidecars(out, lambda: local_files(one.path) + local_files(many.path))
        work = writable_folder(out.parent) / f".{out.name}.decr-pansharpen"
        with scratch_folder(work, out):
            fused, source = work / "fused.vrt", work / "described.vrt"
            fused.write_bytes(fused_xml(one, many, options))
            reach = 0 if _gdal_knows(one, many) else _REACH[options.resampling]
            mask = _written_mask(one, many, fused, reach, work / "mask.tif")
            source.write_bytes(_described_xml(one, fused, mask))
            tags = {"PAN": Path(pan).name, "MS": Path(ms).name, "METHOD": "GDAL weighted Brovey"}
            tags["WEIGHTS"] = ",".join(f"{w:.6g}" for w in _weights(many, options))
            tags["RESAMPLING"] = options.resampling
            write_cog(str(source), [], out, tags, work)
        return open_scene(out)


def _opened_pan(path: Path | str) -> Scene:
    """The panchromatic image, which may have alpha beside its band."""
    with opened(os.fspath(path)) as dataset:
        alpha = dataset.count == 2 and dataset.colorinterp[1].name == "alpha"
        if dataset.count != 1 and not alpha:
            raise BandError(
                f"{path}: PAN has one band, this has {dataset.count}; are PAN and MS swapped?"
            )
    return open_scene(path, "p,a" if alpha else "p")


def fused_xml(pan: Scene, ms: Scene, options: PansharpenOptions) -> bytes:
    """GDAL's virtual pansharpened raster.

    GDAL 3.10 lays images without map coordinates pixel on pixel, however large those are, so such
    ones are given coordinates for the time being.
    """
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
    weights = ET.SubElement(ET.SubElement(how, "AlgorithmOptions"), "Weights")
    weights.text = ",".join(repr(w) for w in _weights(ms, options))
    ET.SubElement(how, "Resampling").text = options.resampling
    ET.SubElement(how, "NumThreads").text = "ALL_CPUS"
    ET.SubElement(how, "SpatialExtentAdjustment").text = "Intersection"
    cover = None if pan.grid.has_transform else (pan.grid.height, pan.grid.width)
    _source(ET.SubElement(how, "PanchroBand"), pan.path, pan.bands.data_indices[0], cover)
    for number, index in enumerate(ms.bands.data_indices, 1):
        _source(ET.SubElement(how, "SpectralBand", dstBand=str(number)), ms.path, index, cover)
    return ET.tostring(root)


def _gdal_knows(pan: Scene, ms: Scene) -> bool:
    """Whether GDAL's resampling leaves out what is missing: by one number, the same in both."""
    numbers = {ms.nodata[band] for band in ms.bands.data_indices} | {pan.nodata[0]}
    integers = np.dtype(ms.dtype).kind in "iu"  # others may be NaN, whatever the file declares
    return integers and ms.mask_kind in ("nodata", "none") and len(numbers) == 1


def _written_mask(pan: Scene, ms: Scene, fused: Path, reach: int, out: Path) -> Path | None:
    """Write 255 where both images hold data, 0 elsewhere; None where nothing is missing.

    A pixel takes the multispectral pixel that its centre lies in, and asks for so many around it.
    """
    with opened(str(fused)) as dataset:
        height, width = dataset.shape
        if not (height and width):
            raise GridMismatchError(
                f"{pan.path} and {ms.path} overlap by less than a pixel; check their names"
            )
        placed = pan.grid.has_transform
        grid = PixelGrid(height, width, dataset.transform, dataset.crs) if placed else pan.grid
    on_pan, on_ms = (_places(grid, other) for other in (pan.grid, ms.grid))
    missing = False
    layer = Layer(("mask",), 1, {}, nodata=0)
    with reader(pan) as one, reader(ms) as many, layer_writer(out, grid, layer) as file:
        for window in block_windows(grid, _COLS):
            valid = np.ones(window.shape, np.bool_)
            down, across = window.slices()
            for source, (rows, cols), around in ((one, on_pan, 0), (many, on_ms, reach)):
                valid &= _valid(source, rows[down], cols[across], around)
            missing |= not valid.all()
            file.write(window, valid[None] * np.uint8(255))
    return out if missing else None


def _valid(
    source: SceneReader, rows: NDArray[np.int64], cols: NDArray[np.int64], reach: int
) -> NDArray[np.bool_]:
    """Whether pixels at rows and columns, and so many around them, hold data; (rows, cols)."""
    first, last = (rows.min(), cols.min()), (rows.max(), cols.max())
    size = (int(high - low) + 1 for low, high in zip(first, last, strict=True))
    window = Window(int(first[0]), int(first[1]), *size).expand(reach, source.scene.grid.window)
    valid = source.valid(window)
    if reach:
        valid = ndimage.minimum_filter(valid, 2 * reach + 1, mode="nearest")
    return np.asarray(valid[np.ix_(rows - window.row, cols - window.col)])


def _places(grid: PixelGrid, other: PixelGrid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of another grid in which the centres of a grid's rows and columns lie."""
    if grid.has_transform:
        # Both lie along the same axes: GDAL fuses no others.
        to = ~other.transform @ grid.transform
        down, across = (to.e, to.f), (to.a, to.c)
    else:
        down, across = (other.height / grid.height, 0.0), (other.width / grid.width, 0.0)
    sides = ((*down, grid.height, other.height), (*across, grid.width, other.width))
    rows, cols = (
        np.clip(np.floor(scale * (np.arange(count) + 0.5) + offset), 0, limit - 1).astype(np.int64)
        for scale, offset, count, limit in sides
    )
    return rows, cols


def _described_xml(pan: Scene, fused: Path, mask: Path | None) -> bytes:
    """The fused raster with what the panchromatic image says, without made-up coordinates.

    A weighted mean of the bands is the panchromatic image, so their scale and unit are its own.
    """
    shift, index = (0, 0), pan.bands.data_indices[0]
    with opened(str(fused)) as dataset, opened(pan.path) as one:
        root = ET.Element(
            "VRTDataset", rasterXSize=str(dataset.width), rasterYSize=str(dataset.height)
        )
        if pan.grid.has_transform:
            t = dataset.transform
            ET.SubElement(root, "SRS").text = "" if pan.grid.crs is None else pan.grid.crs.to_wkt()
            ET.SubElement(root, "GeoTransform").text = ",".join(repr(v) for v in t.to_gdal())
            col, row = ~pan.grid.transform @ (t.c, t.f)
            shift = round(row), round(col)
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
            ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = fused.name
            ET.SubElement(source, "SourceBand").text = str(number)
    if mask is not None:
        band = ET.SubElement(ET.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
        source = ET.SubElement(band, "SimpleSource")
        ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = mask.name
        ET.SubElement(source, "SourceBand").text = "1"
    _describe(root, pan, shift)
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


def _source(
    parent: ET.Element, path: str, index: int, cover: tuple[int, int] | None = None
) -> None:
    """Name a band; with ``cover``, as if it lay over so many rows and columns."""
    name = path if "://" in path or path.startswith("/vsi") else str(Path(path).resolve())
    if cover is not None:
        if "?" in name or "&" in name:
            raise SceneError(f"{path}: has no map coordinates, and ? or & in its name; rename it")
        name = f"vrt://{name}?a_ullr=0,0,{cover[1]},-{cover[0]}"
    ET.SubElement(parent, "SourceFilename", relativeToVRT="0").text = name
    ET.SubElement(parent, "SourceBand").text = str(index + 1)


def _weights(ms: Scene, options: PansharpenOptions) -> Sequence[float]:
    count = len(ms.bands.data_indices)
    if options.weights is None:
        return [1 / count] * count
    total = sum(options.weights)
    return [w / total for w in options.weights]


def _check(pan: Scene, ms: Scene, options: PansharpenOptions) -> None:
    """Refuse what cannot be fused."""
    count = len(ms.bands.data_indices)
    if options.weights is not None and len(options.weights) != count:
        raise ConfigError(f"{len(options.weights)} weights for {count} bands of {ms.path}")
    if "pan" in ms.bands.data_roles:
        raise BandError(f"{ms.path} is panchromatic; the multispectral image comes second")
    if pan.dtype != ms.dtype:
        raise BandError(
            f"{pan.path} holds {pan.dtype} but {ms.path} {ms.dtype} numbers; store both in one type"
        )
    if pan.grid.has_transform != ms.grid.has_transform or pan.grid.crs != ms.grid.crs:
        raise GridMismatchError(
            f"{pan.path} and {ms.path} are not in one CRS; warp one with gdalwarp first"
        )
    if not pan.grid.has_transform:
        ratios = (pan.grid.height / ms.grid.height, pan.grid.width / ms.grid.width)
        if max(ratios) / min(ratios) > 1.01:
            raise GridMismatchError(
                f"{pan.path} and {ms.path} have no map coordinates and other proportions: they do "
                "not cover the same ground"
            )
        return
    one, other = pan.grid.footprint(), ms.grid.footprint()
    assert one is not None
    assert other is not None
    if not one.intersection(other).area > 0:
        raise GridMismatchError(f"{pan.path} and {ms.path} do not overlap; check their names")
    _check_axes(pan, ms)
    if math.hypot(ms.grid.transform.a, ms.grid.transform.d) < math.hypot(
        pan.grid.transform.a, pan.grid.transform.d
    ):
        raise GridMismatchError(f"{ms.path} has smaller pixels than {pan.path}; swap the two")


def _check_axes(pan: Scene, ms: Scene) -> None:
    """Refuse grids that GDAL cannot lay over one another; it would say why in other words."""
    a, b = pan.grid.transform, ms.grid.transform
    turned = ~a @ b
    rotated = any((a.b, a.d, b.b, b.d))
    along = max(abs(turned.b), abs(turned.d)) < 1e-6 * max(abs(turned.a), abs(turned.e))
    if not along or turned.a <= 0 or turned.e <= 0:
        raise GridMismatchError(
            f"rows and columns of {pan.path} and {ms.path} run other ways; bring one to the grid "
            "of the other with gdalwarp first"
        )
    corners = ((0, 0), (pan.grid.width, pan.grid.height))
    ends = ((0, 0), (ms.grid.width, ms.grid.height))
    apart = max(math.dist(a @ p, b @ q) for p, q in zip(corners, ends, strict=True))
    if rotated and apart > math.hypot(b.a, b.d):
        raise GridMismatchError(
            f"{pan.path} and {ms.path} are rotated and cover different ground; cut both to the "
            "same corners, or bring them north up with gdalwarp first"
        )
