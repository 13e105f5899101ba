"""`decr dataset`."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from . import dataset_build, dataset_import
from . import options as shared
from .progress import Progress


@click.group()
def command() -> None:
    """Make sets of training and test pairs, and look after them."""


command.add_command(dataset_build.command)
command.add_command(dataset_import.command)


@command.command("simulate")
@click.argument("clear", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option("--count", type=click.IntRange(1), help="Pairs; one of each place if absent.")
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(16),
    default=512,
    show_default=True,
    help="Side of a chip, px.",
)
@click.option(
    "--skies",
    type=click.Choice(["default", "cuhk-cr1", "cuhk-cr2"]),
    default="default",
    show_default=True,
    help="Which clouds: all kinds, or thin (cr1) or thick (cr2) ones with the mean coverage that "
    "is published for CUHK-CR.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of places and skies.")
@click.option(
    "--bands", metavar="LIST", help="Roles of the bands in file order, such as r,g,b or b,g,r,n."
)
@shared.gsd_option("Metres per pixel, for images that do not say.")
@click.option(
    "--white",
    type=shared.ABOVE_ZERO,
    help="Number of the brightest cloud, for 8 bits 255 at the most; if absent, 255 for 8 bits, "
    "else the full scale of the fewest bits (10 to 16) that hold the image.",
)
@click.option(
    "--layout",
    type=click.Choice(["folders", "cuhk-cr"]),
    default="folders",
    show_default=True,
    help="folders: GeoTIFF in cloudy/ and clear/. cuhk-cr: PNG in cloud/, label/ and nir/.",
)
@click.option("--truth", is_flag=True, help="Write cloud masks and optical thickness too.")
@click.option(
    "--test-share",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Share of places that are for testing.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be made, and stop.")
@shared.quiet_option
def simulate(
    clear: tuple[Path, ...], out: Path, skies: str, dry_run: bool, quiet: bool, **options: Any
) -> None:
    """Put simulated clouds over CLEAR images and write cloudy and clear chips.

    CLEAR are images of 3 or 4 bands in 8 or 16 bits, or folders of them. Chips with missing pixels
    are left out. Run again to go on after an interruption; the bytes are the same.

    \b
    Examples:
      decr dataset simulate clear.tif -o pairs --size 256
      decr dataset simulate imagery -o cr1 --skies cuhk-cr1 --count 668 --layout cuhk-cr
      decr dataset simulate photo.png -o pairs --bands r,g,b --gsd 0.5 --truth --dry-run
    """
    from decr.dataset.sky import PRESETS
    from decr.dataset.write_pairs import PairOptions, described, plan_pairs, planned, simulate_pairs

    with shared.usage():
        wanted = PairOptions(skies=PRESETS[skies], **options)
    if dry_run:
        click.echo(f"would write {planned(plan_pairs(clear, wanted), wanted)} to {out}")
        return
    with closing(Progress(quiet)) as progress:
        entries = simulate_pairs(clear, out, wanted, progress)
    click.echo(f"{out}: {described(entries)}")


_set_argument = click.argument("folder", metavar="SET", type=click.Path(path_type=Path))


@command.command("verify")
@_set_argument
@shared.layout_option
@shared.quiet_option
def verify(folder: Path, layout: str | None, quiet: bool) -> None:
    """Check that a SET is whole: checksums if it has them, and that each pair reads and fits.

    \b
    Examples:
      decr dataset verify set
      decr dataset verify CUHK-CR1 --layout cuhk-cr
    """
    from decr.sets.upkeep import verify_set

    with closing(Progress(quiet)) as progress:
        checked = verify_set(folder, layout, progress)
    for problem in checked.problems:
        click.echo(f"decr: {problem}", err=True)
    sums = "checksums match" if checked.sums else "no checksums"
    if checked.problems:
        click.echo(f"decr: {folder}: {len(checked.problems)} problems, see above", err=True)
        sys.exit(1)
    click.echo(f"{folder}: {checked.pairs} pairs are whole ({sums})")


@command.command("dedupe")
@_set_argument
@shared.layout_option
@click.option(
    "--side",
    type=click.Choice(["clear", "cloudy"]),
    default="clear",
    show_default=True,
    help="Images that are compared.",
)
@shared.json_option("the result")
@shared.quiet_option
def dedupe(folder: Path, layout: str | None, side: str, as_json: bool, quiet: bool) -> None:
    """List images of a SET that are there twice, exactly or nearly, within and across splits.

    Nothing is deleted.

    \b
    Examples:
      decr dataset dedupe set
      decr dataset dedupe CUHK-CR1 --layout cuhk-cr --json
    """
    from decr.sets.copies import copies_of

    with closing(Progress(quiet)) as progress:
        found = copies_of(folder, layout, side, progress)
    if as_json:
        click.echo(json.dumps(found.values()))
        return
    for copy in found.copies:
        kind = "exact" if copy.exact else f"near ({copy.bits} bits)"
        click.echo(f"{kind}\t{copy.where}\t{copy.first}\t{copy.second}")
    click.echo(f"{folder}, {side} images: {found}")


@command.command("stats")
@_set_argument
@shared.layout_option
@shared.json_option("the result")
@shared.quiet_option
def stats(folder: Path, layout: str | None, as_json: bool, quiet: bool) -> None:
    """Tell what a SET holds: pairs by split, sizes, bands, types, GSD, CCP.

    \b
    Examples:
      decr dataset stats set
    """
    from decr.sets.upkeep import described, stats_of

    with closing(Progress(quiet)) as progress:
        found = stats_of(folder, layout, progress)
    click.echo(json.dumps(found) if as_json else described(found))


@command.command("view")
@_set_argument
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="HTML file to write."
)
@shared.layout_option
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def view(folder: Path, out: Path, layout: str | None, overwrite: bool) -> None:
    """Write a contact sheet of a SET: one HTML file that needs no network.

    \b
    Examples:
      decr dataset view set -o sheet.html
    """
    from decr.sets.upkeep import write_sheet

    write_sheet(folder, out, layout, overwrite)
    click.echo(out)
