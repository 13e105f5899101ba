"""What is given for an array and is none of (band, y, x), and how to make one of it."""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from decr.errors import BandError
from decr.geo.bands import role_of

_DATES = {"date", "dates", "datetime", "t", "time", "times"}


def check_bands(scene: object) -> None:
    """Refuse what is no DataArray of three dimensions, and dates in the place of bands.

    Raises
    ------
    BandError
        With what to give instead.
    """
    if not isinstance(scene, xr.DataArray) or scene.ndim != 3:
        found = f"dimensions {scene.dims}" if isinstance(scene, xr.DataArray) else type(scene)
        hint = _hint(scene)
        raise BandError(
            f"wanted a DataArray of three dimensions (band, y, x), not {found}"
            f"{'; ' if hint else ''}{hint}"
        )
    first = scene.dims[0]
    if _has_dates(scene, first):
        raise BandError(
            f"the array's first dimension {first!r} holds dates, not bands; give one date at a "
            f"time: array.isel({first}=0).expand_dims('band')"
        )


def _has_dates(scene: xr.DataArray, dim: Hashable) -> bool:
    dated = dim in scene.coords and scene.coords[dim].dtype.kind in "mM"
    return dated or str(dim).lower() in _DATES


def _hint(scene: Any) -> str:
    """How to make an array (band, y, x) of something else; empty where nobody can tell."""
    if isinstance(scene, xr.Dataset):
        return f"give {_of_dataset(scene)}"
    if isinstance(scene, xr.DataArray):
        if scene.ndim > 3:
            more = [dim for dim in scene.dims if _has_dates(scene, dim)] or scene.dims[:-3]
            return f"give one at a time: array.isel({', '.join(f'{dim}=0' for dim in more)})"
        if scene.ndim == 2 and "band" not in scene.dims:
            return "give array.expand_dims('band')"
    if isinstance(scene, np.ndarray):
        return "give xarray.DataArray(pixels, dims=('band', 'y', 'x'))"
    if isinstance(scene, str | os.PathLike) or hasattr(scene, "read"):
        return "read it by rioxarray.open_rasterio(path), or give decr.ccp the path itself"
    return ""


def _of_dataset(dataset: xr.Dataset) -> str:
    """The array of a dataset, with the names that its bands have there."""
    names, variables = list(dataset), list(dataset.values())
    if len(names) == 1 and variables[0].ndim > 2:
        return f"dataset[{names[0]!r}]"
    array = "dataset.to_array('band')"
    if all(role_of(str(name)) for name in names):
        return array
    if all(isinstance(each.attrs.get("long_name"), str) for each in variables):
        texts = "[each.attrs['long_name'] for each in dataset.values()]"
        return f"{array}.assign_coords(band={texts})"
    return f"{array}, and name its bands by bands="
