"""What is checked before a run begins: its images, and where it writes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decr.dataset.duplicates import refuse_leak
from decr.dataset.guesses import tell
from decr.dataset.splits import in_common
from decr.errors import ConfigError, warn
from decr.files import check_writable
from decr.progress import OnProgress, silent
from decr.training.colours import places_of_colours
from decr.training.imagery import Imagery, read_split, sampler, validates
from decr.training.log import summary_writer
from decr.training.place import processes
from decr.training.published import Objective, objective
from decr.training.recipe import Recipe
from decr.training.stage_run import check_cut
from decr.training.stages import STAGES, Stage

_LEAST_PX = {"spagan": 32, "amgan": 32}
"""Side of a reference's samples, where norms of its discriminator need two pixels."""
_MOST_PX = {"cvae": 256}
"""Side of samples of a reference that takes no larger images."""


def read_checked(recipe: Recipe, on_progress: OnProgress = silent) -> tuple[Imagery, Imagery]:
    """The training and the held-out imagery of a recipe, which share no image.

    Parameters
    ----------
    on_progress
        As for `read_split`.

    Raises
    ------
    ConfigError
        If a stage has samples of a size that its networks do not take.
    DatasetError
        If there is no imagery, or an image held out is also trained on, or nearly the same.

    Warns
    -----
    DecrWarning
        If a stage has no image held out to validate with, or images held out share ground with
        some that are trained on.
    """
    _check_samples(recipe)
    imagery, unseen = read_split(recipe, on_progress)
    refuse_leak(_compared(imagery), _compared(unseen))
    looking = [STAGES[name] for name, config in recipe.stages.items() if config.validate_every]
    if any(not validates(stage, unseen) for stage in looking):
        what, watch, more = "image", "to watch", ", or make folders train and val"
        if unseen.pairs:
            what, watch, more = "clear image", "for a detector, which pairs do not give", ""
        warn(
            f"recipe {recipe.name!r}: no {what} is held out, so there is no validation loss "
            f"{watch}; name some (--holdout, or holdout in a recipe){more}"
        )
    held, trained = _placed(unseen), _placed(imagery)
    shared = in_common([outline for _, outline in held], [outline for _, outline in trained])
    why = (
        "on ground that is trained on, too, so that the validation loss says little of other "
        "ground; hold out whole places (--holdout, or folders train and val)"
    )
    count = len(unseen.clear) + len(unseen.pairs)
    tell(f"recipe {recipe.name!r}", f"{count} images held out", {why: [held[i][0] for i in shared]})
    return imagery, unseen


def check_asked(recipe: Recipe, stage: str, tensorboard: bool, unlikeness: bool) -> None:
    """Refuse a stage that the recipe does not have, and what a stage needs and is not there.

    Parameters
    ----------
    unlikeness
        Whether there is a network for perceptual terms.

    Raises
    ------
    BundleError
        If the file of VGG16 that the recipe names cannot be used.
    ConfigError
        Saying what there is.
    """
    if stage != "all" and stage not in recipe.stages:
        raise ConfigError(
            f"recipe {recipe.name!r} has no stage {stage!r}; it has {', '.join(recipe.stages)}"
        )
    for name, config in recipe.stages.items():
        if stage not in ("all", name):
            continue
        check_cut(STAGES[name], config, processes())
        published_objective(recipe, STAGES[name])
        if config.perceptual:
            places_of_colours(recipe.bands)
        if config.perceptual and not unlikeness:
            raise ConfigError(
                f"recipe {recipe.name!r}: stage {name} has a perceptual term, for which LPIPS' "
                f"backbone is needed; name its file as lpips_backbone"
            )
    if tensorboard:
        summary_writer()


def published_objective(recipe: Recipe, stage: Stage) -> Objective | None:
    """The published loss of a recipe's reference, if a stage trains one that has any.

    Raises
    ------
    BundleError
        If the file of VGG16 that the recipe names cannot be used.
    """
    if stage.loss != "restore" or recipe.parts["reference"].architecture == "compact":
        return None
    return objective(recipe.parts["reference"].architecture, recipe.vgg16)


def check_drawn(recipe: Recipe, stage: str, imagery: Imagery) -> None:
    """Refuse imagery that does not give the samples of a stage, or of one of all.

    Raises
    ------
    ConfigError
        See `decr.training.imagery.sampler`.
    """
    for name, config in recipe.stages.items():
        if stage in ("all", name):
            sampler(STAGES[name], config, recipe, imagery)


def check_frozen(recipe: Recipe, stage: Stage, ready: Collection[str]) -> None:
    """Refuse a stage that uses networks other than those ``ready``.

    Raises
    ------
    ConfigError
        Naming them.
    """
    lacking = set(stage.frozen) - set(ready)
    if lacking:
        raise ConfigError(
            f"recipe {recipe.name!r}: stage {stage.name} needs a trained "
            f"{' and '.join(sorted(lacking))}; train the stages before it in the same folder, "
            f"or start from a bundle"
        )


def check_place(recipe: Recipe, run_dir: Path) -> Path:
    """The bundle that a run in a folder will write.

    Raises
    ------
    ConfigError
        If the run would learn from its own pictures there, or replace other weights.
    OutputError
        If it cannot be written to.
    """
    check_writable(run_dir)
    bundle = run_dir / f"{recipe.name}.safetensors"
    picture = run_dir.resolve() / "samples" / "stage.png"
    for folder in (*recipe.clear, *recipe.labelled):
        whole = replace(folder, path=folder.path.resolve())
        if picture.is_relative_to(whole.path) and whole.takes(picture):
            raise ConfigError(
                f"{run_dir}: lies in {folder.path}, whose images are trained on, and would add its "
                f"own; name a folder elsewhere for this run (-o)"
            )
    if bundle.exists() and not any((run_dir / f"{stage}.pt").exists() for stage in recipe.stages):
        raise ConfigError(
            f"{bundle}: is not of this run, which would replace it; name another folder for this "
            f"run (-o), or move that file"
        )
    return bundle


def _check_samples(recipe: Recipe) -> None:
    """Refuse samples of a side that the recipe's reference cannot be trained or used with."""
    for name, config in recipe.stages.items():
        stage = STAGES[name]
        if "reference" not in (*stage.trains, *stage.frozen):
            continue
        architecture, side = recipe.parts["reference"].architecture, config.size_px
        least = _LEAST_PX.get(architecture, 0) if "reference" in stage.trains else 0
        most = _MOST_PX.get(architecture, side)
        if side < least:
            why = f"of which its discriminator leaves one pixel; give a size_px of at least {least}"
        elif side > most:
            why = f"but {architecture} takes at most {most}; give a size_px of {most} or less"
        else:
            continue
        raise ConfigError(f"recipe {recipe.name!r}: stage {name} has samples of {side} px, {why}")


def _placed(imagery: Imagery) -> list[tuple[str, NDArray[np.float64]]]:
    """Names and outlines of all restoration imagery that says where it lies."""
    placed = [(image.name, image.outline) for image in imagery.clear]
    placed += [(pair.name, pair.outline) for pair in imagery.pairs]
    return [(name, outline) for name, outline in placed if outline is not None]


def _compared(imagery: Imagery) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Names and pixels of all imagery; of pairs those of the clear side."""
    yield from ((image.name, image.dn) for image in imagery.clear)
    yield from ((image.name, image.reflectance) for image in imagery.labelled)
    yield from ((pair.name, pair.clear) for pair in imagery.pairs)
