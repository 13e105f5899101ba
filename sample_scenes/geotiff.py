"""GeoTIFFs as a vendor would deliver them: bands, colours, dates, sun angles, a metadata domain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from sample_scenes.canvas import Sun

COLOURS = {
    "blue": ColorInterp.blue,
    "green": ColorInterp.green,
    "red": ColorInterp.red,
    "nir": ColorInterp.undefined,
    "mask": ColorInterp.gray,
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the files of one acquisition share.

    Attributes
    ----------
    title
        For TIFFTAG_IMAGEDESCRIPTION.
    epsg, transform
        Where the pixels are.
    bands
        Names in file order.
    taken
        ISO 8601, UTC.
    sun
        With the azimuth clockwise from grid north.
    nodata
        DN outside the footprint, or None.
    """

    title: str
    epsg: int
    transform: Affine
    bands: tuple[str, ...]
    taken: str
    sun: Sun
    nodata: int | None = None


def _tags(delivery: Delivery, cloud_cover: float) -> dict[str, str]:
    return {
        "TIFFTAG_DATETIME": delivery.taken.replace("-", ":").replace("T", " ").rstrip("Z"),
        "TIFFTAG_IMAGEDESCRIPTION": delivery.title,
        "TIFFTAG_SOFTWARE": "decr sample_scenes",
        "ACQUISITION_DATETIME": delivery.taken,
        "ACQUISITION_SENSOR": "SIMULATED",
        "ACQUISITION_SUN_AZIMUTH": f"{delivery.sun.azimuth_deg:.1f}",
        "ACQUISITION_SUN_ELEVATION": f"{delivery.sun.elevation_deg:.1f}",
        "ACQUISITION_CLOUD_COVER": f"{cloud_cover:.3f}",
    }


def _acquisition(delivery: Delivery, cloud_cover: float) -> dict[str, str]:
    """Compose the few entries of a vendor's image metadata that readers look for."""
    return {
        "IMAGE_1.satId": '"SIM01"',
        "IMAGE_1.TLCTime": delivery.taken,
        "IMAGE_1.meanSunAz": f"{delivery.sun.azimuth_deg:.1f}",
        "IMAGE_1.meanSunEl": f"{delivery.sun.elevation_deg:.1f}",
        "IMAGE_1.meanOffNadirViewAngle": "0.0",
        "IMAGE_1.cloudCover": f"{cloud_cover:.3f}",
    }


def write(
    path: Path,
    dn: NDArray[np.uint8] | NDArray[np.uint16],
    delivery: Delivery,
    *,
    cloud_cover: float = 0.0,
    tags: dict[str, str] | None = None,
) -> None:
    """Write (bands, rows, cols) DN as a tiled, compressed GeoTIFF.

    Parameters
    ----------
    cloud_cover
        0..1, for the tags.
    tags
        More dataset tags.
    """
    profile = {
        "driver": "GTiff",
        "width": dn.shape[2],
        "height": dn.shape[1],
        "count": dn.shape[0],
        "dtype": dn.dtype.name,
        "crs": f"EPSG:{delivery.epsg}",
        "transform": delivery.transform,
        "nodata": delivery.nodata,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "interleave": "pixel",
        "compress": "zstd",
        "zstd_level": 9,
        "predictor": 2,
        "num_threads": 2,
    }
    # A domain called IMD would make GDAL write a sidecar beside each file.
    with rasterio.open(path, "w", **profile) as target:
        target.write(dn)
        target.descriptions = delivery.bands
        target.colorinterp = [COLOURS[band] for band in delivery.bands]
        target.update_tags(**_tags(delivery, cloud_cover), **(tags or {}))
        target.update_tags(ns="ACQUISITION", **_acquisition(delivery, cloud_cover))
