"""The files that a run writes: under which names, and what must never be overwritten."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path

from decr.config import DecloudConfig
from decr.errors import OutputError, OutputExistsError, SceneError
from decr.files import check_here, there, work_folder
from decr.geo.output import check_sidecars
from decr.geo.sources import local_files
from decr.pipeline.error_map import ERRORS, error_map_path
from decr.pipeline.journal import OUTPUT, Done, made_by, may_have_made

_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff]")
"""What cannot stand in XML; Python has surrogates for bytes of a name that are not UTF-8."""


def outputs_of(target: Path, config: DecloudConfig) -> Mapping[str, Path]:
    """The files of a run by what the journal calls them, the output first."""
    more = {ERRORS: error_map_path(target)} if config.error_map else {}
    return {OUTPUT: target, **more}


def check_taken(outputs: Mapping[str, Path], done: Done) -> None:
    """Refuse a file that exists and that this very job, which has finished so much, did not make.

    Raises
    ------
    OutputExistsError
        Naming it.
    """
    for kind, file in outputs.items():
        if file.exists() and not made_by(done, file, kind):
            raise exists_already(file)


def check_outputs(
    path: str, config: DecloudConfig, outputs: Mapping[str, Path], overwrite: bool
) -> None:
    """Refuse, before any work, names that cannot be written to or that hold what is read.

    Raises
    ------
    OutputError
        If a name is a folder or a device, impossible, taken by another run's file without
        ``overwrite``, or that of a file which this run reads. Files that GDAL would take for parts
        of the output are deleted with an earlier one; they are looked at alike.
    SceneError
        If a raster that is read cannot be opened.
    """
    out = outputs[OUTPUT]
    _check_names(path, outputs)
    read = functools.cache(lambda: _read_files(path, config))
    for kind, file in outputs.items():
        if file.is_dir():
            raise OutputError(f"{file}: is a folder; move it, or give another name than {out}")
        if file.exists() and not file.is_file():
            raise OutputError(f"{file}: is no ordinary file; give another name for the output")
        if file.exists() and any(file.samefile(one) for one in read()):
            raise OutputError(
                f"{file}: is the input itself, or a part of it; decr never overwrites its input"
            )
        if file.exists() and not overwrite and not may_have_made(out, file, kind):
            raise exists_already(file)
        check_sidecars(file, read, overwrite)


def _check_names(path: str, outputs: Mapping[str, Path]) -> None:
    """Refuse names that no file, no output or no virtual raster can have."""
    out = outputs[OUTPUT]
    check_here(out)
    try:
        for file in outputs.values():
            work_folder(file).exists()  # of all names that are made beside it the longest
    except OSError as error:
        raise OutputError(
            f"{out}: cannot be a file's name, with others such as {work_folder(file).name} beside "
            f"it ({error.strerror}); give another, such as a shorter one"
        ) from error
    if out.is_dir():
        raise OutputError(
            f"{out}: is a folder; give a file name such as {out / 'clear.tif'}, "
            f"or end the folder's name with a /"
        )
    if not out.parent.is_dir():
        raise OutputError(f"{out}: the folder {out.parent} does not exist; make it first")
    scene = str(Path(path).absolute()) if there(path) else path
    for name, kind in ((str(out.absolute()), OutputError), (scene, SceneError)):
        if _NO_TEXT.search(name):
            raise kind(
                f"{name!r}: GDAL needs names that are UTF-8 text without control characters; "
                f"rename it, or name it by a symbolic link from a folder with such a name"
            )


def _read_files(path: str, config: DecloudConfig) -> list[Path]:
    """The files on this machine that a run reads."""
    named = [config.aoi, config.model, config.detector]
    found = [Path(name) for name in named if name is not None]
    for raster in (path, config.cloud_mask):
        if raster is not None:
            found += local_files(str(raster))
    return [file for file in found if there(file)]


def exists_already(out: Path) -> OutputExistsError:
    """What to say of a file that is there."""
    return OutputExistsError(f"{out}: exists already; pass --overwrite to replace it")
