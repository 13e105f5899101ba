"""`decr plan`."""

from __future__ import annotations

import json
from typing import Any

import click

from . import options as shared


@click.command()
@click.argument("scene")
@shared.restoration_options
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def command(scene: str, as_json: bool, quiet: bool, **restoration: Any) -> None:
    """Show which tiles of SCENE would be restored, copied or skipped, in what memory and time.

    \b
    Examples:
      decr plan scene.tif
      decr plan scene.tif --full --json
    """
    from decr.pipeline.declouds import plan_scene
    from decr.pipeline.plan import describe

    progress = shared.Progress(quiet)
    try:
        plan = plan_scene(scene, shared.config_from(restoration), on_progress=progress)
    finally:
        progress.close()
    click.echo(json.dumps(plan.facts()) if as_json else describe(plan))
