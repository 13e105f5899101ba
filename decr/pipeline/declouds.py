"""`decr declouds`: a cloudy scene in, a cloud-free scene out, everything else as it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from decr.config import DecloudConfig, options
from decr.errors import DecrError
from decr.geo.gdal import gdal_environment
from decr.geo.names import name_of
from decr.geo.output import write_cog
from decr.geo.overlay import Patch
from decr.geo.quicklook import look_px_of
from decr.geo.sources import check_states
from decr.pipeline.change_map import ChangeMap
from decr.pipeline.cluster import open_engine
from decr.pipeline.engine import Engine
from decr.pipeline.error_map import ERRORS, write_error_map
from decr.pipeline.first_pass import survey_and_plan
from decr.pipeline.ground import LEVELS_FILE, Ground, measure_ground
from decr.pipeline.identity import check_files, job_of, tags_of
from decr.pipeline.journal import OUTPUT, WorkDir, discard, still_whole, work_dir
from decr.pipeline.mapped import let_go
from decr.pipeline.memory import giving_back
from decr.pipeline.outputs import check_outputs, check_taken, outputs_of
from decr.pipeline.plan import Plan
from decr.pipeline.prepare import Prepared, prepare
from decr.pipeline.report import looked_at, restoration_report
from decr.pipeline.restoration import Restoration
from decr.pipeline.restore import restore_blocks
from decr.pipeline.seams import Seams, seams_of
from decr.predictor import Restorer
from decr.progress import OnProgress, silent
from decr.report.values import RestorationReport


@dataclass(frozen=True, slots=True, kw_only=True)
class DecloudResult:
    """What became of a scene.

    Attributes
    ----------
    out
        The file written.
    restored, copied, skipped
        Tiles.
    changed_px
        Pixels that differ from the input in any band.
    ccp_before
        Cloudy valid pixels / valid pixels before, 0..1.
    seconds
        Sum of ``stages_s``.
    resumed
        Whether an interrupted run was continued.
    seams
        How visible tile borders are.
    stages_s
        Seconds by stage: preparing, survey, ground, restore, write; and report, if one was wanted.
    tags
        What the output's tag domain DECR says of model, options and scene.
    ccp_after
        As ``ccp_before``, of the output, by the same detector; None unless a report was wanted,
        or if the clouds came from a mask.
    error_map
        The map of expected errors, if one was wanted.
    """

    out: str
    restored: int
    copied: int
    skipped: int
    changed_px: int
    ccp_before: float
    seconds: float
    resumed: bool
    seams: Seams
    stages_s: Mapping[str, float]
    tags: Mapping[str, str]
    ccp_after: float | None = None
    error_map: str | None = None


OnReport = Callable[[DecloudResult, RestorationReport], None]


def _ground(
    prepared: Prepared,
    change: ChangeMap,
    plan: Plan,
    engine: Engine,
    work: WorkDir,
    on_progress: OnProgress,
) -> Ground | None:
    """Levels of clear ground around what is to be restored, or those an interrupted run found."""
    if not prepared.config.ground or change.rule is None or not plan.work:
        return None
    store, feed = work.path / LEVELS_FILE, prepared.composer.feed
    work.forget_damaged("ground", LEVELS_FILE)
    if ("ground", 0, 0) in work.done:
        with still_whole(store, work.path):
            return Ground(work.done["ground", 0, 0]["plot_px"], np.load(store, mmap_mode="r"))
    ground = measure_ground(
        prepared.scene,
        feed,
        prepared.composer.radiometry.pick(feed),
        change,
        plan,
        engine,
        work,
        partial(on_progress, "ground"),
    )
    work.note_raster("ground", LEVELS_FILE, plot_px=ground.plot_px)
    return ground


def declouds(
    path: str | Path,
    out: str | Path,
    config: DecloudConfig | None = None,
    *,
    restorer: Restorer | None = None,
    engine: Engine | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    on_report: OnReport | None = None,
    on_job: Callable[[Mapping[str, Any]], None] | None = None,
) -> DecloudResult:
    """Remove the clouds of a scene.

    Parameters
    ----------
    path
        Any raster GDAL reads: a path, /vsi path or URL.
    out
        The Cloud-Optimized GeoTIFF to write. Work in progress lies in ``OUT.decr-work`` beside it;
        an interrupted run goes on there when called again with the same options.
    config
        Options; the defaults change only cloudy pixels with the embedded model.
    restorer
        Instead of ``config.model``: anything that restores tiles.
    engine
        What computes: this process, if None, or a cluster (`decr.pipeline.cluster.open_engine`;
        a script that starts its own must do so under ``if __name__ == "__main__":``). The output's
        bytes do not depend on it.
    overwrite
        Replace an existing output.
    on_progress, on_plan
        Called while working, from threads of this process but one at a time, with the stages
        "survey", "plan" (blocks), "ground" (squares), "restore" (tiles), "write" (once) and, if a
        report is wanted, "report" (blocks); and once with the plan.
    on_report
        Called at the end with the result and what a page shows of it. That takes one more look at
        the scene and two at the output: its clouds are found as the scene's were. The output's
        bytes do not depend on it.
    on_job
        Called at the beginning with everything that decides the output's bytes.

    Raises
    ------
    DecrError
        For anything the user can mend; nothing is left under the name ``out``.
    """
    config, target, clock = options(DecloudConfig, config), Path(out), _Clock()
    name, outputs, on_progress = name_of(path), outputs_of(target, config), on_progress or silent
    check_outputs(name, config, outputs, overwrite)
    with ExitStack() as stack:
        stack.enter_context(gdal_environment())
        engine = engine or stack.enter_context(open_engine(device=config.device))
        prepared = prepare(name, config, restorer, engine)
        job = job_of(prepared)
        if on_job is not None:
            on_job(job)
        check = None if overwrite else partial(check_taken, outputs)
        work = stack.enter_context(work_dir(target, job, check))
        clock.ends("preparing")
        try:
            change, plan = survey_and_plan(prepared, engine, work, on_progress)
        except DecrError:
            if not any(e.get("valid_px") or e["kind"] == "block" for e in work.done.values()):
                discard(work.path)
            raise
        let_go(change.survey.stored)
        clock.ends("survey")
        if on_plan is not None:
            on_plan(plan)
        ground = _ground(prepared, change, plan, engine, work, on_progress)
        clock.ends("ground")
        run = Restoration(
            scene=prepared.scene,
            plan=plan,
            change=change,
            composer=prepared.composer,
            networks=prepared.networks[0],
            batch=config.batch,
            work=work,
            at_once=engine.at_once,
            look_px=None if on_report is None else look_px_of(prepared.scene.grid),
            ground=ground,
        )
        restoring = partial(on_progress, "restore")
        patches = restore_blocks(run, engine, restoring, to_write=not work.made(target))
        clock.ends("restore")
        tags = tags_of(prepared, plan)
        on_progress("write", 0, 1)
        _write(prepared, job, change, patches, tags, work, outputs)
        on_progress("write", 1, 1)
        clock.ends("write")
        looks = None
        if on_report is not None:
            looks = looked_at(prepared, change, plan, work, target, partial(on_progress, "report"))
            clock.ends("report")
        entries = [work.done[key] for key in sorted(work.done)]
        result = DecloudResult(
            out=str(target),
            restored=plan.restore,
            copied=plan.copy,
            skipped=plan.skip,
            changed_px=sum(e.get("changed", 0) for e in entries if e["kind"] == "patch"),
            ccp_before=plan.ccp,
            seconds=round(sum(clock.stages.values()), 2),
            resumed=work.resumed,
            seams=seams_of(entries),
            stages_s=clock.stages,
            tags=tags,
            ccp_after=None if looks is None else looks.ccp_after,
            error_map=str(outputs[ERRORS]) if ERRORS in outputs else None,
        )
        if on_report is not None and looks is not None:
            on_report(result, restoration_report(prepared.scene, looks, result))
        # Last of all, and while no other process may work there: until then the same call goes
        # on, such as with a report that could not be written.
        discard(work.path)
    return result


class _Clock:
    """Seconds of the stages of a run, one after the other."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self._last = time.monotonic()

    def ends(self, stage: str) -> None:
        now = time.monotonic()
        self.stages[stage], self._last = round(now - self._last, 3), now


def _write(
    prepared: Prepared,
    job: Mapping[str, Any],
    change: ChangeMap,
    patches: Sequence[Patch],
    tags: Mapping[str, str],
    work: WorkDir,
    outputs: Mapping[str, Path],
) -> None:
    """Write what is not there yet; the output comes last."""
    if ERRORS in outputs and not work.made(outputs[ERRORS], ERRORS):
        write_error_map(prepared, change, work, outputs[ERRORS])
    out = outputs[OUTPUT]

    def copied(cog: Path) -> None:
        check_states(prepared.scene.files)  # of one replaced meanwhile the copy would hold parts
        check_files(prepared, job)
        work.note_output(cog)

    if not work.made(out):
        with giving_back():
            write_cog(
                prepared.scene.path,
                patches,
                out,
                tags,
                work.path,
                before_rename=copied,
                scene=prepared.scene,
            )
