"""Many scenes in one call: where each goes, and going on after one that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from decr.config import DecloudConfig, options
from decr.errors import (
    ConfigError,
    DecrError,
    OutputError,
    OutputExistsError,
    SchedulerError,
    one_line,
)
from decr.files import check_disk, check_here, check_writable, there, work_folder
from decr.geo.names import stem_of
from decr.pipeline.declouds import DecloudResult, OnReport, declouds
from decr.pipeline.engine import Engine
from decr.pipeline.error_map import error_map_path
from decr.pipeline.finished_outputs import forget, is_noted, note
from decr.pipeline.first_pass import plan_scene
from decr.pipeline.journal import may_have_made
from decr.pipeline.outputs import check_outputs, outputs_of
from decr.pipeline.plan import Plan
from decr.progress import OnProgress


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one scene, or would.

    Attributes
    ----------
    scene, out
        As given, and the file it belongs to.
    result
        None if the scene failed, was finished by an earlier call, or is only planned.
    error
        What is wrong with it, in one line; None if nothing is.
    plan
        What would be done, where that is all that was asked.
    """

    scene: str
    out: Path
    result: DecloudResult | None = None
    error: str | None = None
    plan: Plan | None = None


def targets(scenes: Sequence[str], folder: Path, error_map: bool = False) -> list[Path]:
    """The output of every scene: its own name with .tif, in the folder.

    Parameters
    ----------
    scenes
        Paths, /vsi paths or URLs; a query (``?...``) is no part of a name.
    error_map
        Whether a map of errors goes beside each.

    Raises
    ------
    ConfigError
        If two files would have one name.

    Examples
    --------
    >>> [path.name for path in targets(["in/a.vrt", "/vsizip/s.zip/b.tif"], Path("out"))]
    ['a.tif', 'b.tif']
    """
    found: dict[Path, str] = {}
    for scene in scenes:
        target = folder / f"{stem_of(scene)}.tif"
        if target in found:
            raise ConfigError(
                f"{found[target]} and {scene} would both become {target}; restore them in two "
                f"calls, into two folders"
            )
        found[target] = scene
    for out in found.keys() & {error_map_path(out) for out in found if error_map}:
        raise ConfigError(
            f"{out} would be both an output and another's map of errors; restore them in two "
            f"calls, into two folders"
        )
    return list(found)


def finished(scene: str, out: Path) -> bool:
    """Whether an earlier call has made the output of a scene, which then is left alone."""
    return there(out) and not may_have_made(out) and not _same(scene, out)


def declouds_many(
    scenes: Sequence[str],
    folder: Path,
    config: DecloudConfig | None = None,
    *,
    engine: Engine | None = None,
    overwrite: bool = False,
    on_start: Callable[[str, Path], None] | None = None,
    on_progress: OnProgress | None = None,
    on_report: OnReport | None = None,
    has_report: Callable[[Path], bool] | None = None,
) -> Iterator[Outcome]:
    """Remove the clouds of scenes, each told as it is done; one that fails does not stop the rest.

    Scenes whose output is there already are left alone, so that the same call goes on where it was
    interrupted; with ``overwrite`` only those that the same call has made since it last ended
    without a scene that failed. Once a Dask scheduler is lost or does not answer, none of the rest
    is begun.

    Parameters
    ----------
    folder
        Made if it is not there. See `targets`.
    on_start
        Called with each scene and its output before it is begun.
    has_report
        Whether the report of an output is there; with ``overwrite`` none without it is left alone.
    config, engine, overwrite, on_progress, on_report
        As for `decr.declouds`.

    Raises
    ------
    ConfigError
        If two outputs would be written to one file.
    OutputError
        If the folder cannot be made.
    """
    config = options(DecloudConfig, config)
    outputs = targets(scenes, folder, config.error_map)
    check_here(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make this folder ({error.strerror})") from error
    lost, failed = "", False
    for scene, out in zip(scenes, outputs, strict=True):
        jobs: list[Mapping[str, Any]] = []
        if on_start is not None:
            on_start(scene, out)
        if _left(scene, out, config, overwrite, has_report, None if lost else engine):
            outcome = Outcome(scene, out)
        elif lost:
            outcome = Outcome(scene, out, error=lost)
        else:
            work = partial(
                declouds,
                scene,
                out,
                config,
                engine=engine,
                overwrite=overwrite,
                on_progress=on_progress,
                on_report=on_report,
                on_job=jobs.append,
            )
            try:
                outcome = _tried(scene, out, work)
            except SchedulerError as error:
                lost = one_line(error)
                outcome = Outcome(scene, out, error=lost)
        if overwrite and outcome.result is not None:
            note(scene, out, config, jobs[-1])
        failed = failed or outcome.error is not None
        yield outcome
    if not failed:
        for out in outputs:
            forget(out)


def _tried(scene: str, out: Path, work: Callable[[], DecloudResult]) -> Outcome:
    """What becomes of a scene; only the loss of a scheduler is raised."""
    try:
        return Outcome(scene, out, work())
    except OutputExistsError as error:
        # What was left of another run made it look as if that was still to be finished.
        said = None if there(out) and not _same(scene, out) else str(error)
        return Outcome(scene, out, error=said)
    except SchedulerError:
        raise
    except DecrError as error:
        return Outcome(scene, out, error=one_line(error))


def plan_checked(
    scene: str,
    out: Path,
    config: DecloudConfig,
    *,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> Plan:
    """What `declouds` would do, refused where it would be; nothing is written.

    Raises
    ------
    DecrError
        As `declouds` does, before its first tile.
    """
    check_outputs(scene, config, outputs_of(out, config), overwrite)
    check_disk(work_folder(out), out)
    check_writable(out.parent)
    return plan_scene(scene, config, on_progress)


def plans_many(
    scenes: Sequence[str],
    folder: Path,
    config: DecloudConfig,
    *,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    has_report: Callable[[Path], bool] | None = None,
) -> Iterator[Outcome]:
    """What `declouds_many` would do, scene by scene; nothing is written.

    Raises
    ------
    DecrError
        If two outputs would be written to one file, the folder could not be made or written to, or
        the only scene fails.
    """
    outputs = targets(scenes, folder, config.error_map)
    check_writable(folder)
    for scene, out in zip(scenes, outputs, strict=True):
        if _left(scene, out, config, overwrite, has_report):
            yield Outcome(scene, out)
            continue
        try:
            if there(folder):
                plan = plan_checked(
                    scene, out, config, overwrite=overwrite, on_progress=on_progress
                )
            else:  # nothing is in it to refuse
                plan = plan_scene(scene, config, on_progress)
        except DecrError as error:
            if len(scenes) == 1:
                raise
            yield Outcome(scene, out, error=one_line(error))
        else:
            yield Outcome(scene, out, plan=plan)


def _left(
    scene: str,
    out: Path,
    config: DecloudConfig,
    overwrite: bool,
    has_report: Callable[[Path], bool] | None,
    engine: Engine | None = None,
) -> bool:
    """Whether an output is left alone: any, or with ``overwrite`` what the same call has made."""
    if not overwrite:
        return finished(scene, out)
    return (has_report is None or has_report(out)) and is_noted(scene, out, config, engine)


def _same(scene: str, out: Path) -> bool:
    """Whether a scene lies where its output belongs; `declouds` then says so."""
    return there(scene) and out.samefile(scene)
