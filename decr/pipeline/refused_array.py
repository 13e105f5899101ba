"""What is given for an array and is none of (band, y, x), and how to make one of it."""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any

import xarray as xr

from decr.errors import BandError
from decr.geo.bands import role_of

_DATES = {"date", "dates", "datetime", "t", "time", "times"}
_FEW = 8
"""So many bands at the most have pixels whose bands come last; they have more rows."""


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
        return _of_dataset(scene)
    if isinstance(scene, xr.DataArray):
        if scene.ndim > 3:
            more = [dim for dim in scene.dims if _has_dates(scene, dim)] or scene.dims[:-3]
            return f"give one at a time: array.isel({', '.join(f'{dim}=0' for dim in more)})"
        if scene.ndim == 2 and "band" not in scene.dims:
            return "give array.expand_dims('band')"
    if hasattr(scene, "__array_function__") and scene.ndim > 1:  # Dask's, too
        return _of_pixels(scene)
    if isinstance(scene, list | tuple) and scene:
        if isinstance(scene[0], xr.DataArray):
            return "give xarray.concat(arrays, 'band')"
        if hasattr(scene[0], "__array_function__"):
            return "give numpy.stack(pixels)"
    if isinstance(scene, str | os.PathLike) or hasattr(scene, "read"):
        return "read it by rioxarray.open_rasterio(path), or give decr.ccp the path itself"
    return ""


def _of_pixels(pixels: Any) -> str:
    """The array of pixels alone: of several bands, one, or colours behind each other."""
    if pixels.ndim > 3:
        return f"give one at a time: pixels[{', '.join('0' * (pixels.ndim - 3))}]"
    if pixels.ndim == 3 and pixels.shape[2] <= _FEW < pixels.shape[0]:
        return "give xarray.DataArray(pixels, dims=('y', 'x', 'band')).transpose('band', 'y', 'x')"
    one = "[None]" if pixels.ndim == 2 else ""
    return f"give xarray.DataArray(pixels{one}, dims=('band', 'y', 'x'))"


def _of_dataset(dataset: xr.Dataset) -> str:
    """The array of a dataset, with the names that its bands have there.

    The first variable says what pixels without data hold and how they were in a file, which
    ``to_array`` would leave out: it is one that is named for a colour.
    """
    images = [name for name, each in dataset.items() if each.ndim > 1]
    if not images:
        return ""
    other = [name for name in dataset if name not in images]  # such as where the grid is told
    placed = f"dataset.set_coords({other})" if other else "dataset"
    first = dataset[images[0]]
    dim = first.dims[0]
    if first.ndim > 2 and (len(images) == 1 or not (_has_dates(first, dim) or len(first) == 1)):
        return f"give {placed}[{images[0]!r}]"
    ordered = sorted(images, key=lambda name: role_of(str(name)) is None)
    chosen = placed if ordered == images else f"{placed}[{ordered}]"
    array = f"give xarray.concat({chosen}.values(), 'band')"
    for names in (ordered, [dataset[name].attrs.get("long_name") for name in ordered]):
        texts = [name for name in names if isinstance(name, str)]
        if len(texts) == len(names) and any(map(role_of, texts)):
            return f"{array}.assign_coords(band={texts})"
    return f"{array}, and name its bands by bands="
