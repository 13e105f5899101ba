"""`decr.ccp` and `decr.cloud_mask`: the cloud coverage of one scene, for Python and xarray."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from decr.cloud.coverage import POLARITY
from decr.config import CcpConfig, mask_named, options
from decr.coverage.ccp import MISSED, SceneCcp, looking, scene_ccp
from decr.coverage.many import tell_missed
from decr.coverage.sources import Source, mask_of
from decr.geo.opening import opened
from decr.pipeline.engine import local_engine
from decr.pipeline.stored_array import SCENE_FILE, check_there, stored, temporary_folder
from decr.pipeline.words import of_array


def ccp(scene: xr.DataArray | str | os.PathLike[str], config: CcpConfig | None = None) -> SceneCcp:
    """Find the cloud coverage of a scene: cloudy valid pixels / valid pixels.

    Parameters
    ----------
    scene
        A path, URL or /vsi path; or (band, y, x), as for `decr.declouds_array`.
    config
        Options; the defaults use the embedded detector.

    Returns
    -------
    SceneCcp
        ``.ccp`` in 0..1 (1 is all cloud), ``.coverage`` with counts of pixels, ``.tiles``,
        ``.features`` and the ``.facts`` that all of it rests on.

    Raises
    ------
    BandError
        If it is no path and no DataArray of three dimensions, or the first of them holds dates.
    DecrError
        For anything else that the user can mend.

    Examples
    --------
    >>> import decr, numpy as np, xarray as xr
    >>> pixels = np.full((3, 64, 64), 40, "uint8")
    >>> pixels[:, :16] = 250
    >>> scene = xr.DataArray(pixels, dims=("band", "y", "x"))
    >>> config = decr.CcpConfig(detector="threshold", bands="r,g,b", gsd_m=4.0)
    >>> found = decr.ccp(scene, config)
    >>> found.ccp, found.coverage.cloudy_px, found.coverage.valid_px
    (0.25, 1024, 4096)
    """
    config = options(CcpConfig, config)
    if isinstance(scene, str | os.PathLike):
        with local_engine() as engine:
            found = scene_ccp(Source("scene", os.fspath(scene)), looking(config, engine))
    else:
        with temporary_folder() as folder:
            found = _found(scene, config, folder, None)
    tell_missed([(found.name, found.facts.get(MISSED))])
    return found


def cloud_mask(scene: xr.DataArray, config: CcpConfig | None = None) -> xr.DataArray:
    """Tell which pixels of an array are cloudy.

    Parameters
    ----------
    scene
        (band, y, x), as for `decr.declouds_array`.
    config
        As for `ccp`.

    Returns
    -------
    xarray.DataArray
        (y, x) bool with the scene's coordinates and grid, in memory, True = cloudy. Pixels without
        data are False. Attributes say definition and polarity.

    Raises
    ------
    BandError, DecrError
        As for `ccp`.

    Examples
    --------
    >>> import decr, numpy as np, xarray as xr
    >>> pixels = np.full((3, 64, 64), 40, "uint8")
    >>> pixels[:, :16] = 250
    >>> scene = xr.DataArray(pixels, dims=("band", "y", "x"))
    >>> config = decr.CcpConfig(detector="threshold", bands="r,g,b", gsd_m=4.0)
    >>> mask = decr.cloud_mask(scene, config)
    >>> mask.dtype, mask.dims, bool(mask[:16].all()), bool(mask[16:].any())
    (dtype('bool'), ('y', 'x'), True, False)
    """
    config = options(CcpConfig, config)
    with temporary_folder() as folder:
        found = _found(scene, config, folder, folder)
        with opened(str(folder / "scene_mask.tif")) as file:
            cloudy = file.read(1) == 1
    mask = scene.isel({scene.dims[0]: 0}, drop=True).copy(data=np.asarray(cloudy))
    mask.name = "cloud_mask"
    # A number that means "no data" in the scene means something else here.
    mask.encoding = {key: v for key, v in scene.encoding.items() if key == "grid_mapping"}
    mask.attrs = {"definition": found.facts["definition"], "polarity": POLARITY}
    return mask


def _found(scene: xr.DataArray, config: CcpConfig, folder: Path, rasters: Path | None) -> SceneCcp:
    """Coverage of an array, whose pixels are computed once all else is known to be there."""
    with of_array(folder / SCENE_FILE), local_engine() as engine:
        look, masks = looking(config, engine), mask_named(config.detector)
        check_there(config.aoi, None if masks is None else mask_of(masks, Source("scene", "")))
        source = Source("scene", str(stored(scene, folder)))
        return replace(scene_ccp(source, look, rasters), path="")
