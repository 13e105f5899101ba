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
    if config is not None and config.error_map:
        raise ConfigError("an array comes back without a map of errors; write one by decr.declouds")
    with tempfile.TemporaryDirectory(prefix="decr-") as folder:
        out = Path(folder) / "clear.tif"
        declouds(stored(scene, Path(folder)), out, config, restorer=restorer)
        with rasterio.open(out) as written:
            pixels = written.read()
    return scene.copy(data=pixels.astype(scene.dtype))


def stored(scene: xr.DataArray, folder: Path) -> Path:
    """Write an array, as it is in memory, where the pipeline reads it.

    Raises
    ------
    BandError
        If the array is not three-dimensional.
    """
    if scene.ndim != 3:
        raise BandError(f"the array has dimensions {scene.dims}; wanted three: (band, y, x)")
    path = folder / "scene.tif"
    # Its encoding says how it was in a file: scaled to integers, and a number where it has NaN.
    plain = scene.copy(deep=False)
    plain.encoding = {k: v for k, v in scene.encoding.items() if k == "grid_mapping"}
    # Blocks of the file that an array was read from may not suit tiles.
    plain.rio.to_raster(path, tiled=True, blockxsize=256, blockysize=256)
    return path
