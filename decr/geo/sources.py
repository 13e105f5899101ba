"""What files a raster is made of, and what they are by now."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from decr.errors import ConfigError, SceneError
from decr.files import there
from decr.geo.grid import Window
from decr.geo.names import OF_FILE, absolute_name, file_of
from decr.geo.opening import NO_REASON, REFUSALS, first_line, opened, unlinked

FileState = tuple[str, int, int]
"""Absolute name, bytes, and nanosecond of the last change; a whole second is compared as such."""

_SECOND = 10**9
_STATES = 1000
"""Files of a raster whose states are kept: an array may have a million, and a few tell a copy."""


def local_files(path: str) -> list[Path]:
    """The files of this machine that a raster's pixels and masks are read from, sorted.

    Sources of virtual rasters are among them, and archives; neither are files elsewhere, nor
    statistics that other programs leave beside a raster.

    Raises
    ------
    SceneError
        If GDAL refuses the raster, or a virtual one that it is made of.
    """
    return sorted({file for name in _names_of(path) if (file := file_of(name)) is not None})


def all_here(path: str) -> bool:
    """Whether all files that a raster is read from are of this machine, where `local_files` sees.

    Raises
    ------
    SceneError
        As `local_files` does.
    """
    # A raster in a file has a name that is none of a file.
    files = [file_of(name) for name in _names_of(path) if name != path or file_of(name)]
    return bool(files) and None not in files


def _names_of(path: str) -> Iterator[str]:
    """The raster's name, and what GDAL calls the files that it is read from."""
    seen, todo = set(), [path]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        if name.endswith(".aux.xml") and name != path:
            continue
        yield name
        if name == path or name.lower().endswith(".vrt") or name.startswith(OF_FILE):
            with opened(name) as dataset:
                todo += dataset.files
                if dataset.driver == "Zarr":  # GDAL names none of its chunks
                    files = [Path(file) for file in dataset.files]
                    arrays = {file if file.is_dir() else file.parent for file in files}
                    todo += [str(f) for array in arrays for f in array.rglob("*") if f.is_file()]


def check_parts(path: str) -> None:
    """Refuse a virtual raster whose pixels GDAL cannot make, of which it does not always tell.

    Then numbers that lay in memory are pixels. That is one which is made of a file of this machine
    that is not there, or of a function that fails.

    Raises
    ------
    SceneError
        Naming what is missing. What is no virtual raster, or one that GDAL refuses, is let pass.
    """
    seen, todo, computed = set(), [Path(path)], False
    while todo:
        virtual = todo.pop()
        if virtual in seen or virtual.suffix.lower() != ".vrt":
            continue
        seen.add(virtual)
        root = _described(virtual)
        computed |= _is_computed(root, path)
        parts = _parts_of(root, virtual)
        for part in parts:
            if not there(part):
                raise SceneError(
                    f"{path}: {part}, which it is made of, is not there; put it back, or make "
                    f"{virtual.name} without it"
                )
        todo += parts
    if computed:
        _check_computed(path)


def _described(virtual: Path) -> ET.Element:
    """What a virtual raster says, without its overviews: GDAL does without them, too."""
    try:
        content = virtual.read_bytes()
        try:
            root = ET.fromstring(content)
        except ET.ParseError:  # GDAL takes names of any bytes
            root = ET.fromstring(content, ET.XMLParser(encoding="latin-1"))
            for element in root.iter():
                element.text = os.fsdecode((element.text or "").encode("latin-1", "replace"))
    except (OSError, ET.ParseError):
        return ET.Element("VRTDataset")
    for band in root.iter("VRTRasterBand"):
        for overview in band.findall("Overview"):
            band.remove(overview)
    return root


def _parts_of(root: ET.Element, virtual: Path) -> list[Path]:
    """Files of this machine that the pixels of a virtual raster come from, as it names them."""
    folder, parts = Path(os.path.realpath(virtual)).parent, set()
    for element in root.iter():
        name = (element.text or "").strip()
        # Others are of archives, of other machines, or arrays in files.
        if element.tag in ("SourceFilename", "SourceDataset") and re.match("(?!/vsi)[^:<]+$", name):
            beside = "1" in (element.get("relativeToVRT"), element.get("relativetoVRT"))
            parts.add(folder / name if beside else Path(name))
    return sorted(parts)


def _is_computed(root: ET.Element, path: str) -> bool:
    """Whether bands of a virtual raster are made by functions.

    Of several such bands, GDAL reads zeros beyond the first block where sources have no place.
    """
    bands = root.findall("VRTRasterBand")
    computed = [band for band in bands if band.get("subClass") == "VRTDerivedRasterBand"]
    sources = [s for band in computed for s in band if s.find("SourceFilename") is not None]
    placed = all(s.find(rect) is not None for s in sources for rect in ("SrcRect", "DstRect"))
    if len(bands) > 1 and not placed:
        raise SceneError(
            f"{path}: its bands are computed from sources without a place, of which GDAL does not "
            f"read all; give each source a SrcRect and a DstRect"
        )
    return bool(computed)


def _check_computed(path: str) -> None:
    """Refuse a raster whose functions fail; each band is computed at its first pixel."""
    first = Window(0, 0, 1, 1).to_rasterio()
    with opened(path) as dataset:
        for band in dataset.indexes:
            reason = None
            try:
                dataset.read(band, window=first)
                reason = NO_REASON  # but that it fails, if asked for a checksum
                dataset.checksum(band, window=first)
            except REFUSALS as error:
                reason = reason or first_line(error)
                raise SceneError(
                    f"{path}: its band {band} cannot be computed: {reason}; mend its pixel "
                    f"function, or store its result as a GeoTIFF where GDAL can compute it"
                ) from unlinked(error)


def states_of(rasters: Iterable[str], elsewhere: bool = False) -> tuple[FileState, ...]:
    """States of files on this machine that all who read these rasters must find alike.

    Parameters
    ----------
    elsewhere
        Whether other machines read them, too, by other systems of files or from copies. Not all
        tell more of a change than its second.

    Raises
    ------
    SceneError
        As `local_files` does.
    ConfigError
        If others would look for a file in their own folders.
    """
    found: list[FileState] = []
    for raster in rasters:
        files = local_files(absolute_name(raster))
        relative = next((file for file in files if not file.is_absolute()), None)
        if elsewhere and relative is not None:
            raise ConfigError(
                f"{raster}: other processes would look for {relative} in their own folders; write "
                f"{relative.absolute()} in its place"
            )
        found += [state_of(str(file)) for file in files[:_STATES]]
    if elsewhere:
        return tuple((name, size, _second(changed)) for name, size, changed in found)
    return tuple(found)


def state_of(file: str) -> FileState:
    """What a file is by now; of one that is not there 0 bytes."""
    try:
        stat = os.stat(file)  # noqa: PTH116 (names are text that travels)
    except OSError:
        return file, 0, 0
    return file, stat.st_size, stat.st_mtime_ns


def _second(nanosecond: int) -> int:
    """The beginning of the second, in nanoseconds."""
    return nanosecond // _SECOND * _SECOND


def check_states(files: Sequence[FileState]) -> None:
    """Refuse files that are not what they were where the run began.

    Raises
    ------
    SceneError
        Naming the file.
    """
    for name, *began in files:
        _, size, changed = state_of(name)
        now = [size, changed if began[1] % _SECOND else _second(changed)]
        if now == [0, 0] != began:
            raise SceneError(
                f"{name} cannot be seen here, but where the run began: it is gone since, or this "
                f"process does not see it by this path; put it there, and start again"
            )
        if now != began:
            raise SceneError(
                f"{name}: [bytes, nanosecond of change] are {now} here and were {began} where the "
                f"run began: it was changed since, or another process reads another; leave it be, "
                f"let all processes read one file, or copies that keep its time (cp -p), and start "
                f"again"
            )
