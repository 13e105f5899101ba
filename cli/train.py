"""`decr train`."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from decr.errors import DecrWarning

from . import options as shared
from .progress import Progress

if TYPE_CHECKING:
    from decr.training.recipe import Recipe


@click.command()
@click.argument(
    "stage", type=click.Choice(["reference", "detector", "coarse", "weights", "joint", "all"])
)
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML file that says everything; see docs/recipes. Without one, give folders.",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path(),
    show_default=True,
    help="Folder that the recipe's folders are relative to.",
)
@click.option(
    "--clear",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Clear images; clouds are simulated over them. May be repeated.",
)
@click.option(
    "--pairs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Real pairs of a cloudy and a clear image. May be repeated.",
)
@shared.layout_option
@click.option(
    "--bands",
    metavar="LIST",
    help="Roles of the images' bands in file order, such as r,g,b,n ('-' is not used).",
)
@shared.gsd_option("Pixel size of the images, metres.")
@click.option(
    "--white",
    type=shared.ABOVE_ZERO,
    metavar="DN",
    help="DN as bright as cloud; for 8-bit images 255 at the most, which is theirs if absent.",
)
@click.option(
    "--holdout",
    multiple=True,
    metavar="PATTERN",
    help="File names not to train on, such as 'img_19*', but to validate with. May be repeated.",
)
@click.option(
    "--preset",
    type=click.Choice(["fast", "finetune", "paper"]),
    help="Settings of the stages; finetune with --from-bundle, else fast.",
)
@click.option(
    "--from-bundle",
    "start",
    metavar="NAME|FILE",
    help="Go on from these weights; embedded is the embedded model of the images' bands.",
)
@click.option("--name", help="Name of the bundle; that of the run's folder if absent.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    metavar="N",
    help="Steps of each stage; the preset's if absent.",
)
@click.option(
    "-o",
    "--out",
    "run_dir",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the run: checkpoints, logs, pictures and at last the bundle.",
)
@click.option(
    "--max-minutes",
    type=shared.FROM_ZERO,
    metavar="MINUTES",
    help="Stop, resumably, after this long; if that was not the end, the exit code is 130.",
)
@shared.device_option
@shared.precision_option
@click.option(
    "--loaders",
    type=click.IntRange(min=0),
    metavar="N",
    help="Processes that draw samples; 0 is a thread. Default: a thread beside a CPU, all cores "
    "but one beside a CUDA device; fewer where /dev/shm is too small for their batches. Does not "
    "change the result.",
)
@click.option("--tensorboard", is_flag=True, help="Log for TensorBoard, too, if it is installed.")
@click.option("--dry-run", is_flag=True, help="Say what would be trained, and stop.")
@shared.quiet_option
def command(
    stage: str,
    recipe: Path | None,
    root: Path,
    run_dir: Path,
    max_minutes: float | None,
    device: str,
    precision: str,
    loaders: int | None,
    tensorboard: bool,
    dry_run: bool,
    quiet: bool,
    **own: Any,
) -> None:
    """Train the networks of STAGE on your images; run again to go on after an interruption.

    STAGE is reference, coarse, weights or joint, which build on one another in this order in one
    folder; all of them; or detector.

    \b
    Examples:
      decr train all --pairs my_pairs --from-bundle embedded -o runs/mine
      decr train reference --clear photos --bands r,g,b,n --gsd 0.5 -o runs/new
      decr train detector --clear photos --gsd 0.5 --max-minutes 60 -o runs/clouds
      decr train all --recipe docs/recipes/embedded_rgbn_1.toml --root imagery -o runs/1 --dry-run
    """
    from decr.training.place import leads
    from decr.training.plan import planned
    from decr.training.run import run_recipe

    _check(recipe, own)
    with closing(Progress(quiet or not leads())) as progress, warnings.catch_warnings():
        if not leads():  # what each of torchrun's processes warns of is told once
            warnings.simplefilter("ignore", DecrWarning)
        chosen = _recipe(stage, recipe, root, run_dir, own)
        unlikeness = _unlikeness(chosen)
        alike: dict[str, Any] = {
            "device": device,
            "precision": precision,
            "tensorboard": tensorboard,
            "on_progress": progress,
        }
        said: object
        if dry_run:
            said = planned(chosen, run_dir, stage, unlikeness=unlikeness is not None, **alike)
        else:
            said = run_recipe(
                chosen,
                run_dir,
                progress,
                stage=stage,
                max_minutes=max_minutes,
                unlikeness=unlikeness,
                loaders=loaders,
                **alike,
            )
    if said is None:
        if leads():
            said = f"decr: stopped before the end; run the same command to go on ({run_dir})"
            click.echo(said, err=True)
        # To torchrun any other code is a crash, with a traceback or a new start.
        sys.exit(0 if "TORCHELASTIC_RUN_ID" in os.environ else 130)
    if leads():
        click.echo(said)


def _unlikeness(recipe: Recipe) -> Any:
    """LPIPS for the stages that have a perceptual term, if any."""
    if recipe.lpips_backbone is None or not any(c.perceptual for c in recipe.stages.values()):
        return None
    from decr.evaluation.perceptual import load_lpips

    return load_lpips(recipe.lpips_backbone).network


def _check(recipe: Path | None, own: dict[str, Any]) -> None:
    """Refuse options that contradict one another; ``own`` are those a recipe would hold."""
    if recipe is None:
        if not own["clear"] and not own["pairs"]:
            raise click.UsageError("give --recipe FILE, or folders with --clear or --pairs")
        return
    for parameter in click.get_current_context().command.params:
        if own.get(str(parameter.name)) not in (None, ()):
            raise click.UsageError(f"{parameter.opts[0]} and --recipe: say it in the recipe")


def _recipe(
    stage: str, recipe: Path | None, root: Path, run_dir: Path, own: dict[str, Any]
) -> Recipe:
    """The recipe to follow, from its file or from the options."""
    from decr.training.folders import recipe_from_folders
    from decr.training.recipe import read_recipe

    if recipe is not None:
        return read_recipe(recipe, root)
    own["name"] = own["name"] or run_dir.resolve().name
    return recipe_from_folders(stage, **own)
