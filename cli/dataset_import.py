"""`decr dataset import`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import click

from . import options as shared
from .progress import Progress


@click.command("import")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option(
    "--layout",
    type=click.Choice(["cuhk-cr", "rice", "rice1", "rice2", "t-cloud", "whu", "folders"]),
    help="How DIR is arranged; recognised if absent.",
)
@click.option(
    "--drop-duplicates",
    is_flag=True,
    help="Leave out test images that are copies of training images, exact or near.",
)
@shared.gsd_option("Metres per pixel, if neither the files nor the paper of the set say.")
@shared.clouds_options
@shared.quiet_option
def command(
    folder: Path, out: Path, layout: str | None, drop_duplicates: bool, quiet: bool, **clouds: Any
) -> None:
    """Make a set like those of `decr dataset build` from DIR, a published set of pairs.

    Images are copied byte for byte, and the published split is kept. Added are cloud masks, CCP, a
    manifest, checksums, a list of copies within and across splits, and a dataset card. DIR is only
    read. Run again to go on after an interruption.

    \b
    Examples:
      decr dataset import CUHK-CR1 -o cr1 --layout cuhk-cr
      decr dataset import CUHK-CR1 -o cr1_clean --layout cuhk-cr --drop-duplicates
      decr dataset import RICE2 -o rice2 --layout rice --detector threshold
    """
    from decr.config import CcpConfig
    from decr.sets.import_set import described, import_set

    with shared.usage():
        ccp = CcpConfig(**clouds)
    with closing(Progress(quiet)) as progress:
        imported = import_set(folder, out, layout, ccp, drop_duplicates, progress)
    click.echo(f"{out}: {len(imported.entries)} pairs")
    click.echo(described(imported))
