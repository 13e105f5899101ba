"""What a bundle says of itself, for people and for JSON."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from torch import nn

from decr.models.unet import UNet
from decr.zoo.bundle import Bundle
from decr.zoo.card import Card, Part
from decr.zoo.limits import printable

_UNIT_PARTS = ("cnp", "wa")
"""Parts that work on [-1, 1]; the others take and give [0, 1]."""


def parameter_counts(bundle: Bundle) -> dict[str, int]:
    """Parameters of each part, shared ones counted once."""
    return {
        name: sum(p.numel() for p in network.parameters())
        for name, network in bundle.networks.items()
    }


def card_as_dict(bundle: Bundle) -> dict[str, Any]:
    """The card with parameter counts and the file's hash, plain values that JSON has."""
    card: dict[str, Any] = _finite(asdict(bundle.card))
    return {**card, "parameters": parameter_counts(bundle), "sha256": bundle.sha256}


def _finite(value: Any) -> Any:
    """A value of a card, with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def described(bundle: Bundle) -> str:
    """The card in a few lines."""
    lines = [*_lines(bundle), ("sha256", bundle.sha256)]
    width = max(len(key) for key, _ in lines)
    return "\n".join(printable(f"{key:{width}}  {value}") for key, value in lines)


def _lines(bundle: Bundle) -> Iterator[tuple[str, str]]:
    card, counts = bundle.card, parameter_counts(bundle)
    yield "name", card.name
    yield "bands", f"{', '.join(card.bands)} (in this order)"
    low, high = card.gsd_range_m
    yield "GSD", f"{card.gsd_m:g} m" + (f" (trained on {low:g} to {high:g} m)" if high else "")
    yield "DN range", _ranges(card)
    for name, part in card.parts.items():
        size = _size(part, bundle.networks[name])
        values = "[-1, 1]" if name in _UNIT_PARTS else "[0, 1]"
        yield name, f"{part.architecture} ({size}), {counts[name]:,} parameters, on {values}"
    if "cnp" in card.parts:
        yield (
            "sampling",
            f"{card.steps} DDIM steps of {card.train_steps} (linear schedule)"
            + (f", prior floor {card.prior_floor:g}" if "wa" in card.parts else "")
            + (f", the prior's means over {card.level_px} px" if card.level_px else ""),
        )
    if card.errors is not None:
        low, high = (100 * value / 2 for value in (card.errors.error[0], card.errors.error[-1]))
        yield (
            "expected error",
            f"{low:.1f} to {high:.1f} % of the range, by brightness; {card.errors.about}",
        )
    yield "licence", card.licence or "not stated"
    for key, value in card.provenance.items():
        for item in value if isinstance(value, list) else [value]:
            yield str(key).replace("_", " "), str(item)


def _ranges(card: Card) -> str:
    """Digital numbers that become the darkest and the brightest value."""
    said = [f"{dtype} {low:g} to {high:g}" for dtype, (low, high) in card.ranges.items()]
    return "; ".join([*said, "other types are estimated per scene" if said else "per scene"])


def _size(part: Part, network: nn.Module) -> str:
    """Widths and depths: "width 96, multipliers 1 1 2 2 3, blocks 2"."""
    numbers: dict[str, Any] = dict(part.size)
    if not numbers and isinstance(unet := getattr(network, "unet", None), UNet):
        size = unet.size
        numbers = {"width": size.width, "multipliers": size.multipliers, "blocks": size.blocks}
    elif not numbers:
        # A network built without numbers has its class's own.
        arguments = inspect.signature(type(network)).parameters.values()
        numbers = {a.name: a.default for a in arguments if a.default is not a.empty}
    said = [
        f"{key} {' '.join(map(str, value)) if isinstance(value, list | tuple) else value}"
        for key, value in numbers.items()
    ]
    return ", ".join(said if part.size else ["published size", *said])
