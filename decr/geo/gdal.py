"""GDAL's settings for one thread: a small cache, and errors that are raised, not printed."""

from __future__ import annotations

import os

import rasterio

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
