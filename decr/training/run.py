"""`decr train`: follow a recipe stage by stage and write a bundle."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from decr.device import device_name
from decr.diffusion.schedule import NoiseSchedule
from decr.files import sole_worker, writable_folder
from decr.progress import OnProgress, silent
from decr.training.before import (
    check_asked,
    check_drawn,
    check_frozen,
    check_place,
    published_objective,
    read_checked,
)
from decr.training.colours import OfColours
from decr.training.identity import IMAGES, images_digest, samples_identity
from decr.training.imagery import Imagery, sampler, validates
from decr.training.loading import number_of
from decr.training.loop import train_stage
from decr.training.place import Place, placed
from decr.training.recipe import Recipe
from decr.training.settings import TrainConfig
from decr.training.stage_run import TrainResult
from decr.training.stages import STAGES, Stage
from decr.training.start import adopt, networks_of, with_discriminator
from decr.training.validation import Watch
from decr.zoo.bundle import Bundle, save_bundle
from decr.zoo.card import Card
from decr.zoo.credit import each_once

_WATCHED = 8
"""Samples that validation looks at."""

Report = Callable[[str, int, int, float], None]
"""Called with (stage, step, steps, running loss)."""


def run_recipe(
    recipe: Recipe,
    run_dir: Path,
    on_step: Report | None = None,
    device: str = "cpu",
    *,
    stage: str = "all",
    precision: str = "auto",
    max_minutes: float | None = None,
    tensorboard: bool = False,
    unlikeness: nn.Module | None = None,
    loaders: int | None = None,
    on_progress: OnProgress = silent,
) -> Path | None:
    """Train one or all stages of a recipe, going on where an earlier run stopped.

    Parameters
    ----------
    device, precision
        As for :func:`decr.training.place.placed`; under `torchrun` each process takes its share of
        every batch and the first one writes.
    stage
        "all", or one of the recipe's: the stages before it give their weights if they were trained
        in ``run_dir``.
    max_minutes
        Stop, resumably, after this long.
    tensorboard
        Also write the numbers for TensorBoard.
    unlikeness
        A distance (N,) of two batches (N, 3, H, W) of red, green and blue in [-1, 1], such as
        LPIPS; for stages with a ``perceptual`` term.
    loaders
        Processes that draw samples; see :func:`decr.training.loop.train_stage`.
    on_progress
        As for :func:`decr.training.imagery.read_split`.

    Returns
    -------
    Path or None
        The bundle, or None if time ran out or the run was interrupted before the end. It holds the
        networks that were trained in this run or came with the bundle it started from.

    Raises
    ------
    BundleError
        If the file of VGG16 that the recipe names cannot be used.
    ConfigError
        If the recipe has no such stage, or it needs networks that nothing has trained, or samples
        that its imagery does not give; if the run lies among its images, or its bundle would
        replace another; or without TensorBoard.
    DatasetError
        If there is no imagery, or an image held out is also trained on, or nearly the same; or if
        a stage in ``run_dir`` was begun with other images, settings or networks.
    OutputError
        If ``run_dir`` cannot be written to, or another process trains there.
    """
    check_asked(recipe, stage, tensorboard, unlikeness is not None)
    until = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    path = check_place(recipe, run_dir)
    imagery, unseen = read_checked(recipe, on_progress)
    check_drawn(recipe, stage, imagery)
    with placed(device, precision) as place, _held(run_dir, place):
        parts, start = networks_of(recipe, place)
        run = _Run(
            recipe,
            start,
            imagery,
            unseen,
            images_digest(imagery, "detector" in recipe.stages),
            run_dir,
            place,
            until,
            tensorboard,
            on_step,
            unlikeness,
            loaders,
        )
        results = _follow(run, parts, stage)
        if results is None:
            return None
        if place.leads:
            ready = _ready(run, results)
            trained = {name: network for name, network in parts.items() if name in ready}
            save_bundle(path, _card(run, results, tuple(trained)), trained)
        place.wait()
    return path


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """All that stays the same from stage to stage."""

    recipe: Recipe
    start: Bundle | None
    imagery: Imagery
    unseen: Imagery
    images: str
    run_dir: Path
    place: Place
    until: float | None
    tensorboard: bool
    on_step: Report | None
    unlikeness: nn.Module | None
    loaders: int | None


def _held(run_dir: Path, place: Place) -> AbstractContextManager[None]:
    """The run's folder against other runs; of several processes the one that writes holds it."""
    if not place.leads:
        return nullcontext()
    return sole_worker(writable_folder(run_dir), run_dir)


def _follow(
    run: _Run, parts: Mapping[str, nn.Module], chosen: str
) -> dict[str, TrainResult] | None:
    """Results of the chosen stages and those trained before; None if one could not be finished."""
    results: dict[str, TrainResult] = {}
    later = False
    for name in run.recipe.stages:
        stage = STAGES[name]
        if chosen not in ("all", name):
            before = adopt(stage, parts, run.run_dir, {IMAGES: run.images}, later)
            if before is not None:
                results[name] = before
            continue
        check_frozen(run.recipe, stage, _ready(run, results))
        results[name] = _train(run, stage, parts)
        more = chosen == "all" and name != [*run.recipe.stages][-1]
        if not results[name].finished or (results[name].interrupted and more):
            return None
        later = True
    return results


def _ready(run: _Run, results: Mapping[str, TrainResult]) -> set[str]:
    """Parts whose weights say something: trained in this run, or of the bundle it began with."""
    started = set() if run.start is None else {*run.start.card.parts}
    return started.union(*(STAGES[name].trains for name in results))


def _train(run: _Run, stage: Stage, parts: Mapping[str, nn.Module]) -> TrainResult:
    config = run.recipe.stages[stage.name]
    if run.until is not None:
        left = max(0.0, (run.until - time.monotonic()) / 60)
        own = math.inf if config.max_minutes is None else config.max_minutes
        config = replace(config, max_minutes=min(own, left))

    def report(step: int, loss: float) -> None:
        if run.on_step is not None:
            run.on_step(stage.name, step, config.last, loss)

    if config.perceptual:
        assert run.unlikeness is not None
        parts = {
            **parts,
            "unlikeness": OfColours(run.unlikeness, run.recipe.bands).to(run.place.device),
        }
    published = published_objective(run.recipe, stage)
    parts = with_discriminator(parts, published, run.recipe, run.place)
    return train_stage(
        stage,
        parts,
        sampler(stage, config, run.recipe, run.imagery),
        run.run_dir,
        config,
        NoiseSchedule.linear(),
        report,
        published=published,
        place=run.place,
        watch=_watch(run, stage, config) if run.place.leads and config.validate_every else None,
        tensorboard=run.tensorboard,
        loaders=run.loaders,
        samples=samples_identity(stage, run.recipe, run.imagery, run.images),
    )


def _watch(run: _Run, stage: Stage, config: TrainConfig) -> Watch:
    """Samples of held-out imagery to look at; of what is trained on where none is held out."""
    unseen = run.unseen
    held_out = validates(stage, unseen)
    seen = unseen if held_out else run.imagery
    draw = sampler(stage, config, run.recipe, seen, validation=held_out)
    # In a batch that large there is none of training's samples.
    samples = [
        draw(np.random.default_rng([config.seed, number_of(stage.name), n, 2**31]))
        for n in range(_WATCHED)
    ]
    recipe, bands = run.recipe, run.recipe.bands
    rgb = [bands.index(role) if role in bands else 0 for role in ("red", "green", "blue")]
    how = recipe.steps, recipe.prior_floor, recipe.level_px
    return Watch(tuple(samples), rgb, held_out, *how)


def _card(run: _Run, results: Mapping[str, TrainResult], parts: Sequence[str]) -> Card:
    recipe = run.recipe
    start = None if run.start is None else run.start.card
    return Card(
        name=recipe.name,
        bands=recipe.bands,
        gsd_m=recipe.gsd_m,
        parts={name: recipe.parts[name] for name in parts},
        gsd_range_m=recipe.gsd_range_m if "detector" in parts else _gsd_range(recipe, run.imagery),
        steps=recipe.steps,
        prior_floor=recipe.prior_floor,
        level_px=recipe.level_px,
        ranges={} if "detector" in parts else _ranges(start, run.imagery),
        licence=recipe.licence or (start.licence if start else ""),
        provenance=_provenance(run, results, start),
    )


def _gsd_range(recipe: Recipe, imagery: Imagery) -> tuple[float, float]:
    """The recipe's range of pixel sizes, metres, if it has one, as wide as its pairs make it."""
    if not recipe.gsd_range_m[1]:
        return recipe.gsd_range_m
    sizes = [pair.gsd_m for pair in imagery.pairs if pair.gsd_m is not None]
    return min([recipe.gsd_range_m[0], *sizes]), max([recipe.gsd_range_m[1], *sizes])


def _ranges(start: Card | None, imagery: Imagery) -> dict[str, tuple[float, float]]:
    """What -1 and 1 stood for in 8-bit images: 255, or their one white; no more if they differ.

    Of other types the start's ranges stay: a scene's 16 bits may hold 11 or 12, in any stretch.
    """
    declared = {"uint8": (0.0, 255.0)}
    if start is not None:
        declared |= start.ranges
    whites = {image.white for image in imagery.clear if image.dn.dtype == np.uint8}
    whites |= {pair.white for pair in imagery.pairs if pair.clear.dtype == np.uint8}
    if whites:
        del declared["uint8"]
    if len(whites) == 1:
        declared["uint8"] = (0.0, float(whites.pop()))
    return declared


def _provenance(
    run: _Run, results: Mapping[str, TrainResult], start: Card | None
) -> dict[str, Any]:
    """Where the weights come from; figures of the images trained on, names of folders only."""
    recipe, imagery = run.recipe, run.imagery
    images = (*imagery.clear, *imagery.pairs)
    shapes = [i.dn.shape for i in imagery.clear] + [p.clear.shape for p in imagery.pairs]
    folders = [f.path for f in (*recipe.clear, *recipe.labelled)] + [f.path for f in recipe.pairs]
    earlier = "" if start is None else str(start.provenance.get("attribution", ""))
    said: dict[str, Any] = {
        "trained": time.strftime("%Y-%m-%d", time.gmtime()),
        "images": len(images) + len(imagery.labelled),
        "megapixels": round(sum(shape[1] * shape[2] for shape in shapes) / 1e6, 1),
        "data": ", ".join(folder.name for folder in folders),
        "split": _names_digest(imagery.names),
        "holdout": ", ".join(recipe.holdout),
        "preset": recipe.preset,
        "device": device_name(run.place.device),
        "precision": str(run.place.dtype).removeprefix("torch."),
        "stages": ", ".join(f"{name} {result.step} steps" for name, result in results.items()),
        "losses": ", ".join(
            f"{name} {result.loss:.4g}"
            for name, result in results.items()
            if math.isfinite(result.loss)
        ),
        "minutes": round(sum(result.seconds for result in results.values()) / 60),
        "attribution": each_once(recipe.attribution, earlier),
    }
    if imagery.pairs:
        said["pairs"] = len(imagery.pairs)
    if recipe.start is not None and run.start is not None:
        said["started_from"] = f"{recipe.start.name}, sha256 {run.start.sha256[:12]}"
    return {key: value for key, value in said.items() if value != ""}


def _names_digest(names: Sequence[str]) -> str:
    """A short hash of a set of file names, to tell splits apart in model cards."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]
