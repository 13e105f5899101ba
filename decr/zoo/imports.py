"""From published checkpoints to a bundle: networks, conventions and provenance in one file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from decr.errors import BandError, BundleError, ConfigError
from decr.geo.bands import bands_of
from decr.zoo.bundle import bundle_output, save_bundle, unchanged
from decr.zoo.card import Card, Part
from decr.zoo.published import NETWORKS, Imported, read_published

_ORDERS = {3: ("red", "green", "blue"), 4: ("red", "green", "blue", "nir")}
_UNSTATED = "not stated"
_LANDSAT_GSD_M = 30.0


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What is known of a published file beyond its tensors.

    Attributes
    ----------
    origin
        Where it comes from.
    bands
        Roles of its bands, in order.
    gsd_m
        Ground sampling distance of its training images, metres.
    licence
        Of the weights.
    note
        What the numbers above rest on.
    """

    origin: str
    bands: tuple[str, ...]
    gsd_m: float
    licence: str
    note: str


_BGR = ("blue", "green", "red")
_SPAGAN = "Penn000/SpA-GAN_for_cloud_removal, gen_model_epoch_200.pth of "

KNOWN: Mapping[str, KnownFile] = {
    "1a9f87f50e4b439b64675d1612f06604a6bc61748f7d9fe6cf252ba371ec3f16": KnownFile(
        f"{_SPAGAN}RICE1",
        _BGR,
        _LANDSAT_GSD_M,
        "MIT",
        "trained on RICE1, whose images come from Google Earth at a pixel size that is not "
        "stated; 30 m, that of RICE2, is assumed",
    ),
    "9706b2e29b331366b1b9b83288ac3d8568bc58efebe1b8dee66a696b99531744": KnownFile(
        f"{_SPAGAN}RICE2", _BGR, _LANDSAT_GSD_M, "MIT", "trained on RICE2, Landsat 8 at 30 m"
    ),
}
"""Files recognised by their SHA-256."""


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """A file and what it holds."""

    path: Path
    sha256: str
    held: Imported

    @property
    def known(self) -> KnownFile | None:
        return KNOWN.get(self.sha256)


def import_checkpoint(
    path: Path,
    out: Path,
    *,
    as_name: str | None = None,
    reference: Path | None = None,
    name: str | None = None,
    bands: str | None = None,
    gsd_m: float | None = None,
    licence: str | None = None,
    overwrite: bool = False,
) -> Card:
    """Turn published weights into a bundle, exact in float32; equal input gives equal bytes.

    Parameters
    ----------
    path
        A DE checkpoint, a checkpoint of its first stage (noise predictor alone), a reference
        network, or a Cloud-Net.
    out
        The bundle to write. It appears complete or not at all.
    as_name
        Takes the file for one of ``decr.zoo.published.AS_NAMES`` instead of recognising it.
    reference
        The reference network that a DE checkpoint was trained with.
    name, bands, gsd_m, licence
        What the card shall say; None takes what is known or usual. ``bands`` is a list such as
        "b,g,r"; ``gsd_m`` is in metres.
    overwrite
        Whether ``out`` may exist.

    Returns
    -------
    Card
        As written.

    Raises
    ------
    BundleError
        If a file is damaged, unsafe, not recognised, or does not go with the other one.
    BandError, ConfigError
        If ``bands`` or ``gsd_m`` cannot be.
    OutputError
        If ``out`` exists or cannot be written, or another process writes it.
    """
    path, out = Path(path), Path(out)
    reference = None if reference is None else Path(reference)
    with bundle_output(out, [path] if reference is None else [path, reference], overwrite):
        if gsd_m is not None and not 0 < gsd_m < math.inf:
            raise ConfigError(f"gsd_m must be a positive number of metres, not {gsd_m}")
        main = _read(path, as_name)
        sources = [main] if reference is None else [main, _read(reference, None)]
        _check_combination(*sources)
        networks = {net: s.held.networks[net] for s in sources for net in s.held.networks}
        parts = {NETWORKS[net].part: Part(net) for net in networks}
        gsd, gsd_note = _gsd(main, gsd_m)
        order, order_note = _order(sources, bands)
        known = main.known
        card = Card(
            name=name or path.stem,
            bands=order,
            gsd_m=gsd,
            parts=parts,
            ranges={"uint16": (0.0, 65535.0)} if "detector" in parts else {"uint8": (0.0, 255.0)},
            licence=licence or (known.licence if known else _UNSTATED),
            provenance=_provenance(sources, [order_note, gsd_note, _cvae_note(networks)]),
        )
        parts_of = {NETWORKS[net].part: network for net, network in networks.items()}
        save_bundle(out, card, parts_of, dtype=torch.float32)
        return card


def _read(path: Path, as_name: str | None) -> _Source:
    with unchanged(path) as digest:
        return _Source(path, digest, read_published(path, as_name))


def _check_combination(main: _Source, reference: _Source | None = None) -> None:
    """Refuse files that do not make a model together."""
    held, title = set(main.held.parts), main.held.title
    if held == {"wa"}:
        raise BundleError(
            f"{main.path}: holds the {title} alone; pass the DE checkpoint that it is part of"
        )
    if reference is None:
        if "wa" in held:
            raise BundleError(
                f"{main.path}: {title} need the reference network they were trained with; pass its "
                f"checkpoint as --reference FILE"
            )
        return
    if "wa" not in held:
        lacking = "the weight allocator" if held == {"cnp"} else "a noise predictor"
        raise BundleError(
            f"{main.path}: holds {title} and lacks {lacking}, so a reference cannot go with it; "
            f"leave --reference out, or pass a combined DE checkpoint"
        )
    if set(reference.held.parts) != {"reference"}:
        raise BundleError(
            f"{reference.path}: holds {reference.held.title}, not a reference network; pass a "
            f"checkpoint of MemoryNet, MSDA-CR, SpA-GAN, AMGAN-CR or CVAE as --reference"
        )
    if main.held.bands != reference.held.bands:
        raise BundleError(
            f"{reference.path}: takes {reference.held.bands} bands, {main.path} "
            f"{main.held.bands}; pass the reference that was trained with it"
        )


def _order(sources: Sequence[_Source], stated: str | None) -> tuple[tuple[str, ...], str]:
    """Roles of the bands, and what they rest on."""
    main = sources[0]
    count = main.held.bands
    if stated is not None:
        roles = bands_of((), (), count, stated, str(main.path))[0].roles
        if unfit := [role for role in roles if role not in _ORDERS[4]]:
            raise BandError(
                f"--bands {stated}: networks take blue, green, red, nir, not {unfit[0]}"
            )
        return roles, "band order as stated when imported"
    orders = [s.known.bands if s.known else _ORDERS[count] for s in sources]
    if len(set(orders)) > 1:
        said = "; ".join(f"{s.path}: {', '.join(o)}" for s, o in zip(sources, orders, strict=True))
        raise BundleError(
            f"the two files take their bands in different orders ({said}), so they were not "
            f"trained together; pass the reference that was"
        )
    if "spagan" in main.held.networks and not main.known and count == 3:
        return orders[0], (
            "band order red, green, blue assumed; weights trained by the original SpA-GAN code "
            "take blue, green, red"
        )
    return orders[0], ""


def _gsd(main: _Source, stated: float | None) -> tuple[float, str]:
    """Ground sampling distance, and what it rests on."""
    if stated is not None:
        return float(stated), "GSD as stated when imported"
    if main.known:
        return main.known.gsd_m, main.known.note
    if "detector" in main.held.parts:
        return _LANDSAT_GSD_M, "trained on Landsat 8 at 30 m, shrunk to 60 m during training"
    if main.held.bands == 4:
        return 1.0, "GSD of CUHK-CR assumed: 0.5 m images that training halves to 1 m"
    return 1.0, "GSD of the training images not known, 1 m assumed"


def _provenance(sources: Sequence[_Source], notes: Sequence[str]) -> dict[str, Any]:
    """Where the weights come from and how their authors used them; no dates, no folders."""
    said: dict[str, Any] = {}
    for key, source in zip(("source", "reference_source"), sources, strict=False):
        said[key] = source.path.name
        said[f"{key}_sha256"] = source.sha256
        said[f"{key}_holds"] = source.held.title
        if source.known:
            said[f"{key}_origin"] = source.known.origin
    values = {
        NETWORKS[name].part: NETWORKS[name].values for s in sources for name in s.held.networks
    }
    said["published_values"] = "; ".join(f"{part} {text}" for part, text in values.items())
    said["notes"] = [note for note in notes if note]
    return said


def _cvae_note(networks: Mapping[str, nn.Module]) -> str:
    if "cvae" not in networks:
        return ""
    return "CVAE takes tiles of up to 256 px; decr draws its likeliest image, not a random one"
