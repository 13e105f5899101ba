"""What is checked before a run begins: its images, and where it writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decr.dataset.clear import tell
from decr.dataset.duplicates import refuse_leak
from decr.dataset.splits import in_common
from decr.errors import ConfigError
from decr.training.imagery import Imagery, read_split
from decr.training.recipe import Recipe
from decr.training.stages import STAGES

_LEAST_PX = {"spagan": 32, "amgan": 32}
"""Side of a reference's samples, where norms of its discriminator need two pixels."""
_MOST_PX = {"cvae": 256}
"""Side of samples of a reference that takes no larger images."""


def read_checked(recipe: Recipe) -> tuple[Imagery, Imagery]:
    """The training and the held-out imagery of a recipe, which share no image.

    Raises
    ------
    ConfigError
        If a stage has samples of a size that its networks do not take.
    DatasetError
        If there is no imagery, or an image held out is also trained on, or nearly the same.

    Warns
    -----
    DecrWarning
        If pairs held out share ground with some that are trained on.
    """
    _check_samples(recipe)
    imagery, unseen = read_split(recipe)
    refuse_leak(_clear_sides(imagery), _clear_sides(unseen))
    held = [(pair.name, pair.outline) for pair in unseen.pairs if pair.outline is not None]
    trained = [pair.outline for pair in imagery.pairs if pair.outline is not None]
    shared = [held[i][0] for i in in_common([outline for _, outline in held], trained)]
    why = (
        "on ground that is trained on, too, so that the validation loss says little of other "
        "ground; hold out whole places (--holdout, or folders train and val)"
    )
    tell(f"recipe {recipe.name!r}", f"{len(unseen.pairs)} pairs held out", {why: shared})
    return imagery, unseen


def check_place(recipe: Recipe, run_dir: Path) -> Path:
    """The bundle that a run in a folder will write.

    Raises
    ------
    ConfigError
        If the run would learn from its own pictures there, or replace other weights.
    """
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


def planned(recipe: Recipe, run_dir: Path, stage: str = "all") -> str:
    """The images and the stages of a run, in lines, once all is checked as for it.

    Parameters
    ----------
    stage
        "all", or the one of the recipe's that is told.

    Raises
    ------
    ConfigError, DatasetError
        See `check_place` and `read_checked`.
    """
    check_place(recipe, run_dir)
    imagery, _ = read_checked(recipe)
    pixels = sum(image.dn.shape[1] * image.dn.shape[2] for image in imagery.clear)
    lines = [
        f"{recipe.name}: {len(imagery.clear)} clear images, {pixels / 1e6:.1f} Mpx, "
        f"{len(imagery.labelled)} labelled, {len(imagery.pairs)} pairs; bands "
        f"{', '.join(recipe.bands)}"
    ]
    lines += [
        f"  {name}: {config.steps} steps of {config.batch}, {config.size_px} px, lr {config.lr:g}"
        for name, config in recipe.stages.items()
        if stage in ("all", name)
    ]
    return "\n".join(lines)


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


def _clear_sides(imagery: Imagery) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Names and clear pixels of all restoration imagery."""
    yield from ((image.name, image.dn) for image in imagery.clear)
    yield from ((pair.name, pair.clear) for pair in imagery.pairs)
