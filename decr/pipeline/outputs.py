"""The files that a run writes: under which names, and what must never be overwritten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from decr.config import DecloudConfig
from decr.errors import OutputError, OutputExistsError, SceneError
from decr.geo.opening import local_files
from decr.pipeline.error_map import KIND, error_map_path
from decr.pipeline.journal import WorkDir, may_have_made

OUTPUT = "output"
"""What the journal calls it."""


def outputs_of(target: Path, config: DecloudConfig) -> Mapping[str, Path]:
    """The files of a run by what the journal calls them, the output first."""
    more = {KIND: error_map_path(target)} if config.error_map else {}
    return {OUTPUT: target, **more}


def taken_of(outputs: Mapping[str, Path], work: WorkDir) -> Path | None:
    """A file that exists and that this very job did not make."""
    there = (file for kind, file in outputs.items() if file.exists() and not work.made(file, kind))
    return next(there, None)


def check_outputs(
    path: str, config: DecloudConfig, outputs: Mapping[str, Path], overwrite: bool
) -> None:
    """Refuse, before any work, names that cannot be written to or that hold what is read.

    Raises
    ------
    OutputError
        If a name is a folder, impossible, taken by another run's file without ``overwrite``, or
        that of a file which this run reads.
    SceneError
        If a raster that is read cannot be opened.
    """
    out = outputs[OUTPUT]
    try:
        for file in outputs.values():
            file.exists()
    except OSError as error:
        raise OutputError(f"{out}: cannot be a file's name ({error.strerror})") from error
    if out.is_dir():
        raise OutputError(
            f"{out}: is a folder; give a file name such as {out / 'clear.tif'}, "
            f"or end the folder's name with a /"
        )
    if not out.parent.is_dir():
        raise OutputError(f"{out}: the folder {out.parent} does not exist; make it first")
    for kind, file in outputs.items():
        if file.is_dir():
            raise OutputError(f"{file}: is a folder; move it, or give another name than {out}")
        if file.exists() and any(file.samefile(read) for read in _read_files(path, config)):
            raise OutputError(
                f"{file}: is the input itself, or a part of it; decr never overwrites its input"
            )
        if file.exists() and not overwrite and not may_have_made(out, file, kind):
            raise exists_already(file)


def check_report(
    folder: Path, scenes: Sequence[str], outs: Sequence[Path], config: DecloudConfig
) -> None:
    """Refuse a folder for reports in which one would replace what is read.

    Raises
    ------
    OutputError
        If that is so.
    """
    reports = [folder / f"{out.stem}{suffix}" for out in outs for suffix in (".json", ".html")]
    there = [file for file in reports if file.exists()]
    if not there:
        return
    read: set[Path] = set()
    for scene in scenes:
        with suppress(SceneError):  # said when its turn comes
            read |= {file.resolve() for file in _read_files(scene, config)}
    for file in there:
        if file.resolve() in read:
            raise OutputError(f"{file}: is read by this very run; name another folder for reports")


def _read_files(path: str, config: DecloudConfig) -> list[Path]:
    """The files on this machine that a run reads."""
    named = [config.aoi, config.model, config.detector]
    found = [Path(name) for name in named if name is not None]
    for raster in (path, config.cloud_mask):
        if raster is not None:
            found += local_files(str(raster))
    return [file for file in found if file.exists()]


def exists_already(out: Path) -> OutputExistsError:
    """What to say of a file that is there."""
    return OutputExistsError(f"{out}: exists already; pass --overwrite to replace it")
