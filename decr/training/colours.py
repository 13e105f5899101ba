"""A distance of colour images, for images of other bands."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from decr.errors import ConfigError

_COLOURS = ("red", "green", "blue")


def places_of_colours(bands: Sequence[str]) -> list[int]:
    """Where red, green and blue are among an image's bands.

    Raises
    ------
    ConfigError
        If one is missing.
    """
    missing = [role for role in _COLOURS if role not in bands]
    if missing:
        raise ConfigError(
            f"a perceptual term needs red, green and blue; the bands {', '.join(bands)} lack "
            f"{', '.join(missing)}; set perceptual = 0"
        )
    return [bands.index(role) for role in _COLOURS]


class OfColours(nn.Module):
    """A frozen distance of red, green and blue, on images that have these among their bands.

    Parameters
    ----------
    distance
        (N, 3, H, W) twice, in [-1, 1], to (N,) or (N, 1, 1, 1).
    bands
        Roles of the images' bands.

    Raises
    ------
    ConfigError
        If a colour is missing.
    """

    def __init__(self, distance: nn.Module, bands: Sequence[str]) -> None:
        super().__init__()
        self.distance = distance
        self.rgb = places_of_colours(bands)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N, C, H, W) twice to (N,), in float32 also under autocast."""
        with torch.autocast(a.device.type, enabled=False):
            found: Tensor = self.distance(a[:, self.rgb].float(), b[:, self.rgb].float())
        return found.reshape(-1)
