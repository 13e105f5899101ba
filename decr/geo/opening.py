"""Opening rasters: what GDAL refuses becomes one sentence that says which file and what to do."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import parse_qs
from xml.etree import ElementTree as ET

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from decr.errors import SceneError
from decr.files import file_there, folder_there, there
from decr.forks import fork_lock

E = TypeVar("E", bound=BaseException)

DTYPES = ("uint8", "uint16", "int16", "float32", "float64")

# GDAL's own errors pass through rasterio unwrapped in places.
REFUSALS = (CPLE_BaseError, RasterioError, OSError)

FileState = tuple[str, int, int]
"""Absolute name, bytes, and second of the last change, finer than which not all systems tell."""
_AROUND = re.compile(r"/vsi(?:(?:zip|tar|gzip|7z|rar)/|subfile/[^,]*,|cached\?)")
"""What GDAL puts before names of files, or of archives they are in, that may be of this machine."""
_OPTIONS = re.compile(r"[^?]*/vsi\w+\?(.*)")
"""A name of GDAL's that begins with options, one of which is the name of the file."""
_ADDRESS = re.compile(
    r"""(?:(?:\w[\w+.-]*://|/vsi\w+/)[^"?]*|/vsi\w+(?=\?))"""
    r"""(?:\?[^\s"]*?(?=[:;,.)\]}>']*(?:["\s]|$)))?"""
)
"""An address or a path of GDAL's in a text, whose punctuation is no part of its query."""
_OF_FILE = "vrt://"
"""What GDAL puts before a file's name whose bands or area are chosen after a question mark."""
_VECTORS = (".geojson", ".json", ".gpkg", ".shp", ".fgb", ".kml")
_PNG_END = b"IEND\xaeB`\x82"
"""Last chunk of a PNG with its checksum."""
_PNG_TAIL = 1 << 16
"""Bytes at the end in which it is looked for: some programs write more behind it."""

# The filters of the warnings module belong to the process: opening in several threads at once
# could restore them in the wrong order and leave ours behind.
_opening = fork_lock()


def name_of(path: str | os.PathLike[str]) -> str:
    """The name of a raster: file name, /vsi path or URL.

    Raises
    ------
    SceneError
        If it is something else, such as an array.
    """
    try:
        return os.fsdecode(path)
    except TypeError:
        raise SceneError(
            f"a scene is named by its path or URL, not by a {type(path).__name__}; for arrays "
            f"there are decr.declouds_array, decr.ccp and decr.cloud_mask"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep rasterio from saying that a raster lies nowhere on the map.

    For moments, in which no other thread may open rasters, nor this one by `opened`.
    """
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@contextmanager
def opened(path: str, overview: int | None = None) -> Iterator[Any]:
    """Open with rasterio; missing georeference is no surprise, failures are explained.

    Parameters
    ----------
    overview
        Opens this overview (0 is the finest) as if it were the raster; None the raster itself.

    Raises
    ------
    SceneError
        If GDAL refuses.
    """
    try:
        with quiet():
            level = {} if overview is None else {"overview_level": overview}
            dataset = rasterio.open(path, **level)
    except (*REFUSALS, UnicodeError) as error:
        raise SceneError(_why_not_open(path, error)) from unlinked(error)
    with dataset:
        if dataset.driver == "PNG":
            _check_whole_png(path)
        yield dataset


def local_files(path: str) -> list[Path]:
    """The files of this machine that a raster's pixels and masks are read from, sorted.

    Sources of virtual rasters are among them, and archives; neither are files elsewhere, nor
    statistics that other programs leave beside a raster.

    Raises
    ------
    SceneError
        If GDAL refuses the raster, or a virtual one that it is made of.
    """
    found, seen, todo = set(), set(), [path]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        if name.endswith(".aux.xml") and name != path:
            continue
        file = _file_of(name)
        if file is not None:
            found.add(file)
        if name == path or name.lower().endswith(".vrt") or name.startswith(_OF_FILE):
            with opened(name) as dataset:
                todo += dataset.files
                if dataset.driver == "Zarr":  # GDAL names none of its chunks
                    arrays = [Path(file).parent for file in dataset.files]
                    found |= {f for array in arrays for f in array.rglob("*") if f.is_file()}
    return sorted(found)


def _file_of(name: str) -> Path | None:
    """The file of this machine that a GDAL name leads to, which may be an archive; None if none."""
    braces = 0
    while around := _AROUND.match(name):
        name = name[around.end() :]
        if around[0] == "/vsicached?":
            name = parse_qs(name).get("file", [""])[0]
        # An archive's own name may stand in braces, where it does not end like one.
        braces += name.startswith("{")
        name = name.removeprefix("{")
    if name.startswith("/vsi"):
        return None
    for _ in range(braces):
        name = "".join(name.rsplit("}", 1))
    path = Path(name)
    return next((file for file in (path, *path.parents) if file_there(file)), None)


def check_parts(path: str) -> None:
    """Refuse a virtual raster that is made of a file of this machine which is not there.

    Where it is read, GDAL does not always tell that: then numbers that lay in memory are pixels.

    Raises
    ------
    SceneError
        Naming the missing file. What is no virtual raster, or one that GDAL refuses, is let pass.
    """
    seen, todo = set(), [Path(path)]
    while todo:
        virtual = todo.pop()
        if virtual in seen or virtual.suffix.lower() != ".vrt":
            continue
        seen.add(virtual)
        parts = _parts_of(virtual)
        for part in parts:
            if not there(part):
                raise SceneError(
                    f"{path}: {part}, which it is made of, is not there; put it back, or make "
                    f"{virtual.name} without it"
                )
        todo += parts


def _parts_of(virtual: Path) -> list[Path]:
    """Files of this machine that the pixels of a virtual raster come from, as it names them."""
    try:
        root = ET.fromstring(virtual.read_bytes())
    except (OSError, ET.ParseError):
        return []
    for band in root.iter("VRTRasterBand"):
        for overview in band.findall("Overview"):  # GDAL does without
            band.remove(overview)
    folder, parts = Path(os.path.realpath(virtual)).parent, set()
    for element in root.iter():
        name = (element.text or "").strip()
        # Others are of archives, of other machines, or arrays in files.
        if element.tag in ("SourceFilename", "SourceDataset") and re.match("(?!/vsi)[^:<]+$", name):
            beside = "1" in (element.get("relativeToVRT"), element.get("relativetoVRT"))
            parts.add(folder / name if beside else Path(name))
    return sorted(parts)


def absolute_name(path: str) -> str:
    """The name of a raster as it holds in every folder; of files elsewhere it stays as it is.

    Names of other forms that lead to files here stay relative, too (``vrt://s.tif?bands=1``).
    """
    inside = re.match(r'\w+:"|(?:/vsi(?:zip|tar|gzip|7z|rar)/\{?)+', path)
    start = inside.end() if inside else 0
    name = path[start:]
    ends = '[/"}]' if path[:start].endswith("{") else '[/"]'
    if name.startswith("/") or not there(re.split(ends, name)[0] or "."):
        return path
    return f"{path[:start]}{Path.cwd()}/{name}"


def stem_of(path: str) -> str:
    """The name of a scene, of which folders, the suffix and a URL's query (``?...``) are no part.

    Examples
    --------
    >>> stem_of("in/a.vrt"), stem_of("https://host/b.tif?key=x/y.z"), stem_of("")
    ('a', 'b', 'scene')
    >>> stem_of('ZARR:"in/c.zarr"'), stem_of('NETCDF:"in/d.nc":red'), stem_of("in?/e?.tif")
    ('c', 'd', 'e?')
    >>> stem_of("/vsicurl?max_retry=3&url=https%3A//host/f.tif%3Fkey=x")
    'f'
    """
    quoted = re.match(r'\w+:"(.+)"', path)
    path = quoted[1] if quoted else path
    if "://" in path or path.startswith("/vsi"):
        path = _keyless(path)
    if path.startswith(_OF_FILE):
        path = path.partition("?")[0]
    return PurePosixPath(path.replace("\\", "/")).stem or "scene"


def without_keys(text: str) -> str:
    """A text for files that are passed on: its addresses without query (``?...``) and user.

    These hold what opens a signed address, for as long as it is valid.

    Examples
    --------
    >>> without_keys("https://me:word@host/s.tif?sig=x: is empty"), without_keys("in?/e?.tif")
    ('https://host/s.tif: is empty', 'in?/e?.tif')
    """
    return _ADDRESS.sub(lambda found: _keyless(found[0]), text)


def _keyless(address: str) -> str:
    within = address.removeprefix(_OF_FILE)
    if _file_of(address) or (within != address and not ("://" in within or "/vsi" in within)):
        return address  # of this machine: a question mark is part of a name, or says which bands
    while options := _OPTIONS.match(address):
        given = parse_qs(options[1])
        address = (given.get("url") or given.get("file") or [address.partition("?")[0]])[0]
    return re.sub("(?<=://)[^/?]*@", "", address).partition("?")[0]


def _check_whole_png(path: str) -> None:
    """Refuse a PNG that was cut off: GDAL reads zeros for what is missing, and only warns."""
    file = Path(path)
    if not file.is_file():  # inside an archive, say
        return
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - _PNG_TAIL))
        if _PNG_END not in stream.read():
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
    polygons = file.suffix.lower() in _VECTORS
    remedy = "make one of its polygons with gdal_rasterize" if polygons else "give a GeoTIFF"
    return f"{path} is not a raster that GDAL can read: {first_line(error)}; {remedy}"


def first_line(error: BaseException) -> str:
    """GDAL's own words; rasterio often hides them in the cause."""
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


def state_of(file: str) -> FileState:
    """What a file is by now; of one that is not there 0 bytes."""
    try:
        stat = os.stat(file)  # noqa: PTH116 (names are text that travels)
    except OSError:
        return file, 0, 0
    return file, stat.st_size, int(stat.st_mtime)


def check_states(files: Sequence[FileState]) -> None:
    """Refuse files that are not what they were where the run began.

    Raises
    ------
    SceneError
        Naming the file.
    """
    for name, *began in files:
        _, *now = state_of(name)
        if now == [0, 0] != began:
            raise SceneError(
                f"{name} cannot be seen here, but where the run began: it is gone since, or this "
                f"process does not see it by this path; put it there, and start again"
            )
        if now != began:
            raise SceneError(
                f"{name}: [bytes, second of change] are {now} here and were {began} where the "
                f"run began: it was changed since, or another process reads another; leave it be, "
                f"let all processes read one file, or copies that keep its time (cp -p), and start "
                f"again"
            )
