"""Named ways to measure: which size, which numbers, which formulas; and what a row of scores is.

A protocol is stated in every output, for scores of two protocols must not stand in one column.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from decr.errors import ConfigError
from decr.evaluation.imresize import imresize
from decr.evaluation.metrics import (
    mae,
    paper_ssim,
    psnr,
    sam,
    ssim,
    truncated_share,
    truncated_unit,
)
from decr.evaluation.perceptual import Lpips, lpips_of

Array = NDArray[Any]
Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Scores = dict[str, float | None]

_WHITE = 255.0
_NATIVE = ("tcloud", "whu")
"""Layouts of sets that the published code does not resize."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way to measure.

    Attributes
    ----------
    name
        As `--protocol` takes it.
    width_px
        Images are resized to this width by the published rule; None leaves them as they are.
    numbers
        What is compared: "real" numbers in [0, 1], bytes "cut" off as published, or "rounded".
    luma
        Whether SSIM is the published one (luma of three bands); else the mean over bands.
    bytes_to_lpips
        Whether ``lpips`` is fed 0..255, as published; then ``lpips_standard`` is told beside it.
    drop_duplicates
        Whether images that are copies of others, or of training images, are left out.
    says
        For people: everything above, in a sentence or two.
    """

    name: str
    width_px: int | None
    numbers: Literal["real", "cut", "rounded"]
    luma: bool
    bytes_to_lpips: bool
    drop_duplicates: bool
    says: str


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "standard": Protocol(
            "standard",
            None,
            "real",
            luma=False,
            bytes_to_lpips=False,
            drop_duplicates=False,
            says="native size; values DN / white, clipped to [0, 1], not rounded; PSNR: one mean "
            "squared error over all bands and pixels; SSIM: 7 x 7 uniform window, sample "
            "covariance, mean over bands; LPIPS 0.1 (AlexNet) on [-1, 1]",
        ),
        "de-paper": Protocol(
            "de-paper",
            256,
            "cut",
            luma=True,
            bytes_to_lpips=True,
            drop_duplicates=False,
            says="as the published code of Diffusion Enhancement: both images resized to 256 px "
            "(T-Cloud and WHU are not), cut off to bytes; PSNR over all bands; SSIM of luma, with "
            "four bands the mean over bands; lpips is fed 0..255, for which it is not made: "
            "lpips_standard is the right one",
        ),
        "geocr-98": Protocol(
            "geocr-98",
            256,
            "rounded",
            luma=False,
            bytes_to_lpips=False,
            drop_duplicates=True,
            says="after GeoCR's 98 images of CUHK-CR1: 256 px, copies within the test set and of "
            "training images left out (found by decr, whose list may differ from GeoCR's), rounded "
            "bytes, PSNR, SSIM (mean over bands) and LPIPS on [-1, 1]. GeoCR's resize rule, SSIM "
            "window and LPIPS backbone were not checked",
        ),
    }
)

HIGHER_IS_BETTER = ("psnr", "ssim")
METRICS = ("psnr", "ssim", "lpips", "lpips_standard", "mae", "sam")
UNITS: Mapping[str, str] = MappingProxyType(
    {
        "psnr": "dB",
        "ssim": "at most 1",
        "lpips": "distance",
        "lpips_standard": "distance",
        "mae": "share of white",
        "sam": "degrees",
    }
)
PARTS = ("", "cloudy_", "clear_")
"""All pixels, those that the clouds change, and the others; LPIPS is for whole images only."""


def better_is_higher(column: str) -> bool:
    """Whether a larger number in a column of scores is the better one."""
    return column.removeprefix("cloudy_").removeprefix("clear_") in HIGHER_IS_BETTER


def protocol_named(name: str) -> Protocol:
    """A protocol by its name.

    Raises
    ------
    ConfigError
        For an unknown name.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"no protocol is called {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def resized(levels: Float32, protocol: Protocol, layout: str) -> Float32:
    """An image at the size that the protocol measures at.

    Parameters
    ----------
    levels
        (C, H, W) float32, 0..255: DN * 255 / white.
    layout
        Of its set: some are never resized.

    Returns
    -------
    ndarray
        (C, H', W') float32; beyond 0..255 where the published rule overshoots.
    """
    scale = _scale(levels.shape[2], protocol, layout)
    return levels if scale == 1.0 else imresize(levels, scale)


def size_at(height: int, width: int, protocol: Protocol, layout: str) -> tuple[int, int]:
    """Height and width of an image once it is `resized`."""
    scale = _scale(width, protocol, layout)
    return math.ceil(height * scale), math.ceil(width * scale)


def _scale(width: int, protocol: Protocol, layout: str) -> float:
    """New side over old side."""
    if protocol.width_px is None or layout in _NATIVE:
        return 1.0
    return protocol.width_px / width


def unit_of(levels: Float32, protocol: Protocol) -> Float32:
    """Levels 0..255 as networks take them, [-1, 1]; saturated unless the protocol is published."""
    unit = levels / np.float32(_WHITE / 2) - np.float32(1.0)
    return unit if protocol.numbers == "cut" else np.clip(unit, -1.0, 1.0)


def of_levels(levels: Float32, protocol: Protocol, *, from_share: bool) -> Array:
    """The numbers that are compared of an image that no network made; see `of_unit`."""
    if protocol.numbers == "cut":
        if from_share:
            return truncated_share(levels / np.float32(_WHITE))
        return truncated_unit(unit_of(levels, protocol))
    return _of_share(levels.astype(np.float64) / _WHITE, protocol)


def of_unit(unit: Float32, protocol: Protocol, *, from_share: bool) -> Array:
    """The numbers that are compared of a restored image (C, H, W) in [-1, 1].

    Parameters
    ----------
    from_share
        Where the protocol cuts off bytes: from [0, 1], as the published code does for all networks
        but DE, or from [-1, 1].

    Returns
    -------
    ndarray
        float64 in [0, 1] for real numbers, else uint8.
    """
    if protocol.numbers == "cut":
        return truncated_share((unit + 1.0) / 2.0) if from_share else truncated_unit(unit)
    return _of_share((unit.astype(np.float64) + 1.0) / 2.0, protocol)


def _of_share(share: NDArray[np.float64], protocol: Protocol) -> Array:
    clipped = np.clip(share, 0.0, 1.0)
    return np.rint(clipped * _WHITE).astype(np.uint8) if protocol.numbers == "rounded" else clipped


def scored(
    output: Array, truth: Array, mask: Mask | None, protocol: Protocol, lpips: Lpips | None
) -> Scores:
    """All scores of one image.

    Parameters
    ----------
    output, truth
        (C, H, W) as `of_unit` gives them.
    mask
        (H, W), True = changed by clouds; None leaves out the scores of parts.
    lpips
        None leaves out LPIPS.

    Returns
    -------
    dict
        Score by column; None where it does not exist, as of a part without a pixel.
    """
    full = 1.0 if protocol.numbers == "real" else _WHITE
    found: Scores = _of_part(output, truth, None, full, protocol.luma)
    if lpips is not None:
        found |= _perceptual(output, truth, full, protocol, lpips)
    if mask is not None:
        for part, chosen in (("cloudy_", mask), ("clear_", ~mask)):
            scores = _of_part(output, truth, chosen, full, protocol.luma)
            found |= {part + name: value for name, value in scores.items()}
    return found


def _of_part(output: Array, truth: Array, mask: Mask | None, full: float, luma: bool) -> Scores:
    """PSNR, SSIM, MAE and SAM of the counted pixels; one band has no spectral angle."""
    if mask is not None and not mask[3:-3, 3:-3].any():
        return dict.fromkeys(("psnr", "ssim", "mae", "sam"))
    a, b = output.astype(np.float64), truth.astype(np.float64)
    lit = (a.any(axis=0) & b.any(axis=0)) if mask is None else (a.any(0) & b.any(0) & mask)
    return {
        "psnr": psnr(a, b, full, mask),
        "ssim": paper_ssim(output, truth, mask) if luma else ssim(a, b, full, mask),
        "mae": mae(a, b, mask) / full,
        "sam": sam(a, b, mask) if lit.any() and len(a) > 1 else None,
    }


def _perceptual(
    output: Array, truth: Array, full: float, protocol: Protocol, lpips: Lpips
) -> Scores:
    units = [image.astype(np.float32) * np.float32(2.0 / full) - 1 for image in (output, truth)]
    standard = lpips_of(units[0], units[1], lpips)
    if protocol.bytes_to_lpips:
        # Bytes 0..255 in a network made for [-1, 1]: smaller by factors of 1.8 to 8.5.
        as_published = lpips_of(output, truth, lpips)
        return {"lpips": as_published, "lpips_standard": standard}
    return {"lpips": standard}


def finite(value: float | None) -> float | None:
    """A score for JSON, which knows neither infinity nor NaN; None stands for those."""
    return value if value is not None and math.isfinite(value) else None
