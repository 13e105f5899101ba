"""`decr declouds`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from . import options as shared


@click.command()
@click.argument("scene")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The cloud-optimised GeoTIFF to write.",
)
@shared.restoration_options
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar, no plan.")
@click.option("-v", "--verbose", is_flag=True, help="Print the plan before starting.")
def command(
    scene: str,
    out: Path,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **restoration: Any,
) -> None:
    """Remove the clouds of SCENE and write a GeoTIFF with the same grid and metadata.

    Only cloudy pixels change; all others are copied bit for bit. An interrupted run goes on when
    the same command is given again.

    \b
    Examples:
      decr declouds scene.tif -o clear.tif
      decr declouds scene.tif -o clear.tif --aoi town.geojson
      decr declouds raw.tif -o clear.tif --bands b,g,r,n --range 0,2047
      decr declouds scene.tif -o clear.tif --cloud-mask clouds.tif --dry-run
    """
    from decr.pipeline.declouds import declouds, plan_scene
    from decr.pipeline.plan import describe

    config = shared.config_from(restoration)
    progress = shared.Progress(quiet)
    try:
        if dry_run:
            plan = plan_scene(scene, config, on_progress=progress)
            progress.close()
            click.echo(describe(plan))
            return
        result = declouds(
            scene,
            out,
            config,
            overwrite=overwrite,
            on_progress=progress,
            on_plan=(lambda p: click.echo(describe(p), err=True)) if verbose else None,
        )
    finally:
        progress.close()
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(result)))
        return
    click.echo(
        f"{result.restored} tiles restored, {result.copied} copied, {result.skipped} skipped; "
        f"{100 * result.ccp_before:.1f} % cloud before; {result.changed_px} pixels changed; "
        f"{result.seconds:.0f} s{' (resumed)' if result.resumed else ''}"
    )
    click.echo(result.out)
