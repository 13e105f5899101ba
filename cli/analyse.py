"""`decr analyse`."""

from __future__ import annotations

import json
from typing import Any

import click

from . import options as shared

_analysis_options = shared.together(
    shared.pairs_options,
    click.option(
        "--model",
        default="embedded-rgb",
        show_default=True,
        metavar="NAME|FILE",
        help="Embedded model or bundle file with reference, cnp and wa; embedded picks the one for "
        "the pairs' bands.",
    ),
    shared.folder_option("NAME.json and NAME.png"),
    click.option(
        "--size",
        "side_px",
        type=int,
        default=128,
        show_default=True,
        help="Side of the tiles cut from the pairs, px.",
    ),
    click.option(
        "--count", type=int, default=6, show_default=True, help="Tiles, half under cloud first."
    ),
    click.option(
        "--steps", type=int, default=10, show_default=True, help="DDIM steps, unless they vary."
    ),
    click.option("--prior-floor", type=float, help="Least W, unless it varies; else the card's."),
    click.option("--seed", type=int, default=0, show_default=True, help="Of noise and bootstrap."),
    shared.device_option,
    shared.lpips_options,
    shared.json_option("the numbers"),
)


@click.group()
def command() -> None:
    """Repeat the paper's experiments on a model and real pairs.

    Tiles are cut from the pairs, those half under cloud first, and restored in float32. Scores are
    those of `decr evaluate --protocol standard`.

    \b
    Examples:
      decr analyse weights --data my_set -o analysis/
      decr analyse steps --data my_set --size 64 --count 4 --no-lpips
    """


def _add(name: str, summary: str) -> None:
    """Add the subcommand of an analysis that has no option of its own."""

    @command.command(name, help=f"{summary}\n\n\b\nExample:\n  decr analyse {name} --data my_set")
    @_analysis_options
    def run(**options: Any) -> None:
        _run(name, options)


@command.command("ablation")
@_analysis_options
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME=MODEL",
    help="A model that was trained in another way, embedded or a bundle file, as one more row. May "
    "be repeated.",
)
def ablation(variants: tuple[str, ...], **options: Any) -> None:
    """What is lost without a part of the model (Tables VIII and IX).

    Compares the full model with diffusion alone, the reference alone, W fixed at 0.5 and no floor
    of W. Rows that need another training come from bundles.

    \b
    Examples:
      decr analyse ablation --data my_set
      decr analyse ablation --data my_set --variant "64 px only=coarse.safetensors"
    """
    named = {}
    for variant in variants:
        name, _, model = variant.partition("=")
        if not name or not model or name in named:
            raise click.UsageError(f"--variant {variant!r} must be NAME=MODEL, each name once")
        named[name] = model
    _run("ablation", options, bundles=named)


@command.command("uncertainty")
@_analysis_options
@click.option(
    "--samples",
    type=int,
    default=8,
    show_default=True,
    help="Samples per tile; they differ in noise.",
)
def uncertainty(samples: int, **options: Any) -> None:
    """Spread of several samples against their error, per pixel.

    \b
    Example:
      decr analyse uncertainty --data my_set --samples 8
    """
    _run("uncertainty", options, samples=samples)


for _name, _summary in (
    ("weights", "W of the weight allocator: a map, and its mean at each step (figures 8 and 9)."),
    ("trajectory", "Estimates over the steps, with and without the prior (figure 4)."),
    ("steps", "Quality and seconds against DDIM steps."),
    ("floor", "Quality against the least W, the paper's eta (figure 11)."),
    ("cost", "Parameters, operations and seconds, beside Table X."),
    ("gsd", "Quality where the model works at other pixel sizes (Table VII)."),
):
    _add(_name, _summary)


def _run(name: str, options: dict[str, Any], **more: Any) -> None:
    from decr.evaluation.analyse import ANALYSES
    from decr.evaluation.analysis import Setting, check_folder, write_analysis

    out, as_json = options.pop("out"), options.pop("as_json")
    source = shared.source_from(options)
    if out is not None:
        check_folder(out, name)
    with shared.usage():
        setting = Setting(source, **options)
    found = ANALYSES[name](setting, **more)
    click.echo(json.dumps(found.values) if as_json else found.text)
    for path in [] if out is None else write_analysis(out, found):
        click.echo(path, err=as_json)
