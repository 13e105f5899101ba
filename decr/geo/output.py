"""Writing: the source with changed rectangles replaced, as a COG that carries all its metadata.

Source and patches are laid over each other in a VRT, which GDAL's own COG driver copies: pixels
that no patch covers never pass through our code.
"""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from decr.errors import OutputError

_NOT_CARRIED = {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "LocationInfo", ""}
"""Domains that describe the storage of a file, or that GDAL makes up."""

_COG = {
    "driver": "COG",
    # The source's overviews show the clouds: never copy them.
    "OVERVIEWS": "IGNORE_EXISTING",
    "OVERVIEW_RESAMPLING": "AVERAGE",
    "BLOCKSIZE": "512",
    "COMPRESS": "ZSTD",
    "PREDICTOR": "YES",
    "BIGTIFF": "IF_SAFER",
    "STATISTICS": "NO",
    "NUM_THREADS": "ALL_CPUS",
}
_REFUSALS = (CPLE_BaseError, RasterioError, OSError)
Tags = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Patch:
    """A rectangle of new pixels.

    Attributes
    ----------
    path
        A GeoTIFF of the scene's dtype.
    row, col, height, width
        Where it lies in the scene, px.
    bands
        For each band of the file, the 0-based scene band it replaces.
    """

    path: Path
    row: int
    col: int
    height: int
    width: int
    bands: tuple[int, ...]


def write_cog(source: str, patches: Sequence[Patch], out: Path, tags: Tags, work_dir: Path) -> None:
    """Write a scene with patches as a Cloud-Optimized GeoTIFF.

    Parameters
    ----------
    source
        The scene, as GDAL takes it; it is only read.
    patches
        Later ones lie above earlier ones.
    out
        Appears whole or not at all.
    tags
        Written as the DECR domain.
    work_dir
        A folder on the file system of ``out``, for temporary files.

    Raises
    ------
    OutputError
        If the disk is full or the file cannot be written.
    """
    finished = work_dir / "cog.tif"
    for left in work_dir.glob("cog.*"):
        left.unlink()
    options = {"CPL_TMPDIR": str(work_dir), "GDAL_TIFF_INTERNAL_MASK": "YES"}
    try:
        with rasterio.Env(**options):
            overlay = _overlay(source, patches, tags, work_dir)
            rasterio.shutil.copy(overlay, finished, COPY_SRC_MDD="YES", **_COG)
            _check_whole(finished)
        finished.replace(out)
    except _REFUSALS as error:
        free = shutil.disk_usage(work_dir).free / 1e6
        raise OutputError(
            f"{out}: cannot be written ({_first_line(error)}); {free:.0f} MB are free on its disk; "
            f"make room or choose another disk, then run the same command again: finished work is "
            f"kept in {work_dir}"
        ) from error


def _overlay(source: str, patches: Sequence[Patch], tags: Tags, work_dir: Path) -> Path:
    """A file for the COG driver to copy: source, patches and every metadata domain."""
    vrt = work_dir / "overlay.vrt"
    located = str(Path(source).resolve()) if Path(source).exists() else source
    rasterio.shutil.copy(located, vrt, driver="VRT")
    tree = ET.parse(vrt)
    root = tree.getroot()
    with rasterio.open(located) as dataset:
        domains = {**_domains(dataset, 0), "DECR": dict(tags)}
        of_bands = {i: _domains(dataset, i) for i in dataset.indexes}
        plain = {i: dataset.tags(i) for i in dataset.indexes}
    for band in root.findall("VRTRasterBand"):
        # How many bits the source packed a number in is its own affair.
        for packing in band.findall("Metadata[@domain='IMAGE_STRUCTURE']"):
            band.remove(packing)
        for patch in patches:
            _add_patch(band, patch)
    if any(plain.values()):
        # GDAL copies a VRT band's plain tags or its dataset's domains, not both.
        tree.write(vrt)
        return _stored(vrt, domains, of_bands, work_dir)
    _add_domains(root, domains)
    for band in root.findall("VRTRasterBand"):
        _add_domains(band, of_bands[int(band.get("band", "0"))])
    tree.write(vrt)
    return vrt


def _stored(
    vrt: Path,
    domains: Mapping[str, Tags],
    of_bands: Mapping[int, Mapping[str, Tags]],
    work_dir: Path,
) -> Path:
    """The overlay as a GeoTIFF that holds every domain, for scenes with tags on their bands."""
    stored = work_dir / "overlay.tif"
    stored.unlink(missing_ok=True)
    rasterio.shutil.copy(
        vrt,
        stored,
        driver="GTiff",
        TILED="YES",
        BIGTIFF="IF_SAFER",
        BLOCKXSIZE="512",
        BLOCKYSIZE="512",
        COMPRESS="ZSTD",
        ZSTD_LEVEL="1",
    )
    with rasterio.open(stored, "r+") as dataset:
        for name, tags in domains.items():
            dataset.update_tags(ns=name, **tags)
        for index, mine in of_bands.items():
            for name, tags in mine.items():
                dataset.update_tags(index, ns=name, **tags)
    return stored


def _domains(dataset: Any, index: int) -> dict[str, dict[str, str]]:
    """Named tag domains of a dataset (index 0) or of one of its bands."""
    return {
        name: dataset.tags(index, ns=name)
        for name in dataset.tag_namespaces(index)
        if name not in _NOT_CARRIED
    }


def _add_domains(parent: ET.Element, domains: Mapping[str, Tags]) -> None:
    """Add tag domains that the VRT driver did not carry by itself."""
    there = {element.get("domain") for element in parent.findall("Metadata")}
    for name, tags in domains.items():
        if name in there:
            continue
        element = ET.Element("Metadata", domain=name)
        if name.startswith("xml:"):
            element.set("format", "xml")
            element.append(ET.fromstring(next(iter(tags.values()))))
        else:
            for key, value in tags.items():
                ET.SubElement(element, "MDI", key=key).text = value
        parent.insert(0, element)


def _add_patch(band: ET.Element, patch: Patch) -> None:
    """Lay a patch over a band, if it has pixels for it."""
    index = int(band.get("band", "0")) - 1
    if index not in patch.bands:
        return
    source = ET.SubElement(band, "SimpleSource")
    ET.SubElement(source, "SourceFilename", relativeToVRT="0").text = str(patch.path.resolve())
    ET.SubElement(source, "SourceBand").text = str(patch.bands.index(index) + 1)
    size = {"xSize": str(patch.width), "ySize": str(patch.height)}
    ET.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0", **size})
    ET.SubElement(source, "DstRect", {"xOff": str(patch.col), "yOff": str(patch.row), **size})


def _check_whole(path: Path) -> None:
    """Read the last pixel of every band and level: GDAL may report a full disk late or never."""
    with rasterio.open(path) as dataset:
        levels = len(dataset.overviews(1))
    for level in range(-1, levels):
        options = {} if level < 0 else {"overview_level": level}
        with rasterio.open(path, **options) as dataset:
            height, width = dataset.shape
            dataset.read(window=((height - 1, height), (width - 1, width)))


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
