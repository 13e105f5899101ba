"""The only door between digital numbers (DN) of a scene and unit, [-1, 1].

A scene has one for the model and one for the detector, never one per tile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from decr.errors import RadiometryError

Float32 = NDArray[np.float32]

_BIT_DEPTHS = (8, 10, 11, 12, 14, 16)


@dataclass(frozen=True, slots=True)
class Radiometry:
    """A linear map from [low, high] in DN to [-1, 1], per band.

    Attributes
    ----------
    low, high
        Per band, DN that become -1 and +1.
    source
        How the range was found: "given", "dtype", "model", "estimated" or "reflectance"; recorded
        in the output.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    source: str

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high) or not self.low:
            raise RadiometryError(f"{len(self.low)} low values but {len(self.high)} high values")
        for low, high in zip(self.low, self.high, strict=True):
            if not (np.isfinite(low) and np.isfinite(high)) or high <= low:
                raise RadiometryError(
                    f"the DN range {low:g}..{high:g} is empty; give --range LOW,HIGH, LOW first"
                )

    def pick(self, bands: Sequence[int]) -> Radiometry:
        """The ranges of some bands, in the order given."""
        return Radiometry(
            tuple(self.low[b] for b in bands), tuple(self.high[b] for b in bands), self.source
        )

    def encode(self, dn: NDArray[Any]) -> Float32:
        """DN (C, H, W) to unit (C, H, W) float32; saturates, never wraps."""
        out = np.empty(dn.shape, np.float32)
        for band, (low, high) in enumerate(zip(self.low, self.high, strict=True)):  # in little room
            unit = (dn[band].astype(np.float64) - low) * (2.0 / (high - low)) - 1.0
            np.clip(unit, -1.0, 1.0, out=unit)
            out[band] = unit
        return out

    def decode(self, unit: NDArray[np.floating]) -> NDArray[np.float64]:
        """Unit (C, H, W) to DN (C, H, W) float64, not rounded; saturates.

        Examples
        --------
        >>> r = Radiometry((0.0,), (2047.0,), "given")
        >>> dn = np.arange(2048, dtype=np.uint16).reshape(1, 32, 64)
        >>> bool((np.rint(r.decode(r.encode(dn))) == dn).all())
        True
        """
        low = np.array(self.low, np.float64)[:, None, None]
        half = (np.array(self.high, np.float64)[:, None, None] - low) / 2.0
        return np.asarray((np.clip(unit.astype(np.float64), -1.0, 1.0) + 1.0) * half + low)


def from_range(low: float, high: float, bands: int) -> Radiometry:
    """The range a user or a model card declares, for all bands alike."""
    return Radiometry((float(low),) * bands, (float(high),) * bands, "given")


def of_bytes(bands: int) -> Radiometry:
    """The full range of 8 bits; of 16, which may hold fewer, only the scene can tell."""
    return Radiometry((0.0,) * bands, (255.0,) * bands, "dtype")


def estimated(samples: NDArray[Any], dtype: DTypeLike) -> Radiometry:
    """A range from valid samples of the whole scene.

    Parameters
    ----------
    samples
        (C, N) DN of valid pixels, from a decimated read.
    dtype
        Type of the scene's numbers: floats may be those of a whole type (`Scene.range_dtype`).

    Returns
    -------
    Radiometry
        One range for all bands, so that colours keep their ratios. Below is the darkest 0.1 % less
        a margin (at least 0 for unsigned types), above the brightest 0.1 % plus a margin, so that
        clouds are not saturated, and above the brightest 0.01 % where clouds are that rare, but
        never twice as far, since those may be glints; never wider than the bit depth the numbers
        suggest. Samples that are all equal say nothing, and give that whole depth (of float types,
        one around them).

    Raises
    ------
    RadiometryError
        Without samples.
    """
    if samples.size == 0:
        raise RadiometryError("no valid pixel to estimate the DN range from; give --range LOW,HIGH")
    kind = np.dtype(dtype)
    # Band by band: numbers of 8 bytes, twice.
    shares = (0.001, 0.999, 0.9999)
    found = np.array([np.quantile(band.astype(np.float64), shares) for band in samples])
    low = float(found[:, 0].min())
    high, rare = (float(q) for q in found[:, 1:].max(axis=0))
    high = max(high, min(rare, low + 2.0 * (high - low)))
    margin = 0.05 * (high - low)
    low, high = low - margin, high + margin
    if kind.kind in "iu":
        top = min(float(np.max(samples)), float(np.iinfo(kind).max))
        depth = next(b for b in _BIT_DEPTHS if top < 2**b) if top >= 0 else 16
        floor, ceiling = float(np.iinfo(kind).min), min(2.0**depth - 1, float(np.iinfo(kind).max))
        low, high = max(floor, float(np.floor(low))), min(float(np.ceil(high)), ceiling)
        if high <= low:
            low, high = floor, ceiling
    elif high <= low:
        # Half a number is nothing beside one of 1e16.
        around = max(0.5, 1e-6 * abs(low))
        low, high = low - around, high + around
    return Radiometry(
        (float(low),) * samples.shape[0], (float(high),) * samples.shape[0], "estimated"
    )


def for_detector(own: Radiometry, dtype: DTypeLike) -> Radiometry:
    """What a detector without ranges of its own is shown, where a scene's range was estimated.

    How bright a pixel is tells clouds from ground, and a stretch to what the scene holds hides it:
    a scene that is all cloud, or all dark water, has its whole contrast in either. Floats whose
    range fits reflectance are taken for it, and shown from 0 to 1. Of other numbers their bits say
    how bright white might be: they are shown halfway between the scene's own range and all that
    those bits hold, by half of the low end and the geometric mean of the high ends (ADR 20).

    Parameters
    ----------
    own
        The scene's, in DN.
    dtype
        Type of the scene's numbers: floats may be those of a whole type (`Scene.range_dtype`).

    Returns
    -------
    Radiometry
        One range for all bands, in DN; ``own`` itself if it was not estimated, or nothing is known.

    Examples
    --------
    >>> for_detector(Radiometry((0.02,), (0.4,), "estimated"), "float32")
    Radiometry(low=(0.0,), high=(1.0,), source='reflectance')
    >>> for_detector(Radiometry((80.0,), (1300.0,), "estimated"), "uint16")
    Radiometry(low=(40.0,), high=(1631.0,), source='estimated')
    """
    if own.source != "estimated":
        return own
    low, high, count = min(own.low), max(own.high), len(own.low)
    whole = np.dtype(dtype).kind != "f"
    if not whole and high <= 2.0:
        # Less than a tenth of white is no scene's brightest: those are counts divided by 65535.
        if low < -0.2 or high < 0.1:
            return own
        return Radiometry((0.0,) * count, (1.0,) * count, "reflectance")
    if high <= 0:
        return own
    holds = 2.0 ** min(math.frexp(high)[1], 1023)
    black, white = low / 2, math.sqrt(high) * math.sqrt(holds - whole)
    if whole:
        black, white = float(round(black)), float(round(white))
    return Radiometry((black,) * count, (white,) * count, own.source)


def shows_reflectance(shown: Radiometry, dtype: DTypeLike) -> bool:
    """Whether a scene is shown as reflectance, in which bands keep their ratios.

    Numbers that a camera counted do not: each of its bands may count another share of the light.

    Parameters
    ----------
    shown
        What a detector is shown of the scene, in DN.
    dtype
        Type of the scene's numbers: floats may be those of a whole type (`Scene.range_dtype`).

    Examples
    --------
    >>> reflectance = for_detector(Radiometry((0.02,), (0.4,), "estimated"), "float32")
    >>> shows_reflectance(reflectance, "float32"), shows_reflectance(reflectance, "uint8")
    (True, False)
    """
    (low, *lows), (high, *highs) = set(shown.low), set(shown.high)
    return np.dtype(dtype).kind == "f" and not lows and not highs and low == 0 and high <= 2.0
