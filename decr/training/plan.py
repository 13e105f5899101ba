"""`decr train --dry-run`: what a run would do, once all is checked as for it."""

from __future__ import annotations

from pathlib import Path

from decr.device import pick_device, pick_precision
from decr.diffusion.schedule import NoiseSchedule
from decr.progress import OnProgress, silent
from decr.training.before import (
    check_asked,
    check_drawn,
    check_frozen,
    check_place,
    published_objective,
    read_checked,
)
from decr.training.identity import (
    IMAGES,
    images_digest,
    refuse_longer,
    refuse_others,
    samples_identity,
    settings_identity,
)
from decr.training.imagery import Imagery
from decr.training.place import Place, processes
from decr.training.recipe import Recipe
from decr.training.stage_run import StageRun, read_checkpoint
from decr.training.stages import STAGES
from decr.training.start import adopt, networks_of, with_discriminator


def planned(
    recipe: Recipe,
    run_dir: Path,
    stage: str = "all",
    *,
    device: str = "cpu",
    precision: str = "auto",
    tensorboard: bool = False,
    unlikeness: bool = False,
    on_progress: OnProgress = silent,
) -> str:
    """The images and the stages of a run, in lines, once all is checked as for it.

    Parameters
    ----------
    stage
        "all", or the one of the recipe's that is told.
    device, precision
        As for `run_recipe`; nothing is computed on the device.
    tensorboard
        Whether the run writes its numbers for it.
    unlikeness
        Whether it has a network for perceptual terms.
    on_progress
        As for `read_split`.

    Raises
    ------
    BundleError, ConfigError, DatasetError, OutputError
        See `run_recipe`; only that another process trains there is not looked at.
    """
    check_asked(recipe, stage, tensorboard, unlikeness)
    check_place(recipe, run_dir)
    imagery, unseen = read_checked(recipe, on_progress)
    check_drawn(recipe, stage, imagery)
    dtype = pick_precision(precision, pick_device(device))
    _check_begun(recipe, run_dir, stage, imagery, Place(dtype=dtype, size=processes()))
    pixels = sum(image.dn.shape[1] * image.dn.shape[2] for image in imagery.clear)
    lines = [
        f"{recipe.name}: {len(imagery.clear)} clear images, {pixels / 1e6:.1f} Mpx, "
        f"{len(imagery.labelled)} labelled, {len(imagery.pairs)} pairs; held out: "
        f"{len(unseen.clear)} clear images, {len(unseen.pairs)} pairs; bands "
        f"{', '.join(recipe.bands)}"
    ]
    lines += [
        f"  {name}: {config.steps} steps of {config.batch}, {config.size_px} px, lr {config.lr:g}"
        for name, config in recipe.stages.items()
        if stage in ("all", name)
    ]
    return "\n".join(lines)


def _check_begun(
    recipe: Recipe, run_dir: Path, chosen: str, imagery: Imagery, place: Place
) -> None:
    """Refuse, and tell, what a run would of its start and of the checkpoints that it goes on from.

    Up to the chosen stage, by making what the run makes, on a CPU.
    """
    images = images_digest(imagery, "detector" in recipe.stages)
    parts, start = networks_of(recipe, place)
    ready = set() if start is None else {*start.card.parts}
    to_come: set[str] = set()
    for name, config in recipe.stages.items():
        stage, path = STAGES[name], run_dir / f"{name}.pt"
        if chosen not in ("all", name):
            if adopt(stage, parts, run_dir, {IMAGES: images}) is not None:
                ready.update(stage.trains)
            continue
        check_frozen(recipe, stage, ready)
        samples = samples_identity(stage, recipe, imagery, images)
        if to_come.isdisjoint((*stage.trains, *stage.frozen)):
            published = published_objective(recipe, stage)
            own = with_discriminator(parts, published, recipe, place)
            schedule = NoiseSchedule.linear()
            run = StageRun(stage, own, run_dir, config, schedule, published, place, samples)
            run.trained.load_state_dict(run.ema.average)
            if run.step < config.last:
                to_come.update(stage.trains)
        elif path.exists():  # what it begins with is not known yet
            state = read_checkpoint(path)
            refuse_others(state, settings_identity(config) | samples, path)
            refuse_longer(state["step"], config, path)
        ready.update(stage.trains)
        if name == chosen:
            return
