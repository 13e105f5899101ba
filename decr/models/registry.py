"""Networks by name: what a weights file says it holds is what is built."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import nn

from decr.errors import BundleError
from decr.models.cnp import CNP, cnp_size
from decr.models.reference import CompactReference
from decr.models.unet import UNetSize
from decr.models.wa import WA, wa_size

Size = Mapping[str, Any]
Builder = Callable[[int, Size], nn.Module]


_UNET_SIZE = {"width", "multipliers", "blocks", "attention_factors", "heads", "bilinear"}


def _unet_size(channels_in: int, channels_out: int, size: Size, published: UNetSize) -> UNetSize:
    if not size:
        return published
    _check_unet(size, timed=published.timed)
    return UNetSize(
        in_channels=channels_in,
        out_channels=channels_out,
        width=int(size["width"]),
        multipliers=tuple(int(m) for m in size["multipliers"]),
        blocks=int(size["blocks"]),
        attention_factors=tuple(int(f) for f in size.get("attention_factors", ())),
        heads=int(size.get("heads", 1)),
        scale_shift=published.scale_shift,
        timed=published.timed,
        bilinear=bool(size.get("bilinear", False)),
    )


def _check_unet(size: Size, timed: bool) -> None:
    """Refuse sizes that no U-Net has: a file must not make us build something endless."""
    unknown = set(size) - _UNET_SIZE
    if unknown:
        raise ValueError(f"a U-Net's size has no {', '.join(sorted(unknown))}")
    lacking = {"width", "multipliers", "blocks"} - set(size)
    if lacking:
        raise ValueError(f"a U-Net's size needs {', '.join(sorted(lacking))}, too")
    width, multipliers = int(size["width"]), [int(m) for m in size["multipliers"]]
    blocks, heads = int(size["blocks"]), int(size.get("heads", 1))
    levels = 5 if timed else 8  # tiles and samples have sides of 16 n; the reference pads
    if not 1 <= width <= 1024 or not 1 <= blocks <= 16 or not 1 <= len(multipliers) <= levels:
        raise ValueError(f"width must lie in 1..1024, blocks in 1..16 and levels in 1..{levels}")
    if any(not 1 <= m <= 64 for m in multipliers):
        raise ValueError("multipliers must lie in 1..64")
    if heads < 1 or any(width * m % heads for m in multipliers):
        raise ValueError(f"{heads} heads cannot share its channels")
    if timed and width % 2:
        raise ValueError("the width of a network that is told the time must be even")


def _cnp(bands: int, size: Size) -> nn.Module:
    return CNP(_unet_size(2 * bands, bands, size, cnp_size(bands)))


def _wa(bands: int, size: Size) -> nn.Module:
    return WA(_unet_size(3 * bands, bands, size, wa_size(bands)))


def _compact(bands: int, size: Size) -> nn.Module:
    published = UNetSize(bands, bands, 16, (1, 2, 4, 6, 8), blocks=1, timed=False)
    return CompactReference(_unet_size(bands, bands, size, published))


def _by_keywords(module: str, network: str) -> Builder:
    """Build a class of a module beside this one, imported on first use, from its size as keywords.

    What the size leaves out has the published value.
    """

    def build(bands: int, size: Size) -> nn.Module:
        built = getattr(importlib.import_module(f"decr.models.{module}"), network)
        return cast(nn.Module, built(bands, **size))

    return build


_BUILDERS: dict[str, Builder] = {
    "amgan": _by_keywords("amgan", "AMGAN"),
    "cloudnet": _by_keywords("cloudnet", "CloudNet"),
    "cnp": _cnp,
    "compact": _compact,
    "cvae": _by_keywords("cvae", "CVAE"),
    "memorynet": _by_keywords("memorynet", "MemoryNet"),
    "msda": _by_keywords("msda", "MSDA"),
    "msda_discriminator": _by_keywords("msda", "MSDADiscriminator"),
    "patchgan": _by_keywords("patchgan", "PatchGAN"),
    "spagan": _by_keywords("spagan", "SpAGAN"),
    "wa": _wa,
}

NAMES = tuple(_BUILDERS)

ARCHITECTURES_OF: Mapping[str, tuple[str, ...]] = {
    "reference": ("amgan", "compact", "cvae", "memorynet", "msda", "spagan"),
    "cnp": ("cnp",),
    "wa": ("wa",),
    "detector": ("cloudnet",),
}
"""Architectures that can play each part of a bundle."""


def check_architecture(part: str, architecture: str) -> None:
    """Refuse a network where another is called; raises ValueError."""
    if part not in ARCHITECTURES_OF:
        raise ValueError(f"no part is called {part!r}; there are {', '.join(ARCHITECTURES_OF)}")
    if architecture not in ARCHITECTURES_OF[part]:
        raise ValueError(
            f"part {part!r} cannot be {architecture!r}, only {', '.join(ARCHITECTURES_OF[part])}"
        )


def create(name: str, bands: int, size: Size | None = None) -> nn.Module:
    """Build a network.

    Parameters
    ----------
    name
        One of ``NAMES``.
    bands
        3 or 4 (other numbers work where the architecture does not care).
    size
        Widths and depths; empty or None gives the published size.

    Raises
    ------
    BundleError
        For an unknown name or a size the network does not have.
    """
    if name not in _BUILDERS:
        raise BundleError(f"no network is called {name!r}; there are {', '.join(NAMES)}")
    try:
        # A hostile file must not make us build networks without end.
        if int((size or {}).get("blocks", 1)) > 64:
            raise ValueError("more than 64 blocks")
        network = _BUILDERS[name](bands, size or {})
        if any(not parameter.numel() for parameter in network.parameters()):
            raise ValueError("layers would have no channels; give larger numbers")
        return network
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise BundleError(f"network {name!r} cannot be built with size {size}: {error}") from error
