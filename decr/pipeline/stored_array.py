"""An array as a file that the pipeline reads."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import rioxarray  # noqa: F401 (registers the .rio accessor)
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow
from rioxarray.exceptions import MissingSpatialDimensionError

from decr.errors import BandError, ConfigError, DecrError, OutputError, SceneError
from decr.files import there
from decr.geo.bands import role_of
from decr.geo.gdal import gdal_environment
from decr.geo.opening import DTYPES, REFUSALS, first_line, opened, quietly_open, unlinked
from decr.geo.scene import RANGE_TAG
from decr.pipeline.array_parts import parts_of
from decr.pipeline.refused_array import check_bands

SCENE_FILE = "scene.tif"
"""What an array is called where the pipeline reads it."""
_OFF_PX = 0.1
"""How far rows and columns may lie from where one transform puts them."""
_WHOLE = ("uint8", "uint16", "int16")
_OVERSHOOT, _OVERSHOT = 1 / 64, 0.05
"""So far beyond a type's ends, of all between them, may lie such a share of what was of it."""


def check_there(aoi: Path | str | None, mask: Path | str | None) -> None:
    """Refuse an area or a mask that is not there.

    Raises
    ------
    ConfigError
        If there is no such vector file; those of GDAL's own paths and addresses are not looked for.
    SceneError
        If the mask cannot be opened.
    """
    if aoi is not None and not (there(aoi) or str(aoi).startswith("/vsi") or "://" in str(aoi)):
        raise ConfigError(f"{aoi} cannot be read: there is no such file; mend the path of aoi")
    if mask is not None:
        with gdal_environment(), opened(str(mask)):
            pass


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
    """Write an array, part by part, where the pipeline reads it.

    Raises
    ------
    BandError
        If it is no DataArray (band, y, x), or has dates where bands should be.
    SceneError
        If it is empty, its numbers are of a kind that no scene has, its rows or columns are not
        evenly spaced, or its encoding says of missing or scaled numbers what is none.
    OutputError
        If there is no room for it.
    """
    check_bands(scene)
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
    # rioxarray copies all pixels as it is told where they lie: it gets a stand-in.
    dtype = scene.dtype.newbyteorder("=")
    plain = scene.copy(deep=False, data=dask.array.zeros(scene.shape, dtype=dtype, chunks=-1))
    # Of its attributes the bands' names alone matter, and each may be of a kind that no file has.
    plain.attrs, plain.name = _names(scene), None
    # Its encoding says how it was in a file: scaled to integers, and a number where it has NaN.
    plain.encoding = {"grid_mapping": scene.rio.grid_mapping}
    # What its accessor was told is not on a new array.
    plain = plain.rio.set_spatial_dims(x_dim=across[1], y_dim=across[0])
    if scene.rio.crs is not None and plain.rio.crs is None:  # or ground control points would go
        plain = plain.rio.write_crs(scene.rio.crs)
    turned = _turned_grid(scene)
    for dim, places, slack in _places(scene, turned is not None):
        _check_even(dim, places, _OFF_PX + slack)
    if turned is not None:
        plain = plain.rio.write_transform(turned)
    try:
        plain = plain.rio.write_nodata(_nodata(scene))
    except (OverflowError, TypeError, ValueError) as error:  # the last two of what is no number
        raise SceneError(
            f"the array says of pixels without data what {scene.dtype} cannot hold: {error} Take "
            f"it off: array.drop_encoding().rio.write_nodata(None)"
        ) from error
    path = folder / SCENE_FILE
    with _on_disk(), gdal_environment(), _created(path, plain, recalc=turned is None) as file:
        kind = _RangeDtype(scene)
        for (bands, rows, cols), pixels in parts_of(scene):
            kind.look_at(pixels)
            window = RasterioWindow.from_slices(rows, cols)
            indexes = [band + 1 for band in range(bands.start, bands.stop)]
            file.write(pixels.astype(dtype, copy=False), indexes, window=window)
        if (found := kind.found()) is not None:
            file.update_tags(**{RANGE_TAG: found})
    return path


def _created(path: Path, plain: xr.DataArray, recalc: bool) -> Any:
    """A raster that says what an array does, to be written."""
    bands, height, width = plain.shape
    file = quietly_open(
        path,
        "w",
        driver="GTiff",
        count=bands,
        height=height,
        width=width,
        dtype=plain.dtype,
        crs=plain.rio.crs,
        transform=plain.rio.transform(recalc=recalc),
        gcps=plain.rio.get_gcps(),
        nodata=plain.rio.nodata,
        # Blocks of the file that an array was read from may not suit tiles.
        tiled=True,
        blockxsize=256,
        blockysize=256,
        photometric="MINISBLACK",  # or three bytes are red, green and blue, a fourth alpha
    )
    file.descriptions = plain.attrs.get("long_name", (None,) * bands)
    return file


@contextmanager
def _on_disk() -> Iterator[None]:
    """Say what to do when an array cannot be put where the pipeline reads it."""
    try:
        yield
    except DecrError:
        raise
    except REFUSALS as error:
        raise OutputError(
            f"the array cannot be put into the folder for temporary files: {first_line(error)}; "
            f"name one with room for it and its result by the variable TMPDIR"
        ) from unlinked(error)


def _nodata(scene: xr.DataArray) -> float | None:
    """What pixels without data hold; OverflowError if they cannot, others if it is no number."""
    try:
        number: float | None = scene.rio.nodata
    except ValueError:  # NaN, which no whole number is; but a file may have had a number for it
        number = scene.encoding.get("_FillValue")
        number = None if number is None or np.isnan(number) else number
    return None if number is None else float(number)


class _RangeDtype:
    """The whole type whose numbers became floats to have NaN for what is missing, or None.

    Their encoding says so, as rioxarray leaves it behind ``masked=True``, and stays with numbers
    that were divided by 255 since. Some may lie beyond its ends: cubic resampling overshoots.
    """

    def __init__(self, scene: xr.DataArray) -> None:
        encoding = scene.encoding
        kind = encoding.get("rasterio_dtype", encoding.get("dtype"))
        kind = getattr(kind, "name", getattr(kind, "__name__", kind))  # np.dtype, type or text
        told = scene.dtype.kind == "f" and kind in _WHOLE and not _is_scaled(encoding)
        self._kind = str(kind) if told else None
        self._count = self._beyond = 0
        self._most, self._whole = -np.inf, True

    def look_at(self, numbers: NDArray[Any]) -> None:
        """Take these into account, too."""
        if self._kind is None:
            return
        found = numbers[np.isfinite(numbers)]
        low, high = np.iinfo(self._kind).min, np.iinfo(self._kind).max
        slack = _OVERSHOOT * (high - low)
        self._count += found.size
        self._beyond += int(((found < low - slack) | (found > high + slack)).sum())
        self._most = found.max(initial=self._most)
        self._whole = self._whole and bool((found % 1 == 0).all())

    def found(self) -> str | None:
        """What it is."""
        if not self._count or self._beyond / self._count > _OVERSHOT:
            return None
        return self._kind if self._most > 2 or self._whole else None


def _is_scaled(encoding: Mapping[Any, Any]) -> bool:
    """Whether an array's numbers were made of others of its file, as its encoding says."""
    for key, unscaled in {"scale_factor": 1, "add_offset": 0, "scales": 1, "offsets": 0}.items():
        try:
            numbers = np.asarray(encoding.get(key, unscaled), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise SceneError(
                f"the array's encoding has {key}={encoding[key]!r:.80}, which is no number; take "
                f"it off: array.drop_encoding()"
            ) from error
        if np.any(numbers != unscaled):
            return True
    return False


def _names(scene: xr.DataArray) -> dict[str, Any]:
    """Names of its bands: rioxarray leaves those of all bands beside some, or others' order."""
    names, bands = scene.attrs.get("long_name", scene.name), scene.coords.get(scene.dims[0])
    if isinstance(names, str) and len(scene) == 1:  # of several bands it says what all are
        names = [names]
    if isinstance(names, tuple | list | np.ndarray):
        names = [name if isinstance(name, str) else "" for name in names]
    texts = () if bands is None else tuple(bands.values)
    named = bool(texts) and all(isinstance(text, str) for text in texts)
    if named and all(role_of(text) for text in texts):
        return {"long_name": texts}
    if not isinstance(names, list):
        return {"long_name": texts} if named else {}
    if bands is not None and bands.dtype.kind in "iuf":
        numbers = bands.values
        if (numbers % 1 == 0).all() and numbers.min() >= 1 and numbers.max() <= len(names):
            return {"long_name": tuple(names[int(number) - 1] for number in numbers)}
    return {"long_name": tuple(names) if len(names) == len(scene) else ("",) * len(scene)}


def _turned_grid(scene: xr.DataArray) -> Affine | None:
    """Transform of a rotated scene, of which rioxarray gives a part that of the whole.

    The coordinates of pixels in map units, ``xc`` and ``yc``, tell; None for all other scenes.
    """
    try:
        x, y = scene.coords["xc"].values, scene.coords["yc"].values
    except KeyError:
        return None
    if x.shape != scene.shape[1:] or y.shape != scene.shape[1:]:
        return None
    whole: Affine = scene.rio.transform()
    if whole.b == whole.d == 0:
        return None  # it is not rotated: coordinates of that name are something else
    # Middles of the first pixel and its neighbours, in pixels of the whole.
    cols, rows = ~whole @ (x[:2, :2], y[:2, :2])
    across = round(cols[0, 1] - cols[0, 0]) if scene.shape[2] > 1 else 1
    down = round(rows[1, 0] - rows[0, 0]) if scene.shape[1] > 1 else 1
    first = (round(2 * cols[0, 0] - across) / 2, round(2 * rows[0, 0] - down) / 2)
    return whole @ Affine.translation(*first) @ Affine.scale(across, down)


def _places(scene: xr.DataArray, turned: bool) -> Iterator[tuple[str, NDArray[np.float64], float]]:
    """(dimension, where its rows or columns lie, how far numbers may round them), all in steps.

    Of dimensions with coordinates and more than two pixels: two lie evenly anyhow. SceneError if
    these are no numbers.
    """
    for axis, dim in enumerate(scene.dims[1:]):
        if dim in scene.coords and scene.coords[dim].dtype.kind not in "iuf":
            raise SceneError(
                f"the array's coordinates along {dim} are {scene.coords[dim].dtype}, not numbers; "
                f"take them off: array.drop_vars('{dim}')"
            )
        if scene.sizes[dim] < 3:
            continue
        rounded = 0.0
        if turned:
            edge = (slice(None), 0) if axis == 0 else (0, slice(None))
            at = ~scene.rio.transform() @ (scene.xc.values[edge], scene.yc.values[edge])
            along = np.asarray(at[1 - axis], np.float64)
        elif dim in scene.coords:
            found = scene.coords[dim].values
            along = found.astype(np.float64)
            if found.dtype.kind == "f":  # float32 tells degrees by whole pixels of a fine scene
                rounded = float(np.spacing(np.abs(found).max()))
        else:
            continue
        # As the one transform is made: `_turned_grid` looks at the first two.
        step = along[1] - along[0] if turned else (along[-1] - along[0]) / (len(along) - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            yield str(dim), along / step, abs(np.float64(rounded) / step)


def _check_even(dim: str, places: NDArray[np.float64], most_px: float) -> None:
    """Refuse rows or columns that one transform would put elsewhere."""
    with np.errstate(invalid="ignore"):  # a step of 0
        if (np.abs(places - places[0] - np.arange(len(places))) <= most_px).all():
            return
        steps = np.diff(places)
        odd = int(np.argmax(np.abs(steps - np.median(steps)))) + 1
    raise SceneError(
        f"the array is not evenly spaced along {dim}: index {odd} does not follow index {odd - 1} "
        f"by the step of the others, so pixels would be taken for other ground; sort it by "
        f"array.sortby('{dim}'), fill what is missing by array.reindex({dim}=...), or give each "
        f"part by itself"
    )
