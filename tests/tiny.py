"""Networks with a few thousand random parameters or none, for tests that must be quick."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from decr.models.registry import create
from decr.zoo.bundle import save_bundle
from decr.zoo.card import Card, Part

BANDS = {3: ("red", "green", "blue"), 4: ("red", "green", "blue", "nir")}
PARTS = {
    "reference": Part("compact", {"width": 8, "multipliers": [1, 2], "blocks": 1}),
    "cnp": Part("cnp", {"width": 8, "multipliers": [1, 2], "blocks": 1}),
    "wa": Part("wa", {"width": 8, "multipliers": [1, 2], "blocks": 1}),
}
DETECTOR = {"detector": Part("cloudnet", {"width": 2})}


class MeanDifference(nn.Module):
    """Stands in for LPIPS: mean absolute difference per image."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().mean(dim=(1, 2, 3))


def randomised(network: nn.Module, seed: int = 0, scale: float = 0.1) -> nn.Module:
    """Fill all parameters, also those that start at zero, so that every layer does something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return network


def tiny_networks(parts: dict[str, Part], bands: int) -> dict[str, nn.Module]:
    """Seeded networks, one per part."""
    torch.manual_seed(0)
    return {
        name: randomised(create(part.architecture, bands, part.size), seed)
        for seed, (name, part) in enumerate(parts.items())
    }


def tiny_card(parts: dict[str, Part], bands: int) -> Card:
    """A card whose optional fields are all set."""
    return Card(
        name="tiny",
        bands=BANDS[bands],
        gsd_m=0.5,
        parts=parts,
        gsd_range_m=(0.3, 2.0),
        steps=3,
        prior_floor=0.4,
        ranges={"uint8": (0.0, 255.0)},
        licence="CC0",
        provenance={"trained": "never"},
    )


def tiny_bundle(folder: Path, bands: int, parts: dict[str, Part] = PARTS) -> Path:
    """Write a bundle of tiny networks into a folder."""
    path = folder / f"tiny{bands}_{len(parts)}.safetensors"
    save_bundle(path, tiny_card(parts, bands), tiny_networks(parts, bands))
    return path
