"""Scenes with every sort of metadata, and patches to lay over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC

from decr.geo.grid import Window
from decr.geo.overlay import Patch

SIZE = (1100, 900)
COLOURS = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined]


def _rpc() -> RPC:
    numbers = [float(n) / 7 for n in range(20)]
    return RPC(
        height_off=100.0,
        height_scale=500.0,
        lat_off=30.0,
        lat_scale=0.1,
        line_off=450.0,
        line_scale=450.0,
        long_off=110.0,
        long_scale=0.1,
        samp_off=550.0,
        samp_scale=550.0,
        line_den_coeff=numbers,
        line_num_coeff=numbers,
        samp_den_coeff=numbers,
        samp_num_coeff=numbers,
        err_bias=0.5,
        err_rand=0.25,
    )


def make(path: Path, kind: str) -> Path:
    """A uint16 (or float32) scene with every sort of metadata, of one of several kinds."""
    width, height = SIZE
    rng = np.random.default_rng(1)
    dtype = "float32" if kind == "nan" else "uint16"
    pixels = rng.integers(1, 2000, (4, height, width)).astype(dtype)
    if kind == "nan":
        pixels[:, :50] = np.nan
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": 4,
        "height": height,
        "width": width,
        "dtype": dtype,
        "tiled": True,
    }
    if kind not in ("gcp", "rpc"):
        profile |= {"crs": "EPSG:32650", "transform": Affine(0.5, 0.1, 5e5, 0.1, -0.5, 4e6)}
    if kind in ("nodata", "nan"):
        profile["nodata"] = np.nan if kind == "nan" else 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind != "external"):
        with rasterio.open(path, "w", **profile) as file:
            file.write(pixels)
            file.descriptions = ("blue", "green", "red", "nir")
            file.colorinterp = [*COLOURS[:3], ColorInterp.alpha] if kind == "alpha" else COLOURS
            file.scales, file.offsets = (1 / 3, 0.2, 0.3, 0.4), (1.0, 2.0, 3.0, 1 / 7)
            file.units = ("W", "W", "W", "W")
            file.update_tags(
                SENSOR="JL1",
                TIFFTAG_DATETIME="2024:01:02 03:04:05",
                TIFFTAG_IMAGEDESCRIPTION="a & b <c>",
            )
            file.update_tags(ns="VENDOR", CLOUD="3", NAME="ü & <x>")
            if kind != "plain":
                file.update_tags(1, GAIN="1.5")
            file.update_tags(2, ns="BANDNS", NOTE="two")
            file.update_tags(2, STATISTICS_MEAN="5", STATISTICS_MAXIMUM="9")
            if kind == "rpc":
                file.rpcs = _rpc()
            if kind == "gcp":
                points = [
                    GroundControlPoint(r + 1 / 3, c + 1 / 7, 110 + c / 9e3, 30 - r / 9e3, 12.3)
                    for r in (0, 450, 899)
                    for c in (0, 550, 1099)
                ]
                file.gcps = (points, rasterio.crs.CRS.from_epsg(4326))
        if kind in ("mask", "external"):
            with rasterio.open(path, "r+") as file:
                file.write_mask(np.arange(height * width).reshape(height, width) % 7 > 0)
    return path


def patched(folder: Path, bands: tuple[int, ...], dtype: str) -> tuple[Patch, NDArray[Any]]:
    """A patch of 300 x 200 px at (500, 600)."""
    pixels = np.full((len(bands), 300, 200), 7, dtype)
    path = folder / "patch.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), height=300, width=200, dtype=dtype
    ) as file:
        file.write(pixels)
    return Patch(path, Window(500, 600, 300, 200), bands), pixels
