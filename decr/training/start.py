"""Weights that a run begins with: those of a bundle, or of stages trained before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from decr.errors import DatasetError, warn
from decr.models.reference import CompactReference
from decr.models.registry import create
from decr.models.unet import UNetSize
from decr.training.grow import grown, grows_into
from decr.training.identity import (
    NETWORKS,
    Identity,
    begun_with,
    differences,
    refuse_others,
    refuse_unfinished,
)
from decr.training.place import Place
from decr.training.recipe import Recipe
from decr.training.stage_run import TrainResult, read_checkpoint
from decr.training.stages import Stage
from decr.zoo.bundle import Bundle, load_bundle
from decr.zoo.card import Part

if TYPE_CHECKING:
    from decr.training.published import Objective


def networks_of(recipe: Recipe, place: Place) -> tuple[dict[str, nn.Module], Bundle | None]:
    """A recipe's networks on a device, seeded or with the weights of its start; the start.

    Its file is read this once: another may lie there when the bundle is written. Its own networks
    are not kept.

    Raises
    ------
    BundleError, DatasetError
        If the start cannot be read, or is none for these networks; see `start_from`.
    """
    torch.manual_seed(0)
    parts = {
        name: create(part.architecture, len(recipe.bands), part.size)
        for name, part in recipe.parts.items()
    }
    start = None
    if recipe.start is not None:
        start = replace(start_from(recipe.start, parts, recipe.bands), networks={})
    for network in parts.values():
        network.to(place.device)
        network.to(memory_format=place.layout)
    return parts, start


def with_discriminator(
    parts: Mapping[str, nn.Module], published: Objective | None, recipe: Recipe, place: Place
) -> Mapping[str, nn.Module]:
    """The networks and, where a published objective has one, its seeded discriminator."""
    if published is None or published.make_discriminator is None:
        return parts
    torch.manual_seed(1)
    rival = published.make_discriminator(len(recipe.bands)).to(place.device)
    return {**parts, "discriminator": rival}


def start_from(path: Path, parts: Mapping[str, nn.Module], bands: tuple[str, ...]) -> Bundle:
    """Copy a bundle's weights into new networks, which may take fewer bands in another order.

    Networks that the bundle does not hold are left as they are. A compact reference of the same
    bands that has more levels than the bundle's takes over those it shares. A Cloud-Net may see
    more bands, and the darkest of each cell: what it was not shown so far says nothing at first.

    Returns
    -------
    Bundle
        The one that was read.

    Raises
    ------
    DatasetError
        If the bundle lacks one of the bands or all of the parts, or its networks have other sizes.
    """
    bundle = load_bundle(path)
    theirs = bundle.card.bands
    known = set(bands) & set(theirs)
    # Networks that draw a band must have learned to.
    if not known or (set(parts) != {"detector"} and len(known) < len(bands)):
        raise DatasetError(f"{path}: has bands {', '.join(theirs)}, wanted {', '.join(bands)}")
    if not set(parts) & set(bundle.networks):
        raise DatasetError(
            f"{path}: holds {', '.join(bundle.networks)}, none of which this recipe trains "
            f"({', '.join(parts)})"
        )
    for name in [name for name in parts if name in bundle.networks]:
        network, old = parts[name], bundle.networks[name]
        source = _for_bands(old.state_dict(), bundle.card.parts[name], theirs, bands)
        small, large = _size(old), _size(network)
        try:
            if small and large and grows_into(small, large):
                own = cast(dict[str, Tensor], network.state_dict())
                source = grown(source, small, own, large)
            if getattr(network, "darkest", False) and not getattr(old, "darkest", False):
                # What it was not shown so far says nothing at first.
                stem = source["stem.weight"]
                source["stem.weight"] = torch.cat([stem, torch.zeros_like(stem)], dim=1)
            network.load_state_dict(source)
        except (KeyError, RuntimeError) as error:
            raise DatasetError(
                f"{path}: its {name!r} is another network or of another size than the recipe's; "
                f"give [parts.{name}] of that bundle, as `decr models info` shows it"
            ) from error
    return bundle


def _size(network: nn.Module) -> UNetSize | None:
    """The size of a compact reference: the only kind of network that grows."""
    return network.unet.size if isinstance(network, CompactReference) else None


def _for_bands(
    source: Mapping[str, Tensor], part: Part, theirs: Sequence[str], bands: Sequence[str]
) -> dict[str, Tensor]:
    """Weights for images of ``theirs`` as those for images of ``bands``; zeros for new bands.

    Bands lie along those axes that would be longer if there were one band more.
    """
    count = len(theirs)
    with torch.device("meta"):
        now, then = (
            create(part.architecture, n, part.size).state_dict() for n in (count, count + 1)
        )
    chosen = [theirs.index(band) if band in theirs else None for band in bands]
    taken = {}
    for key, tensor in source.items():
        for axis, (length, longer) in enumerate(zip(now[key].shape, then[key].shape, strict=True)):
            images = longer - length
            if not images:
                continue
            if key.startswith("decoder.fc2."):  # CVAE's first features: all pixels of a band
                index = [
                    band * images + pixel
                    for band in chosen
                    if band is not None
                    for pixel in range(images)
                ]
            else:
                # CVAE's features come before the image, a mask and the like after it.
                first = length - images * count if part.architecture == "cvae" else 0
                image = [
                    length if band is None else first + n * count + band
                    for n in range(images)
                    for band in chosen
                ]
                index = [*range(first), *image, *range(first + images * count, length)]
            nothing = torch.zeros_like(tensor.narrow(axis, 0, 1))  # at ``length``, for new bands
            tensor = torch.cat([tensor, nothing], axis).index_select(axis, torch.tensor(index))
        taken[key] = tensor
    return taken


def adopt(
    stage: Stage,
    parts: Mapping[str, nn.Module],
    run_dir: Path,
    images: Identity,
    later: bool = False,
) -> TrainResult | None:
    """Take the averaged weights of a stage that was trained in this run before; None if it was not.

    Parameters
    ----------
    parts
        Networks as the stage began with them: of the run's start, or of the stages before it.
    images
        Those of this run: a bundle says of all its networks what they were trained on.
    later
        Whether the stage comes after the one that was asked for. A bundle keeps what it had: where
        it would be refused, it is left out.

    Raises
    ------
    DatasetError
        If it was not finished, or with other images, or began with other networks.
    """
    path = run_dir / f"{stage.name}.pt"
    if not path.exists():
        return None
    state = read_checkpoint(path)
    began = {**images, NETWORKS: begun_with(stage, parts)}
    if not later:
        refuse_unfinished(state, stage, path)
        refuse_others(state, began, path)
    elif int(state["step"]) < int(state.get("steps", 0)):
        return None
    elif differences(state, began, path):
        warn(
            f"{path}: stage {stage.name} was trained upon other networks or images than those of "
            f"now, so the bundle is without its work; remove that file and train {stage.name} anew"
        )
        return None
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
