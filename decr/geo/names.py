"""Names of rasters as text: paths, GDAL's own names and addresses."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs

from decr.errors import SceneError
from decr.files import file_there, there

OF_FILE = "vrt://"
"""What GDAL puts before a file's name whose bands or area are chosen after a question mark."""

# "/vsizip/a.zip/b.tif" -> a.zip/b.tif, "/vsisubfile/0_9,a.tif" -> a.tif
_AROUND = re.compile(r"/vsi(?:(?:zip|tar|gzip|7z|rar)/|subfile/[^,]*,|cached\?)")
"""What GDAL puts before names of files, or of archives they are in, that may be of this machine."""

# "/vsicurl?max_retry=3&url=https%3A//h/a.tif" -> max_retry=3&url=https%3A//h/a.tif
_OPTIONS = re.compile(r"[^?]*/vsi\w+\?(.*)")
"""A name of GDAL's that begins with options, one of which is the name of the file."""

# "cannot open https://h/a.tif?key=1." -> https://h/a.tif?key=1 (the full stop is the sentence's)
# "/vsicurl?url=https%3A//h/a.tif: gone" -> /vsicurl?url=https%3A//h/a.tif
_ADDRESS = re.compile(
    r"""(?:(?:\w[\w+.-]*://|/vsi\w+/)[^"?]*|/vsi\w+(?=\?))"""  # up to the question mark
    r"""(?:\?[^\s"]*?(?=[:;,.)\]}>']*(?:["\s]|$)))?"""  # its query, up to what ends a sentence
)
"""An address or a path of GDAL's in a text, whose punctuation is no part of its query."""


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


def absolute_name(path: str) -> str:
    """The name of a raster as it holds in every folder; of files elsewhere it stays as it is.

    Names of other forms that lead to files here stay relative, too (``vrt://s.tif?bands=1``).
    """
    before, name, after = _parts(path)
    if name.startswith("/") or not _begins_here(name):
        return path
    return f"{before}{Path.cwd()}/{name}{after}"


def settled_name(path: str) -> str:
    """As `absolute_name`, and without links, dots and repeated slashes: one name for one file."""
    before, name, after = _parts(path)
    return f"{before}{os.path.realpath(name)}{after}" if _begins_here(name) else path


def _parts(path: str) -> tuple[str, str, str]:
    """What GDAL has before the name of a file or archive, that name, and what comes after it."""
    inside = re.match(r'\w+:"|(?:/vsi(?:zip|tar|gzip|7z|rar)/\{?)+', path)
    before = inside[0] if inside else ""
    rest, end = path[len(before) :], {'"': '"', "{": "}"}.get(before[-1:])
    name = rest if end is None else rest.partition(end)[0]
    return before, name, rest[len(name) :]


def _begins_here(name: str) -> bool:
    """Whether the outermost folder of a file's name, or the file, is on this machine."""
    parts = Path(name).parts
    return there(Path(*parts[: 2 if name.startswith("/") else 1]))


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
    if path.startswith(OF_FILE):
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
    within = address.removeprefix(OF_FILE)
    if file_of(address) or (within != address and not ("://" in within or "/vsi" in within)):
        return address  # of this machine: a question mark is part of a name, or says which bands
    while options := _OPTIONS.match(address):
        given = parse_qs(options[1])
        address = (given.get("url") or given.get("file") or [address.partition("?")[0]])[0]
    return re.sub("(?<=://)[^/?]*@", "", address).partition("?")[0]


def file_of(name: str) -> Path | None:
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
