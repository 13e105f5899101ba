"""`decr train`: follow a recipe stage by stage and write a bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from decr.dataset.clear import digest, held_out, read_clear, read_labelled
from decr.dataset.collage import LabelledImage, detection_sample
from decr.dataset.samples import ClearImage, Sample, area_shrunk, restoration_sample
from decr.diffusion.schedule import NoiseSchedule
from decr.errors import DatasetError
from decr.models.registry import create
from decr.training.loop import TrainResult, train_stage
from decr.training.recipe import Recipe
from decr.training.stages import STAGES, Stage
from decr.zoo.bundle import Card, load_bundle, save_bundle

LEAST_PX = 140
"""Images smaller than this are passed over: too small to cut and turn samples from."""


@dataclass(frozen=True, slots=True, eq=False)
class Imagery:
    """Everything a recipe trains on."""

    clear: list[ClearImage]
    labelled: list[LabelledImage]


def read_imagery(recipe: Recipe, validation: bool = False) -> Imagery:
    """The training (or the held-out) imagery of a recipe.

    Raises
    ------
    DatasetError
        If nothing is left.
    """
    clear = [
        image
        for folder in recipe.clear
        for image in read_clear(folder, recipe.bands, LEAST_PX)
        if held_out(image.name, recipe.holdout) == validation
    ]
    labelled = [
        image
        for folder in recipe.labelled
        for image in read_labelled(folder)
        if held_out(image.name, recipe.holdout) == validation
        and set(recipe.bands) <= set(image.bands)
        and min(image.cloud_mask.shape) >= STAGES["detector"].size_px
    ]
    if not clear:
        raise DatasetError(
            f"recipe {recipe.name!r}: no {'held-out' if validation else 'training'} image with "
            f"bands {', '.join(recipe.bands)}"
        )
    return Imagery(clear, labelled)


def run_recipe(
    recipe: Recipe,
    run_dir: Path,
    on_step: Callable[[str, int, int, float], None] | None = None,
    device: str = "cpu",
) -> Path | None:
    """Train all stages of a recipe, going on where an earlier run stopped.

    Parameters
    ----------
    on_step
        Called with (stage, step, steps, running loss).

    Returns
    -------
    Path or None
        The bundle, or None if time ran out or the run was interrupted before the end.
    """
    imagery = read_imagery(recipe)
    torch.manual_seed(0)
    parts = {
        name: create(part.architecture, len(recipe.bands), part.size).to(device)
        for name, part in recipe.parts.items()
    }
    if recipe.start is not None:
        start_from(recipe.start, parts, recipe.bands)
    for network in parts.values():
        network.to(memory_format=torch.channels_last)
    seconds: dict[str, float] = {}
    losses: dict[str, float] = {}
    for name, config in recipe.stages.items():
        stage = STAGES[name]

        def report(step: int, loss: float, name: str = name, steps: int = config.steps) -> None:
            if on_step is not None:
                on_step(name, step, steps, loss)

        result: TrainResult = train_stage(
            stage,
            parts,
            _draw(stage, recipe, imagery),
            run_dir,
            config,
            NoiseSchedule.linear(),
            report,
        )
        if not result.finished:
            return None
        seconds[name], losses[name] = result.seconds, result.loss
    return _bundle(recipe, parts, run_dir, imagery, seconds)


def _draw(
    stage: Stage, recipe: Recipe, imagery: Imagery
) -> Callable[[np.random.Generator], Sample]:
    """The sampler of a stage."""
    if stage.loss == "mask":
        return lambda rng: detection_sample(
            rng, imagery.clear, imagery.labelled, recipe.bands, stage.size_px
        )

    def draw(rng: np.random.Generator) -> Sample:
        k = stage.shrink
        sample = restoration_sample(
            rng,
            imagery.clear,
            recipe.bands,
            stage.size_px * k,
            recipe.gsd_range_m,
            recipe.variety,
        )
        if k == 1:
            return sample
        return Sample(
            area_shrunk(sample.cloudy, k), area_shrunk(sample.clear, k), sample.cloud_mask[::k, ::k]
        )

    return draw


def start_from(path: Path, parts: Mapping[str, nn.Module], bands: tuple[str, ...]) -> None:
    """Copy a bundle's weights into new networks, dropping bands these do not have.

    Raises
    ------
    DatasetError
        If the bundle lacks one of the bands or parts.
    """
    bundle = load_bundle(path)
    theirs = bundle.card.bands
    if any(band not in theirs for band in bands):
        raise DatasetError(f"{path}: has bands {', '.join(theirs)}, wanted {', '.join(bands)}")
    chosen = [theirs.index(band) for band in bands]
    for name, network in parts.items():
        if name not in bundle.networks:
            raise DatasetError(f"{path}: has no part {name!r} to start from")
        source = bundle.networks[name].state_dict()
        own = cast(dict[str, Tensor], network.state_dict())
        network.load_state_dict(
            {k: _without_bands(source[k], v, chosen, len(theirs)) for k, v in own.items()}
        )


def _without_bands(source: Tensor, target: Tensor, chosen: list[int], bands: int) -> Tensor:
    """Drop bands along every axis on which the two differ; images are concatenated band-wise."""
    for axis in range(source.ndim):
        if source.shape[axis] != target.shape[axis]:
            images = source.shape[axis] // bands
            index = [image * bands + band for image in range(images) for band in chosen]
            source = source.index_select(axis, torch.tensor(index))
    return source


def _bundle(
    recipe: Recipe,
    parts: Mapping[str, nn.Module],
    run_dir: Path,
    imagery: Imagery,
    seconds: Mapping[str, float],
) -> Path:
    names = [image.name for image in imagery.clear] + [image.name for image in imagery.labelled]
    megapixels = sum(i.dn.shape[1] * i.dn.shape[2] for i in imagery.clear) / 1e6
    is_detector = set(parts) == {"detector"}
    card = Card(
        name=recipe.name,
        bands=recipe.bands,
        gsd_m=recipe.gsd_m,
        parts=recipe.parts,
        gsd_range_m=recipe.gsd_range_m,
        steps=recipe.steps,
        prior_floor=recipe.prior_floor,
        ranges={} if is_detector else {"uint8": (0.0, 255.0)},
        licence=recipe.licence,
        provenance={
            "trained": time.strftime("%Y-%m-%d", time.gmtime()),
            "images": len(names),
            "megapixels": round(megapixels, 1),
            "split": digest(names),
            "holdout": ", ".join(recipe.holdout),
            "stages": ", ".join(f"{n} {c.steps} steps" for n, c in recipe.stages.items()),
            "minutes": round(sum(seconds.values()) / 60),
            "attribution": recipe.attribution,
        },
    )
    path = run_dir / f"{recipe.name}.safetensors"
    save_bundle(path, card, parts)
    return path
