"""The mean of two trained bundles' weights: two runs from one start often do better together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from decr.errors import BundleError, ConfigError
from decr.zoo.bundle import Bundle, bundle_output, load_bundle, save_bundle
from decr.zoo.card import Card
from decr.zoo.credit import each_once, joint_licence
from decr.zoo.embedded import find_bundle


def average_bundles(
    first: str | Path,
    second: str | Path,
    out: Path,
    parts: tuple[str, ...] = (),
    name: str | None = None,
    overwrite: bool = False,
    share: float = 0.5,
) -> Card:
    """Average parts that two bundles share; all other parts stay those of the first.

    Averages of weights make sense between runs that started from the same weights (Wortsman et
    al., 2022, "Model soups").

    Parameters
    ----------
    first, second
        Embedded names or bundle files with the same bands; shared parts have the same architecture
        and size.
    out
        The bundle to write.
    parts
        Which; all that both have if empty.
    name
        On its card; that of ``out`` if absent.
    share
        Of the second, 0..1.

    Returns
    -------
    Card
        As written: the first's, with licences, attributions and provenance of both.

    Raises
    ------
    ConfigError
        If the share is not above 0 and below 1.
    BundleError
        If they share no part or not the ones named, or differ in bands or networks.
    OutputError
        If ``out`` exists already or its folder does not, or another process writes it.
    """
    if not 0.0 < share < 1.0:
        raise ConfigError(f"the second's share must lie between 0 and 1, not {share}")
    with bundle_output(out, [], overwrite):
        first, second = (find_bundle(os.fspath(model), False) for model in (first, second))
        ours, theirs = load_bundle(first), load_bundle(second)
        shared = _shared(first, ours, second, theirs, parts)
        networks: Mapping[str, nn.Module] = ours.networks
        for part in shared:
            networks[part].load_state_dict(
                _mean(networks[part].state_dict(), theirs.networks[part].state_dict(), share)
            )
        owed = each_once(
            *(str(card.provenance.get("attribution", "")) for card in (ours.card, theirs.card))
        )
        earlier = ours.card.provenance.get("averaged")
        card = replace(
            ours.card,
            errors=None,  # of other weights
            name=name or out.stem,
            licence=joint_licence(ours.card.licence, theirs.card.licence, theirs.card.name),
            provenance={
                **ours.card.provenance,
                **({"attribution": owed} if owed else {}),
                "averaged": (f"{earlier}; then " if earlier else "")
                + f"{', '.join(shared)} with {theirs.card.name} ({theirs.sha256[:12]}), "
                f"whose share is {share:g}",
                **{
                    f"{theirs.card.name} {key}": value
                    for key, value in theirs.card.provenance.items()
                    if key != "attribution"
                },
            },
        )
        save_bundle(out, card, networks, ours.dtype)
        return card


def _shared(
    first: Path, ours: Bundle, second: Path, theirs: Bundle, wanted: tuple[str, ...]
) -> list[str]:
    """Names of the parts to average, which must be alike."""
    if ours.card.bands != theirs.card.bands:
        raise BundleError(
            f"{second}: has bands {', '.join(theirs.card.bands)}, but {first} has "
            f"{', '.join(ours.card.bands)}; only equal networks can be averaged"
        )
    shared = [part for part in ours.card.parts if part in theirs.card.parts]
    shared = [part for part in shared if not wanted or part in wanted]
    if not shared or not set(wanted) <= set(shared):
        raise BundleError(
            f"{second}: shares no {' or '.join(wanted) or 'part'} with {first}: they hold "
            f"{', '.join(theirs.card.parts)} and {', '.join(ours.card.parts)}"
        )
    for part in shared:
        if ours.card.parts[part] != theirs.card.parts[part]:
            raise BundleError(f"{second}: its {part} is not the network that {first} holds")
    return shared


def _mean(a: Mapping[str, Tensor], b: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """The mean of floating-point tensors; counters are the first's."""
    return {
        key: torch.lerp(value, b[key], share) if value.is_floating_point() else value
        for key, value in a.items()
    }
