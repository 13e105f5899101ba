"""What decides a stage's samples and steps: a checkpoint keeps it, so that no other run goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from decr.errors import DatasetError, warn
from decr.training.imagery import Imagery
from decr.training.recipe import Recipe
from decr.training.settings import TrainConfig
from decr.training.stages import Stage

Identity = Mapping[str, str | int | float | None]
"""What decides a result, by name: plain values, digests of imagery and networks."""

IMAGES = "images trained on"
NETWORKS = "networks begun with"

_FREE = frozenset({"until", "max_minutes", "save_every", "validate_every", "accumulate"})
"""Settings that may change while a stage is trained: when to stop, save and look, and how batches
are cut, which like devices and processes says how it is computed, not what."""

TOLD = ("lr", "precision")
"""What may change, too, but is told: to lower the rate is the way out of a loss that is no number,
and another precision rounds otherwise from there on."""


def settings_identity(config: TrainConfig) -> dict[str, str | int | float | None]:
    """The settings of a stage that decide its steps."""
    # At a constant rate nothing depends on how many steps there will be.
    free = _FREE | ({"steps"} if config.schedule == "constant" else set())
    return {key: value for key, value in asdict(config).items() if key not in free}


def samples_identity(
    stage: Stage, recipe: Recipe, imagery: Imagery, images: str
) -> dict[str, str | int | float | None]:
    """What decides the samples of a stage, beside its settings: images, and how they are used.

    ``images`` is the `images_digest`.
    """
    own: dict[str, str | int | float | None] = {IMAGES: images, "bands": ", ".join(recipe.bands)}
    if stage.loss == "mask":
        return own
    if imagery.clear:
        own["gsd_range_m"] = json.dumps([float(end) for end in recipe.gsd_range_m])
        shares = asdict(recipe.variety)
        if not shares["photo_share"]:  # runs that began before there was one go on
            del shares["photo_share"]
        own["variety"] = json.dumps({k: float(v) for k, v in shares.items()})
        own["other_date_share"] = float(recipe.other_date_share)
        own["date_pattern"] = recipe.date_pattern
        if imagery.pairs:
            own["pair_share"] = float(recipe.pair_share)
    if stage.loss == "restore":
        own["vgg16"] = "none" if recipe.vgg16 is None else "given"
    return own


def images_digest(imagery: Imagery, detector: bool) -> str:
    """A hash of what a detector, or else restoring networks, are trained on.

    It covers names, pixels and what is said of them, in their order.
    """
    hashed = hashlib.sha256()

    def add(image: Any, arrays: Sequence[str], said: Sequence[str]) -> None:
        values = [str(getattr(image, name)) for name in said]
        for name in arrays:
            pixels = np.ascontiguousarray(getattr(image, name))
            values += [pixels.dtype.str, str(pixels.shape)]
            hashed.update(pixels.reshape(-1).view(np.uint8).data)
        hashed.update("\n".join([*values, ""]).encode())

    for clear in imagery.clear:
        add(clear, ("dn",), ("name", "bands", "gsd_m", "white", "weight"))
    if detector:
        for labelled in imagery.labelled:
            add(labelled, ("reflectance", "cloud_mask"), ("name", "bands"))
    else:
        for pair in imagery.pairs:
            add(pair, ("cloudy", "clear"), ("name", "bands", "white", "weight"))
    return hashed.hexdigest()


def networks_digest(networks: Mapping[str, nn.Module]) -> str:
    """A hash of networks' names, parameters and buffers, wherever and however they lie."""
    hashed = hashlib.sha256()
    for part, network in sorted(networks.items()):
        for key, value in network.state_dict().items():
            tensor = value.detach().cpu().contiguous()
            hashed.update(f"{part}/{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            hashed.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return hashed.hexdigest()


def begun_with(stage: Stage, parts: Mapping[str, nn.Module]) -> str:
    """A hash of the networks that a stage trains or uses, as they are now."""
    return networks_digest({name: parts[name] for name in (*stage.trains, *stage.frozen)})


def differences(state: Mapping[str, Any], own: Identity, path: Path) -> list[str]:
    """What a checkpoint says otherwise than this run, among what this run asks about.

    A checkpoint of an earlier decr, which says nothing of it, is taken, with a warning.
    """
    said = state.get("identity")
    if said is None:
        warn(
            f"{path}: an earlier decr made this checkpoint and did not note images and settings; "
            f"go on with it only if they are the same as then"
        )
        return []
    return [_difference(key, said.get(key), own[key]) for key in own if said.get(key) != own[key]]


def refuse_others(
    state: Mapping[str, Any], own: Identity, path: Path, to_come: bool = True
) -> None:
    """Refuse a checkpoint that was begun with something else than this run.

    Of what is only ``TOLD`` a warning tells, if there are steps ``to_come``.

    Raises
    ------
    DatasetError
        Naming what differs.
    """
    found = differences(state, {key: own[key] for key in own if key not in TOLD}, path)
    then = state.get("identity") or {}
    for key in TOLD if to_come and not found else ():
        if key in own and key in then and then[key] != own[key]:
            step, now = state["step"], own[key]
            warn(f"{path}: {key} was {then[key]} up to step {step} and is {now} from there on")
    if found:
        raise DatasetError(
            f"{path}: was begun with other values than this run's: {'; '.join(found)}; name "
            f"another folder for this run (-o), or remove that file to train its stage anew"
        )


def refuse_longer(step: int, config: TrainConfig, path: Path) -> None:
    """Refuse a checkpoint that was trained for more steps than this run's.

    Raises
    ------
    DatasetError
        Naming both.
    """
    if step > config.last:
        raise DatasetError(
            f"{path}: has been trained for {step} steps, more than the {config.last} of this run; "
            f"name another folder for this run (-o), or remove that file to train its stage anew"
        )


def refuse_unfinished(state: Mapping[str, Any], stage: Stage, path: Path) -> None:
    """Refuse the checkpoint of a stage to build upon that has not come to its end.

    Raises
    ------
    DatasetError
        Naming its step.
    """
    step = int(state["step"])
    if step < int(state.get("steps", step)):
        raise DatasetError(
            f"{path}: stage {stage.name} stopped at step {step} of {state['steps']}; finish it "
            f"first with `decr train {stage.name}` and this run's options"
        )


def _difference(key: str, then: object, now: object) -> str:
    if key == IMAGES:
        return (
            "images (by folders, files, holdout, split, skip, bands or white, which earlier "
            "versions guessed by the pairs trained on alone: --white, or white in a recipe, states "
            "it)"
        )
    if key == NETWORKS:
        return "start (the bundle it goes on from, or the stages before it)"
    before, after = ("none" if value is None else value for value in (then, now))
    return f"{key} was {before}, is {after}"
