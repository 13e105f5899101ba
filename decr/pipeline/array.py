"""`decr.declouds_array`: a DataArray in, a DataArray out, for scenes that fit in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import rasterio
import rioxarray  # noqa: F401 (registers the .rio accessor)
import xarray as xr

from decr.config import DecloudConfig
from decr.errors import BandError, ConfigError
from decr.pipeline.declouds import declouds
from decr.predictor import Restorer


def declouds_array(
    scene: xr.DataArray, config: DecloudConfig | None = None, *, restorer: Restorer | None = None
) -> xr.DataArray:
    """Remove the clouds of an array.

    Parameters
    ----------
    scene
        (band, y, x) with a rioxarray grid (CRS, transform, nodata) or without one. Bands are named
        by ``attrs["long_name"]`` as rioxarray reads them, or by ``config.bands``.
    config, restorer
        As for :func:`decr.declouds`.

    Returns
    -------
    xarray.DataArray
        New array with the same dimensions, coordinates, attributes, dtype and grid.

    Raises
    ------
    BandError
        If the array is not three-dimensional (band, y, x).
    ConfigError
        If a map of expected errors is wanted, which only files have.
    DecrError
        As for :func:`decr.declouds`.
    """
    if scene.ndim != 3:
        raise BandError(f"the array has dimensions {scene.dims}; wanted three: (band, y, x)")
    if config is not None and config.error_map:
        raise ConfigError("an array comes back without a map of errors; write one by decr.declouds")
    with tempfile.TemporaryDirectory(prefix="decr-") as folder:
        source, out = Path(folder) / "scene.tif", Path(folder) / "clear.tif"
        # Blocks of the file that an array was read from may not suit tiles.
        scene.rio.to_raster(source, tiled=True, blockxsize=256, blockysize=256)
        declouds(source, out, config, restorer=restorer)
        with rasterio.open(out) as written:
            pixels = written.read()
    return scene.copy(data=pixels.astype(scene.dtype))
