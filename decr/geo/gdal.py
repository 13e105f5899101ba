"""GDAL's settings for one thread: a small cache, errors that are raised; and PROJ's data base."""

from __future__ import annotations

import os
from functools import lru_cache

import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError

from decr.errors import ConfigError

CACHE_BYTES = 16 * 2**20
"""Of decoded blocks, for the whole process. Scenes are opened anew for each window that is read,
and closing one empties the cache: more than a window needs brings nothing."""
COARSE_CACHE_BYTES = 48 * 2**20
"""The same while coarse means are read, whose windows are wide: pieces of a window share a row of
the file's blocks, of 512 px or less, and that should not be decoded for each."""

_HTTP = {"GDAL_HTTP_TIMEOUT": "60", "GDAL_HTTP_MAX_RETRY": "5", "GDAL_HTTP_RETRY_DELAY": "1"}
"""GDAL itself would wait for ever, and give up at the first refusal. The environment goes first."""


def gdal_environment(cache_bytes: int = CACHE_BYTES) -> rasterio.Env:
    """A context for all reading and writing of rasters in a thread.

    GDAL's error handlers belong to a thread: outside such a context it prints by itself.
    """
    patient = {key: value for key, value in _HTTP.items() if key not in os.environ}
    return rasterio.Env(GDAL_CACHEMAX=cache_bytes, **patient)


@lru_cache(maxsize=1)
def lonlat() -> CRS:
    """EPSG:4326 from PROJ's data base, without which nothing is known of places and metres.

    Raises
    ------
    ConfigError
        If there is none, or another installation's; then no CRS could be trusted.
    """
    try:
        return CRS.from_epsg(4326)
    except CRSError as error:
        named = [
            f"{key}={os.environ[key]}" for key in ("PROJ_DATA", "PROJ_LIB") if key in os.environ
        ]
        hint = f"unset {' and '.join(named)}" if named else "install rasterio anew"
        raise ConfigError(
            f"PROJ, which knows coordinate systems, cannot read its data base; {hint} ({error})"
        ) from None
