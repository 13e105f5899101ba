"""`decr models`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from . import options as shared


@click.group()
def command() -> None:
    """List, inspect, import and calibrate models, and count what networks cost."""


@command.command("list")
def list_models() -> None:
    """List the models that ship with decr.

    \b
    Example:
      decr models list
    """
    from decr.zoo.bundle import read_card
    from decr.zoo.embedded import EMBEDDED, embedded_path

    wide = max(map(len, EMBEDDED))
    for name in EMBEDDED:
        card = read_card(embedded_path(name))
        parts = " + ".join(card.parts)
        click.echo(f"{name:{wide}} {','.join(card.bands):20} {card.gsd_m:g} m  {parts}")


@command.command("info")
@click.argument("model")
@shared.json_option("the card")
def info(model: str, as_json: bool) -> None:
    """Show the card of MODEL (an embedded name or a bundle file) and check its weights.

    \b
    Examples:
      decr models info embedded-rgbn
      decr models info mine.safetensors --json
    """
    from decr.zoo.bundle import load_bundle
    from decr.zoo.describe import card_as_dict, described
    from decr.zoo.embedded import find_bundle

    bundle = load_bundle(Path(find_bundle(model, scene_has_nir=True)))
    click.echo(json.dumps(card_as_dict(bundle), indent=1) if as_json else described(bundle))


@command.command("cost")
@click.argument("names", nargs=-1, metavar="[NETWORK]...")
@click.option(
    "--bands",
    type=click.Choice(["3", "4"]),
    multiple=True,
    default=("3", "4"),
    show_default=True,
    help="Bands to count for; may be given twice.",
)
@shared.json_option("the numbers")
def count_cost(names: tuple[str, ...], bands: tuple[str, ...], as_json: bool) -> None:
    """Count parameters and operations of the paper's networks, beside its Table X.

    NETWORK is one of spagan, amgan, cvae, memorynet, msda, cnp, wa, de (CNP and WA) and cloudnet;
    all if none is given.

    \b
    Examples:
      decr models cost
      decr models cost de memorynet --bands 4 --json
    """
    from decr.models.cost import COUNTED, cost, described

    costs = [cost(name, int(count)) for count in bands for name in names or COUNTED]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(one) for one in costs], indent=1))
    else:
        click.echo(described(costs))


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The bundle to write, a .safetensors file.",
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Checkpoint of the reference network that a DE checkpoint was trained with.",
)
@click.option(
    "--as",
    "as_name",
    metavar="NAME",
    help="Take FILE for this network: de, cnp, wa, memorynet, msda, spagan, amgan, cvae, cloudnet; "
    "recognised if absent.",
)
@click.option("--name", help="Name on the card; that of FILE if absent.")
@click.option(
    "--bands",
    metavar="LIST",
    help="Order of the bands that the network was trained on, such as b,g,r; the published one if "
    "absent.",
)
@shared.gsd_option("Ground sampling distance it was trained at, metres.")
@click.option("--licence", help="Licence of the weights, for the card.")
@click.option("--overwrite", is_flag=True, help="Replace an existing bundle.")
def import_weights(file: Path, out: Path, **card: Any) -> None:
    """Turn FILE, a published checkpoint, into a bundle, and print its card.

    Reads torch files, safetensors and Keras .h5 and .keras files, tells which network they hold,
    and never runs code that a file brings along.

    \b
    Examples:
      decr models import spagan_rice1.pth -o spagan.safetensors
      decr models import ema_0.9999_100000.pt --reference mn.pth -o de.safetensors
      decr models import cloudnet.h5 -o cloudnet.safetensors
      decr models import mine.pth --as spagan --bands b,g,r --gsd 0.5 -o mine.safetensors
    """
    from decr.zoo.bundle import load_bundle
    from decr.zoo.describe import described
    from decr.zoo.imports import import_checkpoint

    import_checkpoint(file, out, **card)
    click.echo(described(load_bundle(out)))


@command.command("average")
@click.argument("first")
@click.argument("second")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The bundle.")
@click.option(
    "--part",
    "parts",
    multiple=True,
    metavar="NAME",
    help="Average only this part, such as reference; may be repeated.",
)
@click.option(
    "--share", type=float, default=0.5, show_default=True, help="Of SECOND in the mean, 0 to 1."
)
@click.option("--name", help="Name on the card; that of the file if absent.")
@click.option("--overwrite", is_flag=True, help="Replace an existing bundle.")
def average(
    first: str,
    second: str,
    out: Path,
    parts: tuple[str, ...],
    share: float,
    name: str | None,
    overwrite: bool,
) -> None:
    """Average the weights of two bundles that were trained from the same start.

    All other parts are those of FIRST; the card has the licences and attributions of both.
    Whether the mean is better than both must be measured.

    \b
    Examples:
      decr models average embedded-rgb mine.safetensors -o mean.safetensors --share 0.3
      decr models average runs/a/a.safetensors runs/b/b.safetensors -o mean.safetensors
    """
    from decr.zoo.average import average_bundles
    from decr.zoo.bundle import load_bundle
    from decr.zoo.describe import described

    average_bundles(first, second, out, parts, name, overwrite, share)
    click.echo(described(load_bundle(out)))


@command.command("calibrate")
@click.argument("model")
@shared.pairs_options
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The bundle.")
@click.option(
    "--count", type=int, default=200, show_default=True, help="Tiles, half under cloud first."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the noise."
)
@shared.device_option
@click.option("--overwrite", is_flag=True, help="Replace an existing bundle.")
def calibrate(
    model: str, out: Path, count: int, seed: int, device: str, overwrite: bool, **source: Any
) -> None:
    """Measure on pairs how wrong MODEL is, and write it with a table of expected errors.

    The table tells the mean absolute error of a restored pixel by how bright its darkest band was.
    `decr declouds --error-map` needs it. Prints how well tables of half the pairs hold for the
    other half. As MODEL, embedded is the one for the pairs' bands. Tiles are of 256 px, or as large
    as a smaller pair allows.

    \b
    Examples:
      decr models calibrate embedded-rgb --data my_set -o mine.safetensors
      decr models calibrate mine.safetensors --data my_set -o mine.safetensors --overwrite
    """
    from decr.evaluation.calibrate import calibrate_bundle, described

    found = calibrate_bundle(
        model,
        shared.source_from(source),
        out,
        count=count,
        seed=seed,
        device=device,
        overwrite=overwrite,
    )
    if found.reliability is None:
        click.echo(f"how well the table holds for other pairs is not known: {found.unknown_why}")
    else:
        click.echo(f"{found.table.about}; % of white, each half by the other's table:")
        click.echo(described(found.reliability))
    click.echo(out)
