"""Opening rasters: what GDAL refuses becomes one sentence that says which file and what to do."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from decr.errors import SceneError
from decr.files import folder_there, of_pipe, there
from decr.forks import fork_lock
from decr.geo.netcdf import stated_bytes

E = TypeVar("E", bound=BaseException)

DTYPES = ("uint8", "uint16", "int16", "float32", "float64")

# GDAL's own errors pass through rasterio unwrapped in places, and some say nothing at all.
REFUSALS = (CPLE_BaseError, RasterioError, OSError, SystemError)
NO_REASON = "GDAL does not say why"

_VECTORS = (".geojson", ".json", ".gpkg", ".shp", ".fgb", ".kml")
_PACKED = (".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
_PNG_END = b"IEND\xaeB`\x82"
"""Last chunk of a PNG with its checksum."""
_PNG_TAIL = 1 << 16
"""Bytes at the end in which it is looked for: some programs write more behind it."""

_POOL = 1000
"""Parts of virtual rasters that GDAL keeps open at most, whatever it is told."""

# The filters of the warnings module belong to the process: opening in several threads at once
# could restore them in the wrong order and leave ours behind.
_opening = fork_lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep rasterio from saying that a raster lies nowhere on the map.

    For moments, in which no other thread may open rasters that lie nowhere, and this one none by
    `opened`.
    """
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def quietly_open(path: str | Path, *mode: str, **options: Any) -> Any:
    """As `rasterio.open`, `quiet` about a raster that lies nowhere."""
    with quiet():
        return rasterio.open(path, *mode, **options)


@contextmanager
def opened(path: str, overview: int | None = None, placed: bool = False) -> Iterator[Any]:
    """Open with rasterio; missing georeference is no surprise, failures are explained.

    Parameters
    ----------
    overview
        Opens this overview (0 is the finest) as if it were the raster; None the raster itself.
    placed
        Whether it is known to lie on the map. Then there is nothing to keep quiet, and other
        threads may open theirs meanwhile: a virtual raster of many parts takes long.

    Raises
    ------
    SceneError
        If GDAL refuses.
    """
    if pipe := of_pipe(path):  # GDAL would wait for one who writes into it
        raise SceneError(pipe)
    try:
        level = {} if overview is None else {"overview_level": overview}
        dataset = (rasterio.open if placed else quietly_open)(path, **level)
    except (*REFUSALS, UnicodeError) as error:
        raise SceneError(_why_not_open(path, error)) from unlinked(error)
    with dataset:
        if dataset.driver == "PNG":
            _check_whole_png(path)
        if dataset.driver == "ENVI":
            _check_whole_envi(path, dataset)
        if dataset.driver == "netCDF":
            _check_whole_netcdf(path, dataset)
        try:
            yield dataset
        except Exception:
            if dataset.driver == "VRT":
                forget_failures()
            raise


def forget_failures() -> None:
    """Make GDAL forget which parts of virtual rasters it could not open.

    It keeps that in its pool of parts, which may last as long as the process, for virtual rasters
    at one address in memory. The next at that address would read as zeros, and no error would be
    raised, even if the part was mended meanwhile. What was not used for long is pushed out of the
    pool by other parts.
    """
    part = (
        "<SimpleSource><SourceFilename>/vsisubfile/0_{0},{1}</SourceFilename><SourceBand>1"
        '</SourceBand><SrcRect xOff="0" yOff="0" xSize="1" ySize="1"/>'
        '<DstRect xOff="{2}" yOff="0" xSize="1" ySize="1"/></SimpleSource>'
    )
    profile = {"driver": "GTiff", "width": 1, "height": 1, "count": 1, "dtype": "uint8"}
    with quiet(), suppress(*REFUSALS), MemoryFile() as file:
        with file.open(**profile):
            pass
        parts = "".join(part.format(_POOL + n, file.name, n) for n in range(_POOL))
        with rasterio.open(
            f'<VRTDataset rasterXSize="{_POOL}" rasterYSize="1"><VRTRasterBand dataType="Byte" '
            f'band="1">{parts}</VRTRasterBand></VRTDataset>'
        ) as virtual:
            virtual.read(1)


def _check_whole_png(path: str) -> None:
    """Refuse a PNG that was cut off: GDAL reads zeros for what is missing, and only warns."""
    file = Path(path)
    if not file.is_file():  # inside an archive, say
        return
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - _PNG_TAIL))
        if _PNG_END not in stream.read():
            raise SceneError(f"{path} is cut off; copy it again from where it came")


def _check_whole_envi(path: str, dataset: Any) -> None:
    """Refuse the same of an ENVI file, of which GDAL does not even warn."""
    file, header = Path(path), dataset.tags(ns="ENVI")
    before, packed = (header.get(key, "0") for key in ("header_offset", "file_compression"))
    if packed != "0" or not before.isdecimal() or not file.is_file():
        return
    bytes_per_px = sum(np.dtype(dtype).itemsize for dtype in dataset.dtypes)
    found, wanted = file.stat().st_size, int(before) + dataset.width * dataset.height * bytes_per_px
    if found < wanted:
        raise SceneError(
            f"{path} is cut off: it holds {found} of {wanted} bytes; copy it again from where it "
            "came"
        )


def _check_whole_netcdf(path: str, dataset: Any) -> None:
    """Refuse the same of a netCDF file of the classic formats, of which GDAL does not warn."""
    file = Path(dataset.files[0] if dataset.files else path)
    if file.is_file() and file.stat().st_size < stated_bytes(file):
        raise SceneError(f"{path} is cut off; copy it again from where it came")


def _why_not_open(path: str, error: Exception) -> str:
    """One sentence for a file that GDAL refuses."""
    file = Path(path)
    if folder_there(file):
        return f"{path} is a folder; give the name of one raster file"
    if not there(file):
        reason = first_line(error)
        whole = "Range downloading not supported" in reason
        remedy = "it gives no parts of files, download it first" if whole else "check the name"
        return f"{path} cannot be opened: {reason}; {remedy}"
    if file.stat().st_size == 0:
        return f"{path} is empty (0 bytes); copy it again from where it came"
    if not os.access(file, os.R_OK):
        return f"{path} may not be read by this user; change its permissions"
    if isinstance(error, UnicodeEncodeError):
        return f"{path} has a name that is not UTF-8, which GDAL cannot open; rename it"
    if limited := of_limit(first_line(error)):
        return f"{path} cannot be opened: {first_line(error)}; {limited}"
    remedy = "give a GeoTIFF"
    if file.suffix.lower() in _VECTORS:
        remedy = "make one of its polygons with gdal_rasterize"
    elif file.suffix.lower() in _PACKED:
        remedy = "unpack it first, and give a raster or the folder"
    return f"{path} is not a raster that GDAL can read: {first_line(error)}; {remedy}"


def remedy_of(reason: str, what: str = "it") -> str:
    """What to do about a file that cannot be read to its end, for a reason of GDAL's."""
    return of_limit(reason) or f"{what} is damaged or incomplete, copy it again from where it came"


@contextmanager
def read_explained(said: str, what: str = "it") -> Iterator[None]:
    """Turn what GDAL says while it reads into one sentence, which begins with what is ``said``."""
    try:
        yield
    except REFUSALS as error:
        reason = first_line(error)
        raise SceneError(f"{said}: {reason}; {remedy_of(reason, what)}") from unlinked(error)


def of_limit(reason: str) -> str | None:
    """What to do if the reason is none of the file's; None if it is."""
    if os.strerror(errno.EMFILE) not in reason:
        return None
    return (
        "this process may not open so many files at once: raise its limit (ulimit -n 4096), or "
        "let GDAL keep fewer of them open (GDAL_MAX_DATASET_POOL_SIZE=20)"
    )


def first_line(error: BaseException) -> str:
    """GDAL's own words, where it has some; rasterio often hides them in the cause."""
    if isinstance(error, SystemError | UnicodeDecodeError):  # words of Python's
        return NO_REASON
    text = str(error.__cause__ or error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".;")


def unlinked(error: E) -> E:
    """An error of rasterio's without GDAL's own behind it, which no other process can unpickle.

    Dask would make a bare Exception of all that is raised from it.
    """
    error.__cause__ = error.__context__ = None
    return error


def checked_dtype(dataset: Any, path: str) -> str:
    """Return the one supported dtype of all bands."""
    if dataset.count == 0 or min(dataset.shape) == 0:
        inside = (
            f"; it contains others, try {dataset.subdatasets[0]}" if dataset.subdatasets else ""
        )
        raise SceneError(
            f"{path} holds no image ({dataset.count} bands){inside or '; give another'}"
        )
    dtypes = sorted(set(dataset.dtypes))
    if len(dtypes) > 1:
        raise SceneError(
            f"{path} mixes {', '.join(dtypes)}; give its bands one type with "
            "gdal_translate -ot UInt16 (or Float32)"
        )
    if dtypes[0] not in DTYPES:
        kind = "complex numbers (radar?)" if "complex" in dtypes[0] else f"{dtypes[0]} numbers"
        raise SceneError(
            f"{path} holds {kind}, not an optical image of {', '.join(DTYPES)}; "
            "if it is one, convert it with gdal_translate -ot UInt16 (or Float32)"
        )
    return str(dtypes[0])


def check_not_negative(dataset: Any, path: str, option: str = "--bands") -> None:
    """Refuse greys of which 0 is white: clouds are dark, and ground is bright.

    That is one band, or one and alpha; nobody can have meant it of more.

    Parameters
    ----------
    option
        By which a user can name the bands all the same; "" for none.
    """
    bands = [colour.name for colour in dataset.colorinterp if colour.name != "alpha"]
    if len(bands) > 1 or dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") != "YES":
        return
    top = np.iinfo(dataset.dtypes[0]).max if dataset.dtypes[0] in ("uint8", "uint16") else "white"
    alone = dataset.count == 1
    expand = top == 255 and alone
    turn = "gdal_translate -expand gray" if expand else f"store {top} minus each number"
    named = f", or pass {option} {'p' if alone else 'p,a'} if its clouds are bright all the same"
    raise SceneError(
        f"{path} is a negative: it says that 0 is white; turn it round first ({turn})"
        f"{named if option else ''}"
    )
