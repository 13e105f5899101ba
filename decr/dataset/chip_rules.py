"""Which chips of two acquisitions make a pair: limits, reasons for rejection, thin and thick."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr.errors import ConfigError

LOW_OVERLAP = "low overlap"
TOO_EMPTY = "nodata"
NOT_CLEAR = "clear image not clear"
OCCLUDED = "ground fully occluded"
BAD_SHIFT = "bad shift"
EXACT = "exact duplicate"
NEAR = "near duplicate"
BUFFER = "within the buffer of a test chip"
GAP = "too many days apart"
TOO_SMALL = "too small"

REASONS = (LOW_OVERLAP, TOO_EMPTY, NOT_CLEAR, OCCLUDED, BAD_SHIFT, EXACT, NEAR, BUFFER)
"""Of chips, in the order in which they are looked at: a chip has the first that applies."""

MOST_TAU = 5.0
"""Optical thickness beyond this is told as this: less than 1 % of the ground shines through."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a pair must be like.

    Attributes
    ----------
    max_gap_days
        Days between the two acquisitions.
    max_shift_px
        Shift of the clear image that is corrected; more rejects the pair.
    max_residual_px
        What may be left of it in a chip.
    max_nodata
        Share of a chip's pixels without data in either image.
    max_clear_ccp
        CCP of the clear chip.
    max_occluded
        Share of a cloudy chip's pixels under opaque cloud.
    opaque_tau
        Optical thickness from which cloud is opaque.
    thin_tau
        Chips whose cloud is thinner than this, as a median over cloudy pixels, are thin.

    Raises
    ------
    ConfigError
        For a number out of range.
    """

    max_gap_days: float = 17.0
    max_shift_px: float = 20.0
    max_residual_px: float = 1.0
    max_nodata: float = 0.0
    max_clear_ccp: float = 0.02
    max_occluded: float = 0.95
    opaque_tau: float = 2.0
    thin_tau: float = 1.0

    def __post_init__(self) -> None:
        for name in ("max_nodata", "max_clear_ccp", "max_occluded"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is a share of pixels in 0..1, not {getattr(self, name)}")
        for name in ("max_gap_days", "max_residual_px", "opaque_tau", "thin_tau"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be at least 0, not {getattr(self, name)}")
        if not 1.0 <= self.max_shift_px <= 100.0:
            raise ConfigError(f"the shift looked for is 1..100 px, not {self.max_shift_px}")


@dataclass(frozen=True, slots=True)
class ChipFacts:
    """What was measured of a chip; later numbers are None once an earlier one rejects it.

    Attributes
    ----------
    overlap
        Share of the chip that the clear image covers.
    nodata
        Share of pixels without data in either image.
    clear_ccp, ccp
        Cloud coverage of the clear and of the cloudy chip.
    occluded
        Share of pixels under opaque cloud.
    tau
        Median optical thickness of cloudy pixels; None without any.
    residual_px
        Shift that is left; None where too little is clear to tell.
    """

    overlap: float
    nodata: float | None = None
    clear_ccp: float | None = None
    ccp: float | None = None
    occluded: float | None = None
    tau: float | None = None
    residual_px: float | None = None


def rejection(facts: ChipFacts, limits: Limits) -> str | None:
    """Why a chip is no pair; None if it is one, as far as its own pixels tell.

    Examples
    --------
    >>> rejection(ChipFacts(1.0, 0.0, 0.3, 0.4, 0.0), Limits())
    'clear image not clear'
    """
    # No more can be told of a chip without a pixel, whatever is allowed.
    most_nodata = min(limits.max_nodata, math.nextafter(1.0, 0.0))
    checks = (
        (LOW_OVERLAP, 1.0 - facts.overlap, 1e-9),
        (TOO_EMPTY, facts.nodata, most_nodata),
        (NOT_CLEAR, facts.clear_ccp, limits.max_clear_ccp),
        (OCCLUDED, facts.occluded, limits.max_occluded),
        (BAD_SHIFT, facts.residual_px, limits.max_residual_px),
    )
    return next((why for why, value, most in checks if value is not None and value > most), None)


def subset(ccp: float, tau: float | None, thin_share: float | None, limits: Limits) -> str:
    """The subset of a chip: "thin", "thick", or "cloudless".

    Parameters
    ----------
    thin_share
        Share of the cloudy pixels that the detector calls thin, if it tells: then half decides, and
        optical thickness does not.
    """
    if ccp == 0 or tau is None:
        return "cloudless"
    if thin_share is not None:
        return "thin" if thin_share >= 0.5 else "thick"
    return "thin" if tau < limits.thin_tau else "thick"


def optical_thickness(
    cloudy: NDArray[Any], clear: NDArray[Any], white: float
) -> NDArray[np.float64]:
    """Apparent optical thickness of what lies between two images of one ground.

    By ``cloudy = clear * T + white * (1 - T)`` and ``T = exp(-tau)``, on means over bands.

    Parameters
    ----------
    cloudy, clear
        (C, H, W) DN in one radiometry.
    white
        DN of opaque cloud.

    Returns
    -------
    ndarray
        (H, W) in 0..`MOST_TAU`. Ground that changed looks like cloud, or like none.
    """
    top, ground = (image.mean(axis=0, dtype=np.float64) for image in (cloudy, clear))
    room = np.maximum(white - ground, 1e-6 * white)
    passed = np.clip((white - top) / room, math.exp(-MOST_TAU), 1.0)
    return np.asarray(-np.log(passed))
