"""`decr ccp`."""

from __future__ import annotations

import json
import sys
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import Any

import click

from . import options as shared
from .progress import Progress


@click.command()
@click.argument("scenes", metavar="SCENE_OR_FOLDER...", nargs=-1, required=True)
@shared.folder_option("report, tables and rasters")
@shared.detector_option
@shared.bands_option
@shared.range_option
@shared.threshold_option
@click.option(
    "--min-object",
    "min_object_m2",
    type=float,
    default=0.0,
    show_default=True,
    help="Leave out clouds of less than so many square metres.",
)
@click.option(
    "--margin",
    "margin_m",
    type=float,
    default=0.0,
    show_default=True,
    help="Grow clouds by this many metres, in whole cells of the detector: by one and by 3 pixels "
    "at least, unless 0.",
)
@click.option(
    "--feather",
    "feather_m",
    type=float,
    default=0.0,
    show_default=True,
    help="Also write NAME_weight.tif, which falls from 1 to 0 over so many metres beyond that, and "
    "over 4 pixels at least.",
)
@click.option(
    "--tile",
    "tile_px",
    type=int,
    default=512,
    show_default=True,
    help="Side of the tiles that CCP is told for, px.",
)
@click.option(
    "--aoi",
    type=click.Path(path_type=Path),
    help="Vector file; CCP is told for each feature. GeoJSON, or any other with the extra vector.",
)
@shared.gsd_option("Metres per pixel, for images that do not say.")
@click.option("--fast", is_flag=True, help="Read overviews, as coarse as the detector allows.")
@click.option(
    "--cloudy",
    type=shared.Listed(int, "whole numbers", "192,255"),
    metavar="NUMBERS",
    default=(),
    help="With file:MASK: the mask's numbers for cloud, such as 192,255; all but 0 if absent.",
)
@click.option(
    "--thin",
    type=shared.Listed(int, "whole numbers", "192,255"),
    metavar="NUMBERS",
    default=(),
    help="With file:MASK: those of them that mean thin cloud.",
)
@shared.device_option
@shared.json_option("the result")
@shared.quiet_option
def command(
    scenes: tuple[str, ...], out: Path | None, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Tell how cloudy each SCENE is, and where: CCP = cloudy valid pixels / valid pixels.

    A SCENE is a raster, a URL, a GDAL path or a .zip file. Of a folder all images count, one CCP
    each; folders train, val and test are splits. Of a set of pairs the cloudy images count. An
    image that fails does not stop the rest.

    \b
    Examples:
      decr ccp scene.tif
      decr ccp scene.tif -o report/ --aoi fields.geojson
      decr ccp CUHK-CR1/ -o report/ --gsd 0.5
      decr ccp scene.tif --detector file:clouds.tif --cloudy 192,255 --thin 192
      decr ccp scene.tif --min-object 400 --margin 12 --fast --json
    """
    from decr.config import CcpConfig
    from decr.coverage.many import ccp_scenes
    from decr.coverage.report_files import as_json as plain
    from decr.coverage.report_files import write_report
    from decr.coverage.text import described

    with shared.usage():
        config = CcpConfig(**options)
    found, failed = [], {}
    # What plug-ins print is no part of the result.
    with closing(Progress(quiet)) as progress, redirect_stdout(sys.stderr):
        for outcome in ccp_scenes(scenes, config, out, on_progress=progress):
            if outcome.result is None:
                progress.close()
                failed[outcome.source.name] = str(outcome.error)
                click.echo(f"decr: {outcome.error}", err=True)
            else:
                found.append(outcome.result)
    if found:
        written = [] if out is None else write_report(out, found, failed)
        click.echo(json.dumps(plain(found, failed)) if as_json else described(found))
        for path in written:
            click.echo(path, err=as_json)
    if failed:
        count = len(failed) + len(found)
        if count > 1:
            click.echo(f"decr: {len(failed)} of {count} failed, see above", err=True)
        sys.exit(1)
