"""What a bundle says of itself, for people and for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from decr.zoo.bundle import Bundle


def parameter_counts(bundle: Bundle) -> dict[str, int]:
    """Parameters of each part, shared ones counted once."""
    return {
        name: sum(p.numel() for p in network.parameters())
        for name, network in bundle.networks.items()
    }


def card_as_dict(bundle: Bundle) -> dict[str, Any]:
    """The card with parameter counts and the file's hash, plain values only."""
    return {**asdict(bundle.card), "parameters": parameter_counts(bundle), "sha256": bundle.sha256}


def described(bundle: Bundle) -> str:
    """The card in a few lines."""
    card, counts = bundle.card, parameter_counts(bundle)
    low, high = card.gsd_range_m
    lines = [
        f"name        {card.name}",
        f"bands       {', '.join(card.bands)}",
        f"GSD         {card.gsd_m:g} m (trained on {low:g} to {high:g} m)",
        *(
            f"{name:11} {part.architecture}, {counts[name]:,} parameters"
            for name, part in card.parts.items()
        ),
    ]
    if "cnp" in card.parts:
        lines.append(f"sampling    {card.steps} DDIM steps, prior floor {card.prior_floor:g}")
    lines += [
        f"licence     {card.licence or 'not stated'}",
        *(f"{key:11} {value}" for key, value in card.provenance.items()),
        f"sha256      {bundle.sha256}",
    ]
    return "\n".join(lines)
