"""`decr.declouds_array`: a DataArray in, a DataArray out, for scenes that fit in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rioxarray  # noqa: F401 (registers the .rio accessor)
import xarray as xr
from rioxarray.exceptions import MissingSpatialDimensionError

from decr.config import DecloudConfig
from decr.errors import BandError, ConfigError, OutputError, SceneError
from decr.geo.opening import DTYPES, REFUSALS, first_line
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
    with temporary_folder() as folder:
        out = folder / "clear.tif"
        declouds(stored(scene, folder), out, config, restorer=restorer)
        with rasterio.open(out) as written:
            pixels = written.read()
    return scene.copy(data=pixels.astype(scene.dtype))


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for an array and what is made of it, gone afterwards.

    Raises
    ------
    OutputError
        If there can be none.
    """
    with _on_disk():
        temporary = tempfile.TemporaryDirectory(prefix="decr-")
    with temporary as folder:
        yield Path(folder)


def stored(scene: xr.DataArray, folder: Path) -> Path:
    """Write an array, as it is in memory, where the pipeline reads it.

    Raises
    ------
    BandError
        If it is no DataArray (band, y, x).
    SceneError
        If it is empty, or its numbers are of a kind that no scene has.
    OutputError
        If there is no room for it.
    """
    if not isinstance(scene, xr.DataArray) or scene.ndim != 3:
        found = f"dimensions {scene.dims}" if isinstance(scene, xr.DataArray) else type(scene)
        raise BandError(f"wanted a DataArray of three dimensions (band, y, x), not {found}")
    try:
        across = (scene.rio.y_dim, scene.rio.x_dim)
    except MissingSpatialDimensionError as error:
        raise BandError(
            f"of the dimensions {scene.dims} none are known as rows and columns; tell which are: "
            f"array.rio.set_spatial_dims(x_dim=..., y_dim=...)"
        ) from error
    if scene.dims[1:] != across:
        raise BandError(
            f"the array has dimensions {scene.dims}; wanted {('band', *across)}: transpose it"
        )
    if scene.size == 0 or scene.dtype.name not in DTYPES:
        raise SceneError(
            f"the array has shape {scene.shape} and {scene.dtype} numbers; give it pixels of "
            f"{', '.join(DTYPES)}, such as by array.astype('float32')"
        )
    path = folder / "scene.tif"
    # Its encoding says how it was in a file: scaled to integers, and a number where it has NaN.
    plain = scene.astype(scene.dtype.newbyteorder("="))
    plain.attrs = {**scene.attrs, **_names(scene)}
    plain.encoding = {k: v for k, v in scene.encoding.items() if k == "grid_mapping"}
    # What its accessor was told is not on a new array.
    plain = plain.rio.set_spatial_dims(x_dim=across[1], y_dim=across[0])
    if scene.rio.crs is not None and plain.rio.crs is None:  # or ground control points would go
        plain = plain.rio.write_crs(scene.rio.crs)
    try:
        if scene.rio.nodata is not None:
            plain = plain.rio.write_nodata(scene.rio.nodata)
    except OverflowError as error:
        raise SceneError(
            f"the array says of pixels without data what {scene.dtype} cannot hold: {error} Take "
            f"it off: array.drop_encoding().rio.write_nodata(None)"
        ) from error
    # Blocks of the file that an array was read from may not suit tiles.
    with _on_disk():
        plain.rio.to_raster(path, tiled=True, blockxsize=256, blockysize=256)
    return path


@contextmanager
def _on_disk() -> Iterator[None]:
    """Say what to do when an array cannot be put where the pipeline reads it."""
    try:
        yield
    except REFUSALS as error:
        raise OutputError(
            f"the array cannot be put into the folder for temporary files: {first_line(error)}; "
            f"name one with room for it and its result by the variable TMPDIR"
        ) from error


def _names(scene: xr.DataArray) -> dict[str, Any]:
    """Names of its bands: some taken out of an array still have those of all beside them."""
    names, bands = scene.attrs.get("long_name"), scene.coords.get(scene.dims[0])
    if not isinstance(names, tuple | list) or len(names) == len(scene):
        return {}
    if bands is None or not np.issubdtype(bands.dtype, np.number):
        return {"long_name": ("",) * len(scene)}
    if not all(float(b).is_integer() and 1 <= b <= len(names) for b in bands):
        return {"long_name": ("",) * len(scene)}
    return {"long_name": tuple(names[int(b) - 1] for b in bands)}
