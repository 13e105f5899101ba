"""`decr evaluate`."""

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
@shared.pairs_options
@click.option(
    "--model",
    "models",
    type=shared.Listed(str, "names", "embedded,none"),
    required=True,
    multiple=True,
    metavar="NAME|FILE[,...]",
    help="Embedded models, bundle files, models of packages, or none for the untouched image; "
    "may be given several times.",
)
@click.option(
    "--protocol",
    type=click.Choice(["standard", "de-paper", "geocr-98"]),
    default="standard",
    show_default=True,
    help="How it is measured; stated in every output.",
)
@shared.folder_option("evaluation.json, .csv, .txt and .parquet")
@shared.lpips_options
@click.option("--steps", type=int, help="DDIM steps; each model's own number if absent.")
@click.option(
    "--prior-floor", type=float, help="Least weight of the reference (the paper's eta), 0..1."
)
@click.option(
    "--tile",
    "tile_px",
    type=int,
    default=256,
    show_default=True,
    help="Larger images are restored in blended tiles of this side, px.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of noise and bootstrap.")
@shared.device_option
@shared.json_option("everything")
@shared.quiet_option
def command(
    models: tuple[tuple[str, ...], ...],
    out: Path | None,
    steps: int | None,
    prior_floor: float | None,
    tile_px: int,
    seed: int,
    device: str,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Measure models on real pairs of a cloudy and a clear image.

    Prints PSNR, SSIM, LPIPS, mean absolute error and spectral angle with bootstrap intervals, over
    all, cloudy and clear pixels, and compares every two models image by image.

    \b
    Examples:
      decr evaluate --data my_set --model embedded,none
      decr evaluate --data CUHK-CR1/ --model de.safetensors --protocol de-paper -o scores/
      decr evaluate --data RICE2/ --model spagan.safetensors,none --split all --no-lpips
    """
    from decr.evaluation.evaluate import EvaluationConfig, evaluate
    from decr.evaluation.files import as_json as plain
    from decr.evaluation.files import check_folder, write_evaluation
    from decr.evaluation.subjects import Sampling
    from decr.evaluation.summary import described

    with shared.usage():
        sampling = Sampling(steps, prior_floor, seed, device, tile_px)
        source = shared.source_from(options)
        named = tuple(name for given in models for name in given)
        config = EvaluationConfig(source, named, sampling=sampling, **options)
    if out is not None:
        check_folder(out)
    # What plug-ins print is no part of the result.
    with closing(Progress(quiet)) as progress, redirect_stdout(sys.stderr):
        found = evaluate(config, progress)
    click.echo(json.dumps(plain(found)) if as_json else described(found))
    for path in [] if out is None else write_evaluation(out, found):
        click.echo(path, err=as_json)
