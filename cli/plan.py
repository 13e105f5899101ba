"""`decr plan`."""

from __future__ import annotations

import json
import sys
from contextlib import closing, redirect_stdout
from typing import Any

import click

from . import options as shared
from .progress import Progress


@click.command()
@click.argument("scene")
@shared.restoration_options
@shared.json_option("the plan")
@shared.quiet_option
def command(scene: str, as_json: bool, quiet: bool, **restoration: Any) -> None:
    """Show how many tiles of SCENE would be restored, and what memory, disk and time it takes.

    \b
    Examples:
      decr plan scene.tif
      decr plan scene.tif --full --json
    """
    from decr.geo.delivery import raster_of
    from decr.pipeline.first_pass import plan_scene
    from decr.pipeline.plan import described

    # What plug-ins print is no part of the result.
    with closing(Progress(quiet)) as progress, redirect_stdout(sys.stderr):
        plan = plan_scene(raster_of(scene), shared.config_from(restoration), on_progress=progress)
    click.echo(json.dumps(plan.facts()) if as_json else described(plan))
