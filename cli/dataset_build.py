"""`decr dataset build`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import click

from . import options as shared
from .progress import Progress


@click.command("build")
@click.argument("images", metavar="CLOUDY CLEAR", nargs=-1, type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option(
    "--pairs",
    "table",
    type=click.Path(path_type=Path),
    help="A CSV file of many pairs instead: columns cloudy, clear and, if wanted, site, "
    "cloudy_date, clear_date, source.",
)
@click.option("--cloudy-date", metavar="DATE", help="When CLOUDY was taken, if it does not say.")
@click.option("--clear-date", metavar="DATE", help="When CLEAR was taken, if it does not say.")
@click.option("--site", default="", help="What the place is called.")
@click.option("--source", default="", help="What took the images, such as Jilin-1 KF01A.")
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(32),
    default=512,
    show_default=True,
    help="Side of a chip, px.",
)
@click.option("--max-gap-days", type=float, default=17.0, show_default=True, help="Between both.")
@click.option(
    "--max-shift",
    "max_shift_px",
    type=float,
    default=20.0,
    show_default=True,
    help="Largest shift of CLEAR that is corrected, px.",
)
@click.option(
    "--max-residual",
    "max_residual_px",
    type=float,
    default=1.0,
    show_default=True,
    help="Shift that may be left in a chip, px.",
)
@click.option(
    "--max-nodata", type=float, default=0.0, show_default=True, help="Share of a chip without data."
)
@click.option(
    "--max-clear-ccp", type=float, default=0.02, show_default=True, help="CCP of the clear chip."
)
@click.option(
    "--max-occluded",
    type=float,
    default=0.95,
    show_default=True,
    help="Share of a chip under opaque cloud.",
)
@click.option(
    "--opaque-tau",
    type=float,
    default=2.0,
    show_default=True,
    help="Optical thickness from which cloud is opaque.",
)
@click.option(
    "--thin-tau",
    type=float,
    default=1.0,
    show_default=True,
    help="Chips whose cloud has a median optical thickness below this are thin.",
)
@click.option("--match", is_flag=True, help="Match the clear chips' radiometry to the cloudy ones.")
@click.option(
    "--resample", is_flag=True, help="Warp CLEAR to the grid of CLOUDY if CRS or pixels differ."
)
@click.option(
    "--split",
    type=click.Choice(["block", "random"]),
    default="block",
    show_default=True,
    help="block: by ground, with a buffer. random: as published sets do, which leaks.",
)
@click.option(
    "--test-share",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Share of pairs for testing.",
)
@click.option(
    "--block", "block_m", type=float, default=1000.0, show_default=True, help="Side of a block, m."
)
@click.option(
    "--buffer",
    "buffer_m",
    type=float,
    default=250.0,
    show_default=True,
    help="No training chip is nearer to a test chip, m.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split.")
@click.option(
    "--export",
    "exports",
    multiple=True,
    type=click.Choice(["cuhk-cr", "rice"]),
    help="Store 8-bit PNG copies in this layout, too.",
)
@click.option("--white", type=float, help="DN that becomes 255 there; full scale if absent.")
@click.option("--opaque-dn", type=float, help="DN of opaque cloud; measured if absent.")
@shared.clouds_options
@shared.quiet_option
def command(
    images: tuple[Path, ...],
    out: Path,
    table: Path | None,
    cloudy_date: str | None,
    clear_date: str | None,
    site: str,
    source: str,
    quiet: bool,
    **options: Any,
) -> None:
    """Build a set of pairs from CLOUDY and CLEAR, two acquisitions of one place.

    CLEAR is brought to the grid of CLOUDY, its shift is measured and corrected, and chips that make
    no pair are left out, with the reason. Run again to go on after an interruption.

    \b
    Examples:
      decr dataset build cloudy.tif clear.tif -o set
      decr dataset build cloudy.tif clear.tif -o set --match --export cuhk-cr --split random
      decr dataset build --pairs pairs.csv -o set --buffer 500
    """
    from decr.config import CcpConfig
    from decr.dataset.acquisitions import PairRow, read_rows
    from decr.dataset.build_set import BuildOptions
    from decr.dataset.chip_rules import Limits
    from decr.sets.build import build_set, described

    if (table is None) != (len(images) == 2):
        raise click.UsageError("give CLOUDY and CLEAR, or --pairs FILE")
    if table is not None and (cloudy_date or clear_date or site or source):
        raise click.UsageError("with --pairs, dates, sites and sources are columns of the table")
    clouds = ("detector", "bands", "dn_range", "threshold", "device")
    with shared.usage():
        ccp = CcpConfig(**{key: options.pop(key) for key in clouds})
        limits = Limits(**{key: options.pop(key) for key in Limits.__match_args__})
        wanted = BuildOptions(limits=limits, **options)
    if table is None:
        rows = [PairRow(images[0], images[1], site, cloudy_date, clear_date, source)]
    else:
        rows = read_rows(table)
    with closing(Progress(quiet)) as progress:
        built = build_set(rows, out, wanted, ccp, progress)
    click.echo(f"{out}: {len(built.entries)} pairs")
    click.echo(described(built))
