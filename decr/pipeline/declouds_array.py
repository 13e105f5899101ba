"""`decr.declouds_array`: a DataArray in, a DataArray out, for results that fit in memory."""

from __future__ import annotations

import os

import rasterio
import xarray as xr

from decr.config import DecloudConfig, options
from decr.errors import ConfigError
from decr.pipeline.declouds import declouds
from decr.pipeline.networks import DetectorChoice, detector_of
from decr.pipeline.stored_array import SCENE_FILE, check_there, stored, temporary_folder
from decr.pipeline.words import of_array
from decr.predictor import Restorer
from decr.zoo.embedded import find_bundle, others_model


def declouds_array(
    scene: xr.DataArray, config: DecloudConfig | None = None, *, restorer: Restorer | None = None
) -> xr.DataArray:
    """Remove the clouds of an array.

    Parameters
    ----------
    scene
        (band, y, x) with a rioxarray grid (CRS, transform, nodata) or without one. It goes to a
        temporary file part by part, so that Dask need not hold it. Bands are named by
        ``config.bands``, or else by their coordinate if it says what all of them are ("red"), or by
        ``attrs["long_name"]`` as rioxarray reads it, of which numbers in that coordinate tell who
        is who. Floats that were whole numbers in their file, as ``masked=True`` reads them, have
        the range of those (8 bits: 0 to 255) if ``config.dn_range`` says nothing else. Their
        encoding tells, which xarray drops in ``where``, ``fillna``, ``clip`` or ``astype``: give
        ``dn_range=(0, 255)`` after these.
    config, restorer
        As for :func:`decr.declouds`. Loops over many arrays need not load the model at each call:
        give them the ``restorer`` that `decr.predictor.load_restorer` makes of its bundle file.

    Returns
    -------
    xarray.DataArray
        New array with the same dimensions, coordinates, attributes, dtype and grid, in memory.

    Raises
    ------
    BandError
        If the array is not three-dimensional (band, y, x), or its first dimension holds dates.
    ConfigError
        If a map of expected errors is wanted, which only files have.
    SceneError
        If its rows or columns are not evenly spaced: one grid would put them on other ground.
    DecrError
        As for :func:`decr.declouds`.
    """
    config = options(DecloudConfig, config)
    if config.error_map:
        raise ConfigError("an array comes back without a map of errors; write one by decr.declouds")
    with temporary_folder() as folder, of_array(folder / SCENE_FILE):
        _check_choices(config, restorer)
        out = folder / "clear.tif"
        declouds(stored(scene, folder), out, config, restorer=restorer)
        with rasterio.open(out) as written:
            pixels = written.read()
    return scene.copy(data=pixels.astype(scene.dtype, copy=False))


def _check_choices(config: DecloudConfig, restorer: Restorer | None) -> None:
    """Refuse what cannot be found before the pixels of an array are computed."""
    check_there(config.aoi, config.cloud_mask)
    model = os.fspath(config.model)
    if restorer is None and others_model(model) is None:
        find_bundle(model, scene_has_nir=False)
    detector_of(DetectorChoice(config.detector, config.device))
