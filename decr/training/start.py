"""Weights that a run begins with: those of a bundle, or of stages trained before."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from decr.errors import DatasetError, DecrWarning
from decr.models.reference import CompactReference
from decr.models.unet import UNetSize
from decr.training.grow import grown, grows_into
from decr.training.identity import NETWORKS, Identity, begun_with, differences, refuse_others
from decr.training.progress import TrainResult, read_checkpoint
from decr.training.stages import Stage
from decr.zoo.bundle import load_bundle


def start_from(path: Path, parts: Mapping[str, nn.Module], bands: tuple[str, ...]) -> None:
    """Copy a bundle's weights into new networks, dropping bands these do not have.

    Networks that the bundle does not hold are left as they are. A compact reference of the same
    bands that has more levels than the bundle's takes over those it shares, and a Cloud-Net that
    sees the darkest of each cell all weights of one that does not.

    Raises
    ------
    DatasetError
        If the bundle lacks one of the bands or all of the parts, or its networks have other sizes.
    """
    bundle = load_bundle(path)
    theirs = bundle.card.bands
    if any(band not in theirs for band in bands):
        raise DatasetError(f"{path}: has bands {', '.join(theirs)}, wanted {', '.join(bands)}")
    chosen = [theirs.index(band) for band in bands]
    if not set(parts) & set(bundle.networks):
        raise DatasetError(
            f"{path}: holds {', '.join(bundle.networks)}, none of which this recipe trains "
            f"({', '.join(parts)})"
        )
    for name in [name for name in parts if name in bundle.networks]:
        network = parts[name]
        source = bundle.networks[name].state_dict()
        own = cast(dict[str, Tensor], network.state_dict())
        small, large = (_size(n) for n in (bundle.networks[name], network))
        if theirs == bands and small and large and grows_into(small, large):
            source = grown(source, small, own, large)
        if getattr(network, "darkest", False) and not getattr(
            bundle.networks[name], "darkest", False
        ):
            # What it was not shown so far says nothing at first.
            stem = source["stem.weight"]
            source["stem.weight"] = torch.cat([stem, torch.zeros_like(stem)], dim=1)
        try:
            network.load_state_dict(
                {k: _without_bands(source[k], v, chosen, len(theirs)) for k, v in own.items()}
            )
        except (KeyError, IndexError, RuntimeError) as error:
            raise DatasetError(
                f"{path}: its {name!r} is another network or of another size than the recipe's; "
                f"give [parts.{name}] of that bundle, as `decr models info` shows it"
            ) from error


def _size(network: nn.Module) -> UNetSize | None:
    """The size of a compact reference: the only kind of network that grows."""
    return network.unet.size if isinstance(network, CompactReference) else None


def _without_bands(source: Tensor, target: Tensor, chosen: list[int], bands: int) -> Tensor:
    """Drop bands along every axis on which the two differ; images are concatenated band-wise."""
    for axis in range(source.ndim):
        if source.shape[axis] != target.shape[axis]:
            images = source.shape[axis] // bands
            index = [image * bands + band for image in range(images) for band in chosen]
            source = source.index_select(axis, torch.tensor(index))
    return source


def adopt(
    stage: Stage, parts: Mapping[str, nn.Module], run_dir: Path, images: Identity
) -> TrainResult | None:
    """Take the averaged weights of a stage that was trained in this run before; None if it was not.

    Parameters
    ----------
    images
        Those of this run: a bundle says of all its networks what they were trained on.

    Raises
    ------
    DatasetError
        If it was not finished, or with other networks or images.
    """
    path = run_dir / f"{stage.name}.pt"
    if not path.exists():
        return None
    state = read_checkpoint(path)
    step = int(state["step"])
    if step < int(state.get("steps", step)):
        raise DatasetError(
            f"{path}: stage {stage.name} stopped at step {step} of {state['steps']}; finish it "
            f"first with `decr train {stage.name}` and this run's options"
        )
    refuse_others(state, images, path)
    return _taken(state, path, stage, parts)


def adopt_later(
    stage: Stage, parts: Mapping[str, nn.Module], run_dir: Path, images: Identity
) -> TrainResult | None:
    """As `adopt`, for a stage after the one that was asked for: a bundle keeps what it had.

    None, too, if it is not finished, or was trained upon other networks or images than these are.
    """
    path = run_dir / f"{stage.name}.pt"
    if not path.exists():
        return None
    state = read_checkpoint(path)
    if int(state["step"]) < int(state.get("steps", 0)):
        return None
    if differences(state, {**images, NETWORKS: begun_with(stage, parts)}, path):
        warnings.warn(
            f"{path}: stage {stage.name} was trained upon other networks or images than those of "
            f"now, so the bundle is without its work; remove that file and train {stage.name} anew",
            DecrWarning,
            stacklevel=2,
        )
        return None
    return _taken(state, path, stage, parts)


def _taken(
    state: Mapping[str, Any], path: Path, stage: Stage, parts: Mapping[str, nn.Module]
) -> TrainResult:
    trained = nn.ModuleDict({name: parts[name] for name in stage.trains})
    try:
        trained.load_state_dict(state["ema"])
    except RuntimeError as error:
        raise DatasetError(
            f"{path}: was made with other networks or bands than this recipe's; name another "
            f"folder for this run"
        ) from error
    loss = float(state.get("loss", float("nan")))
    return TrainResult(int(state["step"]), True, loss, float(state["seconds"]))
