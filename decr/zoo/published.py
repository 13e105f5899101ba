"""Published checkpoints: which network a file holds, and its tensors fitted to ours strictly.

Source: the checkpoints that the authors of Sui et al., TGRS 2024, of SpA-GAN and of Cloud-Net
publish, as described by the names and shapes of their tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from decr.errors import BundleError
from decr.models.cloudnet import keras_names, state_dict_from_keras
from decr.models.registry import create
from decr.zoo.formats import read_weights
from decr.zoo.limits import shown

WA_PREFIX = "sjlnet."
"""What the combined DE checkpoint puts before the keys of its weight allocator."""

_LIKENESS = 0.5
"""Least share of common keys for a file to be taken as a (perhaps damaged) network."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """What is published under a network's name.

    Attributes
    ----------
    title
        For people.
    part
        Part of a bundle that it becomes; empty if restoring never needs it.
    bands_from
        Published key and axis whose length is the number of bands.
    prefixes
        What may stand before every key.
    inner
        What our network has before every key instead.
    values
        What numbers it takes and gives.
    """

    title: str
    part: str
    bands_from: tuple[str, int]
    prefixes: tuple[str, ...] = ()
    inner: str = ""
    values: str = "8-bit values / 255"


_GAN = ("gen.gen.", "gen.")
_UNIT = "8-bit values / 127.5 - 1"

NETWORKS: Mapping[str, Network] = {
    "cnp": Network("DE noise predictor", "cnp", ("out.2.weight", 0), inner="unet.", values=_UNIT),
    "wa": Network(
        "DE weight allocator", "wa", ("out.2.weight", 0), (WA_PREFIX,), "unet.", values=_UNIT
    ),
    "memorynet": Network("MemoryNet", "reference", ("tail.weight", 0)),
    "msda": Network("MSDA-CR generator", "reference", ("conv_out.weight", 0)),
    "spagan": Network("SpA-GAN generator", "reference", ("conv_in.0.weight", 1), _GAN),
    "amgan": Network("AMGAN-CR generator", "reference", ("conv_in.0.weight", 1), _GAN),
    "cvae": Network("CVAE", "reference", ("encoder.patch_embedding.patch_embedding.weight", 1)),
    "cloudnet": Network(
        "Cloud-Net", "detector", ("conv2d_1/kernel", 2), values="Landsat-8 DN / 65535"
    ),
}
"""Networks that can be imported, by the names they have in the registry."""

_TRAINING_ONLY: Mapping[str, Network] = {
    "patchgan": Network("SpA-GAN's or AMGAN-CR's discriminator", "", ("", 0), ("dis.dis.", "dis.")),
    "msda_discriminator": Network("MSDA-CR's discriminator", "", ("", 0)),
}

_PROFILED = re.compile(r"(^|\.)total_(ops|params)$")
"""Single numbers that counting operations with `thop` leaves in every layer."""

AS_NAMES = ("de", *NETWORKS)
"""What a file can be said to hold: "de" is the noise predictor and the weight allocator."""


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """What a published file was found to hold.

    Attributes
    ----------
    networks
        By name in the registry: "cnp" and "wa" together, or one of the others alone.
    bands
        Number of bands, 3 or 4.
    """

    networks: Mapping[str, nn.Module]
    bands: int

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The networks by the part of a bundle that each becomes."""
        return {NETWORKS[name].part: network for name, network in self.networks.items()}

    @property
    def title(self) -> str:
        """For people: "DE noise predictor + DE weight allocator"."""
        return " + ".join(NETWORKS[name].title for name in self.networks)


def read_published(path: Path, as_name: str | None = None) -> Imported:
    """Read a published checkpoint and build its networks, every tensor in its place.

    Parameters
    ----------
    path
        Any file that :func:`decr.zoo.formats.read_weights` reads.
    as_name
        One of ``AS_NAMES``, to have it taken as that instead of recognised.

    Returns
    -------
    Imported
        Networks in evaluation mode, float32, on the CPU, with the file's numbers.

    Raises
    ------
    BundleError
        If no network is recognised, or naming the first tensor that does not fit.
    """
    if as_name is not None and as_name not in AS_NAMES:
        raise BundleError(f"--as {as_name}: no such network; there are {', '.join(AS_NAMES)}")
    tensors = _without_counts(read_weights(path))
    networks: dict[str, nn.Module] = {}
    counts: dict[str, int] = {}
    for name, mine in _grouped(path, tensors, as_name).items():
        counts[name] = _bands(path, NETWORKS[name], mine)
        networks[name] = _filled(path, name, mine, counts[name])
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{NETWORKS[name].title} {count}" for name, count in counts.items())
        raise BundleError(f"{path}: its networks differ in bands ({said}); they were not one model")
    return Imported(networks, next(iter(counts.values())))


def _without_counts(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """All tensors but those that profiling left, unless there are no others."""
    weights = {k: v for k, v in tensors.items() if v.numel() != 1 or not _PROFILED.search(k)}
    return weights or tensors


def _grouped(
    path: Path, tensors: Mapping[str, Tensor], as_name: str | None
) -> dict[str, Mapping[str, Tensor]]:
    """Assign all tensors, under their names in the file, to networks."""
    if as_name not in (None, "de"):
        return {str(as_name): tensors}
    wa = {key: value for key, value in tensors.items() if key.startswith(WA_PREFIX)}
    rest = {key: value for key, value in tensors.items() if key not in wa}
    if as_name == "de":
        return {"cnp": rest, "wa": wa}
    groups: dict[str, Mapping[str, Tensor]] = {_recognised(path, rest): rest} if rest else {}
    if wa and groups.keys() - {"cnp"}:
        raise BundleError(
            f"{path}: holds a weight allocator ({WA_PREFIX}*) beside "
            f"{NETWORKS[min(groups)].title}; a DE checkpoint has it beside a noise predictor"
        )
    return groups | {"wa": wa} if wa else groups


def _recognised(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Name of the network whose keys are most like these."""
    known = {**NETWORKS, **_TRAINING_ONLY}
    likeness = {name: _likeness(name, network, tensors) for name, network in known.items()}
    best = max(likeness, key=lambda name: likeness[name])
    if likeness[best] < _LIKENESS:
        raise BundleError(
            f"{path}: {len(tensors)} tensors of no published network, first {shown(min(tensors))}; "
            f"decr imports {', '.join(AS_NAMES)}; --as NAME says what does not fit"
        )
    if best in _TRAINING_ONLY:
        raise BundleError(
            f"{path}: holds {_TRAINING_ONLY[best].title}, which only training needs; pass the "
            f"generator's checkpoint"
        )
    return best


def _likeness(name: str, network: Network, tensors: Mapping[str, Tensor]) -> float:
    """Common keys over all keys of a file and a network."""
    prefix = _prefix(network, tensors)
    mine, theirs = _published_keys(name), {key.removeprefix(prefix) for key in tensors}
    return len(mine & theirs) / len(mine | theirs)


def _prefix(network: Network, tensors: Mapping[str, Tensor]) -> str:
    """What stands before most keys: a stray key must not hide it."""
    for prefix in network.prefixes:
        if 2 * sum(key.startswith(prefix) for key in tensors) > len(tensors):
            return prefix
    return ""


@cache
def _published_keys(name: str) -> frozenset[str]:
    return frozenset(_published_shapes(name, 3))


@cache
def _published_shapes(name: str, bands: int) -> Mapping[str, Shape]:
    """Shapes of a network's tensors by published key, without prefix."""
    with torch.device("meta"):
        state = create(name, bands).state_dict()
    if name == "cloudnet":
        return {key: _keras_shape(key, state[ours]) for key, ours in keras_names().items()}
    inner = NETWORKS[name].inner if name in NETWORKS else ""
    return {key.removeprefix(inner): tuple(value.shape) for key, value in state.items()}


def _keras_shape(key: str, ours: Tensor) -> Shape:
    shape = tuple(ours.shape)
    return (*shape[2:], shape[1], shape[0]) if key.endswith("/kernel") else shape


def _bands(path: Path, network: Network, tensors: Mapping[str, Tensor]) -> int:
    """Number of bands, from the shape that tells it; 3 if that tensor is not there."""
    key, axis = network.bands_from
    telling = tensors.get(_prefix(network, tensors) + key)
    if telling is None or telling.ndim <= axis:
        return 3
    count = int(telling.shape[axis])
    if count not in (3, 4):
        raise BundleError(
            f"{path}: {network.title} for {count} bands (tensor {key!r} has shape "
            f"{tuple(telling.shape)!s:.80}); published networks take 3 or 4"
        )
    return count


def _filled(path: Path, name: str, tensors: Mapping[str, Tensor], bands: int) -> nn.Module:
    """Build a network and put every tensor in its place."""
    title, prefix = NETWORKS[name].title, _prefix(NETWORKS[name], tensors)
    written = {key.removeprefix(prefix): key for key in tensors}
    wanted = _published_shapes(name, bands)
    left = [*(written.keys() - wanted.keys())]
    left += [key for key in tensors if written[key.removeprefix(prefix)] != key]
    for problem, keys in (("lacks", wanted.keys() - written.keys()), ("has unknown", left)):
        if keys:
            key = min(keys)
            raise BundleError(
                f"{path}: taken as {title}, it {problem} tensor "
                f"{shown(written.get(key, prefix + key))} ({len(keys)} in all); the file is "
                f"another network's or incomplete"
            )
    for key, shape in wanted.items():
        value = tensors[written[key]]
        if tuple(value.shape) != shape or not value.is_floating_point():
            raise BundleError(
                f"{path}: tensor {shown(written[key])} is {value.dtype} of shape "
                f"{tuple(value.shape)!s:.80}, {title} for {bands} bands needs floats of {shape}; "
                f"only the published sizes can be imported"
            )
    return _loaded(path, name, {key: tensors[written[key]] for key in wanted}, bands)


def _loaded(path: Path, name: str, tensors: Mapping[str, Tensor], bands: int) -> nn.Module:
    network, inner = create(name, bands), NETWORKS[name].inner
    if name == "cloudnet":
        state = state_dict_from_keras(
            {key: value.float().numpy() for key, value in tensors.items()}
        )
    else:
        state = {inner + key: value for key, value in tensors.items()}
    network.load_state_dict(state)
    # One parameter may have many names, of which only the last would count.
    for key, value in network.state_dict().items():
        if not torch.equal(value, state[key].to(value.dtype)):
            raise BundleError(
                f"{path}: tensor {shown(key.removeprefix(inner))} differs from others that share "
                f"its parameter in {NETWORKS[name].title}; the file was changed after training"
            )
    return network.eval().requires_grad_(False)
