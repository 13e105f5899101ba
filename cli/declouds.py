"""`decr declouds`."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options as shared
from .progress import Progress

if TYPE_CHECKING:
    from decr.pipeline.declouds import DecloudResult, OnReport
    from decr.pipeline.many import Outcome
    from decr.pipeline.plan import Plan
    from decr.report.values import RestorationReport


@click.command()
@click.argument("scenes", metavar="SCENE...", nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(),
    metavar="FILE|FOLDER",
    help="The cloud-optimised GeoTIFF to write; for several scenes a folder, or end it with a /.",
)
@shared.restoration_options
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes to share the cores or the CUDA devices; does not change the result.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Running Dask scheduler whose workers restore, such as tcp://host:8786.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace an existing output, but of several none that the same command made before it was "
    "interrupted or a scene failed.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@shared.json_option("the result or plan")
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write NAME.html there, a page to compare before and after, and NAME.json with all that "
    "is known of a run; print what is left of tile borders. Looks at the output once more, and at "
    "its clouds.",
)
@shared.quiet_option
def command(
    scenes: tuple[str, ...],
    out: str,
    workers: int,
    scheduler: str | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    report: Path | None,
    quiet: bool,
    **restoration: Any,
) -> None:
    """Remove the clouds of each SCENE and write a GeoTIFF with the same grid and metadata.

    A SCENE is a raster, a URL, a GDAL path such as /vsis3/bucket/scene.tif, or a .zip file or a
    folder with rasters, each of which is a scene.

    Only cloudy pixels change; all others are copied bit for bit. An interrupted run goes on when
    the same command is given again. Of several scenes, one that fails does not stop the rest.

    \b
    Examples:
      decr declouds scene.tif -o clear.tif
      decr declouds scene.tif -o clear.tif --aoi town.geojson
      decr declouds raw.tif -o clear.tif --bands b,g,r,n --range 0,2047
      decr declouds scene.tif -o clear.tif --cloud-mask clouds.tif --dry-run
      decr declouds scenes/*.tif -o clear/
      decr declouds delivery.zip -o clear/
      decr declouds scene.tif -o clear.tif --scheduler tcp://node1:8786
    """
    from decr.files import check_writable, writable_folder
    from decr.pipeline.cluster import open_engine
    from decr.pipeline.declouds import declouds
    from decr.pipeline.many import declouds_many, plan_checked, plans_many, targets
    from decr.pipeline.report_files import check_report, has_report, write_report

    config = shared.config_from(restoration)
    scenes = _expanded(scenes, Path(out))
    progress = Progress(quiet)
    folder = _folder(out, len(scenes))
    if scheduler is not None and workers > 1:
        raise click.UsageError("the scheduler's workers are used: drop --workers")
    outs = [Path(out)] if folder is None else targets(scenes, folder, config.error_map)
    on_report: OnReport | None = None
    if report is not None:
        (check_writable if dry_run else writable_folder)(report)
        check_report(report, outs, index=folder is not None)

        def on_report(result: DecloudResult, shown: RestorationReport) -> None:
            write_report(report, result, shown)

    reported = None if report is None else partial(has_report, report)
    alike: dict[str, Any] = {"overwrite": overwrite, "on_progress": progress}
    with ExitStack() as stack:
        stack.callback(progress.close)
        if dry_run:
            if folder is None:
                with redirect_stdout(sys.stderr):  # what plug-ins print is no part of the result
                    plan = plan_checked(scenes[0], outs[0], config, **alike)
                progress.close()
                _tell_plan(plan, scenes[0], as_json, head=False)
                return
            plans = plans_many(scenes, folder, config, has_report=reported, **alike)
            _all(plans, as_json, None, progress, overwrite, heads=len(scenes) > 1)
            return
        engine = stack.enter_context(open_engine(workers, scheduler, config.device))
        alike |= {"engine": engine, "on_report": on_report}
        if engine.travels and not quiet:
            dashboard = f"; dashboard {engine.dashboard}" if engine.dashboard else ""
            click.echo(f"decr: restoring on {engine.name}{dashboard}", err=True)
        if folder is None:
            with redirect_stdout(sys.stderr):
                result = declouds(scenes[0], out, config, **alike)
            progress.close()
            _tell(result, as_json, report)
            return
        started = itertools.count(1)

        def announce(scene: str, target: Path) -> None:
            if not quiet:
                click.echo(f"[{next(started)}/{len(scenes)}] {scene}", err=True)

        outcomes = declouds_many(
            scenes, folder, config, on_start=announce, has_report=reported, **alike
        )
        _all(outcomes, as_json, report, progress, overwrite)


def _folder(out: str, scenes: int) -> Path | None:
    """The folder in which outputs are wanted; None for a file."""
    if out.endswith(("/", "\\")):
        return Path(out)
    if scenes == 1:
        return None
    if out.lower().endswith((".tif", ".tiff")) and not Path(out).is_dir():
        raise click.UsageError(
            f"{out} would be a folder, for each of {scenes} scenes has an output of its own: end "
            f"it with a / if it is to be one; parts of one scene are made one first (gdalbuildvrt)"
        )
    return Path(out)


def _expanded(scenes: tuple[str, ...], out: Path) -> tuple[str, ...]:
    """Archives and folders replaced by what is in them, outputs left out."""
    from decr.errors import SceneError
    from decr.geo.delivery import rasters_of

    found: list[str] = []
    for scene in scenes:
        try:
            found += rasters_of(scene, out)
        except SceneError:
            if len(scenes) == 1:
                raise
            found.append(scene)  # it fails in its turn, and does not stop the rest
    return tuple(found)


def _tell_plan(plan: Plan, scene: str, as_json: bool, head: bool) -> None:
    from decr.pipeline.plan import described

    if as_json:
        click.echo(json.dumps({"scene": scene, **plan.facts()}))
    else:
        click.echo(f"{scene}\n{described(plan)}" if head else described(plan))


def _all(
    outcomes: Iterator[Outcome],
    as_json: bool,
    report: Path | None,
    progress: Progress,
    overwrite: bool,
    heads: bool = False,
) -> None:
    """Tell what becomes of each scene, or would; exit code 1 at the end if one failed."""
    from decr.pipeline.report_files import write_index

    left = "exists already and is left as it is; --overwrite replaces it"
    if overwrite:
        left = "was finished by this command before and is left as it is; delete it to begin anew"
    failed = 0
    seen: list[Outcome] = []
    for outcome in _quietly(outcomes):
        progress.close()
        if outcome.error is not None:
            failed += 1
            click.echo(f"decr: {outcome.error}", err=True)
        elif outcome.plan is not None:
            _tell_plan(outcome.plan, outcome.scene, as_json, heads)
        elif outcome.result is None:
            click.echo(f"decr: warning: {outcome.out} {left}", err=True)
        else:
            _tell(outcome.result, as_json, report)
        seen.append(outcome)
        if report is not None:
            write_index(report, seen)
    if failed:
        click.echo(f"decr: {failed} of {len(seen)} scenes failed, see above", err=True)
        sys.exit(1)


def _quietly(outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """Each outcome, made while standard output, which is the results', is standard error."""
    while True:
        with redirect_stdout(sys.stderr):
            outcome = next(outcomes, None)
        if outcome is None:
            return
        yield outcome


def _tell(result: DecloudResult, as_json: bool, report: Path | None) -> None:
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(result)))
        return
    after = "" if result.ccp_after is None else f", {100 * result.ccp_after:.1f} % after"
    click.echo(
        f"{result.restored} tiles restored, {result.copied} copied, {result.skipped} skipped; "
        f"{100 * result.ccp_before:.1f} % cloud before{after}; {result.changed_px} pixels changed; "
        f"{result.seconds:.0f} s{' (resumed)' if result.resumed else ''}"
    )
    if report is not None:
        click.echo(_seams(result))
        click.echo(report / f"{Path(result.out).stem}.html")
    click.echo(result.out)
    if result.error_map is not None:
        click.echo(result.error_map)


def _seams(result: DecloudResult) -> str:
    seams, said = result.seams, []
    if seams.score is not None:
        on_grid = "" if seams.score_on_grid is None else f", {seams.score_on_grid:.3f} on the grid"
        said.append(f"score {seams.score:.3f}{on_grid} (1 or less: no line shows)")
    if seams.overlap_rms is not None:
        said.append(f"neighbouring tiles {seams.overlap_rms:.1f} grey levels apart")
    if seams.tone_rms_before is not None and seams.tone_rms is not None:
        said.append(f"their tones {seams.tone_rms_before:.1f}, settled {seams.tone_rms:.1f}")
    return f"seams: {', '.join(said) or 'no tiles that overlap'}"
