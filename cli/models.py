"""`decr models`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.group()
def command() -> None:
    """List the embedded models, or show what a weights file holds."""


@command.command("list")
def list_models() -> None:
    """List the models that ship with decr.

    \b
    Example:
      decr models list
    """
    from decr.zoo.bundle import read_card
    from decr.zoo.embedded import EMBEDDED, embedded_path

    for name in EMBEDDED:
        card = read_card(embedded_path(name))
        parts = " + ".join(card.parts)
        click.echo(f"{name:18} {','.join(card.bands):20} {card.gsd_m:g} m  {parts}")


@command.command("info")
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
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
