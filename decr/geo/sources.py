"""What files a raster is made of, and what they are by now."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from decr.errors import SceneError
from decr.files import there
from decr.geo.names import OF_FILE, file_of
from decr.geo.opening import opened

FileState = tuple[str, int, int]
"""Absolute name, bytes, and second of the last change, finer than which not all systems tell."""


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
                    arrays = [Path(file).parent for file in dataset.files]
                    todo += [str(f) for array in arrays for f in array.rglob("*") if f.is_file()]


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
