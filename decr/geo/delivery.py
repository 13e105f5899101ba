"""What is in a delivery: a path, an archive, or a folder, as paths that GDAL opens."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePath, PurePosixPath

from decr.errors import SceneError, warn
from decr.files import file_there, folder_there, there

_RASTERS = (".tif", ".tiff", ".jp2")
_ZARR = (".zgroup", ".zarray", ".zmetadata", "zarr.json")


def rasters_of(path: str, out: Path | None = None) -> list[str]:
    """The rasters behind a path.

    Parameters
    ----------
    path
        A raster, URL or /vsi path, which is returned as it is; or a .zip file or a folder, whose
        TIFF and JPEG 2000 files are found at any depth, in the order of their names.
    out
        Where outputs go: what lies there, deeper in a folder, is no scene.

    Raises
    ------
    SceneError
        If an archive is damaged, or an archive or folder holds no raster.

    Warns
    -----
    DecrWarning
        If a folder cannot be listed.

    Examples
    --------
    >>> rasters_of("scene.tif"), rasters_of("/vsicurl/https://example.org/scene.tif")
    (['scene.tif'], ['/vsicurl/https://example.org/scene.tif'])
    """
    here = Path(path)
    if not path:
        raise SceneError("the name of a scene is empty; was a variable of the shell not set?")
    if is_zarr(here):
        return [f'ZARR:"{path}"']
    if folder_there(here):
        files = sorted(file.relative_to(here).as_posix() for file in _files(here, out))
        return _found([str(here / name) for name in files], path)
    if here.suffix.lower() == ".zip" and file_there(here):
        try:
            with zipfile.ZipFile(here) as archive:
                # Some programs of Windows write backslashes, which GDAL reads as these, too.
                names = _chosen(name.replace("\\", "/") for name in archive.namelist())
        except (zipfile.BadZipFile, OSError) as error:
            raise SceneError(f"{path}: cannot be read as a zip archive ({error})") from error
        return _found([f"/vsizip/{here.resolve()}/{name}" for name in names], path)
    return [path]


def raster_of(path: str) -> str:
    """The only raster behind a path; see `rasters_of`.

    Raises
    ------
    SceneError
        Also if there is more than one.
    """
    found = rasters_of(path)
    if len(found) > 1:
        raise SceneError(
            f"{path}: holds {len(found)} rasters; name one of them, or plan them all with "
            f"'decr declouds {path} -o FOLDER/ --dry-run'"
        )
    return found[0]


def _files(folder: Path, out: Path | None) -> Iterator[Path]:
    """Rasters in a folder that is not hidden, without those that lie where outputs go."""

    def tell(error: OSError) -> None:
        warn(
            f"{error.filename}: cannot be listed ({error.strerror}), what lies there is left out; "
            f"change its permissions"
        )

    whole, outputs = (Path(os.path.realpath(place)) for place in (folder, out or folder))
    inside = outputs != whole and outputs.is_relative_to(whole)
    for place, folders, names in os.walk(folder, onerror=tell):
        folders[:] = [name for name in folders if not passed_over(PurePath(name))]
        for file in (Path(place, name) for name in _chosen(names)):
            if _is_file(file) and not (inside and file.resolve().is_relative_to(outputs)):
                yield file


def _is_file(path: Path) -> bool:
    """Whether a name leads to a file; where one may not look it counts as one, and fails later."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        return isinstance(error, PermissionError)


def is_zarr(folder: Path) -> bool:
    """Whether a folder is an array, which GDAL opens under another name."""
    return any(there(folder / name) for name in _ZARR)


def _chosen(names: Iterable[str]) -> list[str]:
    """Rasters by name, without what is hidden, made by an operating system, or work under way."""
    return sorted(
        name
        for name in names
        if name.lower().endswith(_RASTERS) and not passed_over(PurePosixPath(name))
    )


def passed_over(path: PurePath) -> bool:
    """Whether a path is hidden, made by an operating system, or of work under way.

    Examples
    --------
    >>> [passed_over(PurePosixPath(p)) for p in ("a/._b.tif", "b.tif.decr-work/c", "__MACOSX/d")]
    [True, True, True]
    >>> passed_over(PurePosixPath("__a/__b.tif"))
    False
    """
    return any(
        part.startswith(".") or part.endswith(".decr-work") or part == "__MACOSX"
        for part in path.parts
    )


def skipped(path: Path, patterns: Sequence[str]) -> bool:
    """Whether a file is left out by its name, or by a part of its path if a pattern has a slash."""
    return any(fnmatch(path.name, p) or ("/" in p and p in path.as_posix()) for p in patterns)


def _found(paths: list[str], where: str) -> list[str]:
    if not paths:
        raise SceneError(f"{where}: holds no raster ({', '.join(_RASTERS)})")
    return paths
