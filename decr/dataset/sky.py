"""What a sky is, and how skies are drawn: shares of kinds, coverage, thickness, named presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from decr.errors import ConfigError

CloudKind = Literal["haze", "cirrus", "cumulus", "deck"]

MASK_TAU = 0.12
"""Optical depth from which a pixel counts as cloudy: 11 % of the light is scattered."""


@dataclass(frozen=True, slots=True)
class CloudParams:
    """One sky.

    Attributes
    ----------
    kind
        ``haze`` covers everything unevenly; ``cirrus`` is streaked; ``cumulus`` has edges;
        ``deck`` is an unbroken sheet.
    coverage
        Share of pixels under cloud, 0..1 (ignored by haze and deck, which cover all, unless
        ``broken``).
    thickness
        Optical depth of the thick parts at 0.55 um (0.1 barely seen, 1 veiled, 4 opaque).
    softness
        Width of cloud edges, above 0: in standard deviations of the field, or, of ``broken``
        clouds, as a share of the cloud's height.
    roughness
        Exponent of the power spectrum; 2 is ragged, 4 is smooth.
    outer_scale_m
        Size of the largest structures, metres.
    angstrom
        Colour of the scattering: 0 grey (droplets) .. 1.6 blue (fine haze).
    airlight
        Brightness of an opaque cloud, reflectance-like, per band in the image's order.
    shadow
        Strength of cloud shadows, 0..1.
    unevenness
        Standard deviation of the logarithm of optical depth within the view, of haze and decks
        that are not ``broken``; None is 0.35 for haze and 0.25 for decks.
    skylight
        Factor on the light that the sky leaves in shadows, 0 (none) .. 1 (as in the visible and
        the near infrared).
    shadow_offset_m
        (rows, cols) displacement of the shadow on the ground in metres; None draws an unrelated
        field, as in a tile too small to hold both a cloud and its shadow.
    blur_px
        Sensor and scattering blur under cloud, standard deviation in pixels.
    noise
        Standard deviation of sensor noise, reflectance-like.
    broken
        Clouds as they were measured: every kind has edges and a thin veil around, its optical
        depth varies by its logarithm, and tops are lit from one side. ``coverage`` is then the
        share of pixels that the cloud mask marks (the CCP) instead of those with any cloud at
        all. Needs ``thickness`` above `MASK_TAU`.

    Raises
    ------
    ConfigError
        If a number is impossible.
    """

    kind: CloudKind = "cumulus"
    coverage: float = 0.4
    thickness: float = 1.5
    softness: float = 0.8
    roughness: float = 3.0
    outer_scale_m: float = 300.0
    angstrom: float = 0.3
    airlight: tuple[float, ...] = (0.95, 0.95, 0.95, 0.95)
    shadow: float = 0.6
    shadow_offset_m: tuple[float, float] | None = (60.0, 90.0)
    blur_px: float = 0.6
    noise: float = 0.003
    broken: bool = False
    skylight: float = 1.0
    unevenness: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.skylight <= 1.0:
            raise ConfigError(f"skylight must lie in 0..1, not {self.skylight}")
        if not 0.0 <= self.coverage <= 1.0:
            raise ConfigError(f"cloud coverage must lie in 0..1, not {self.coverage}")
        if self.thickness < 0 or self.softness <= 0 or self.outer_scale_m <= 0:
            raise ConfigError("thickness must be >= 0, softness and outer_scale_m above 0")
        if self.broken and self.thickness <= MASK_TAU:
            raise ConfigError(
                f"thickness must be above {MASK_TAU} for broken clouds, not {self.thickness}: "
                "thinner ones are in no mask, so their coverage cannot be set"
            )


@dataclass(frozen=True, slots=True)
class Spread:
    """How a number is spread between two ends.

    Attributes
    ----------
    low, high
        The ends.
    law
        ``even``; ``log``, even in the logarithm; or ``beta``, a Beta distribution between them.
    shape
        The two shape numbers of a Beta distribution; its mean is ``a / (a + b)`` of the way up.

    Raises
    ------
    ConfigError
        If the ends are in the wrong order, or do not suit the law.
    """

    low: float
    high: float
    law: Literal["even", "log", "beta"] = "even"
    shape: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        if not self.low <= self.high or min(self.shape) <= 0:
            raise ConfigError(
                f"no spread from {self.low} to {self.high} of shape {self.shape}: "
                "the lower end comes first, shapes are above 0"
            )
        if self.law == "log" and self.low <= 0:
            raise ConfigError(f"a spread even in the logarithm starts above 0, not at {self.low}")

    def draw(self, rng: np.random.Generator) -> float:
        """One number."""
        if self.law == "log":
            return float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))
        if self.law == "beta":
            return self.low + (self.high - self.low) * float(rng.beta(*self.shape))
        return float(rng.uniform(self.low, self.high))


@dataclass(frozen=True, slots=True)
class SkyKind:
    """How often one kind of cloud is drawn, and how it then looks; see `CloudParams`."""

    kind: CloudKind
    share: float
    thickness: Spread
    softness: Spread
    angstrom: Spread


@dataclass(frozen=True, slots=True)
class SkyMix:
    """A distribution of skies.

    Attributes
    ----------
    kinds
        Kinds of cloud; their shares sum to 1.
    coverage, roughness, outer_scale_m, blur_px, noise
        See `CloudParams`.
    airlight
        Brightness of opaque clouds, common to all bands.
    colour
        Factors on it by band, for bands that differ.
    shadow, shadow_share
        Strength of shadows, and the share of skies that have any.
    shadow_distance_m
        How far shadows fall from their clouds, in a random direction; None leaves the two
        unrelated, as in a chip that is smaller than this distance.
    broken
        See `CloudParams`: coverage is then that of the cloud mask.

    Raises
    ------
    ConfigError
        If shares do not sum to 1 or coverage leaves 0..1.
    """

    kinds: tuple[SkyKind, ...]
    coverage: Spread
    roughness: Spread
    outer_scale_m: Spread
    airlight: Spread = Spread(0.75, 1.02)
    colour: tuple[tuple[str, float], ...] = ()
    shadow: Spread = Spread(0.2, 0.85)
    shadow_share: float = 0.4
    shadow_distance_m: Spread | None = None
    blur_px: Spread = Spread(0.0, 1.0)
    noise: Spread = Spread(0.0, 0.008)
    broken: bool = False

    def __post_init__(self) -> None:
        total = sum(kind.share for kind in self.kinds)
        if abs(total - 1.0) > 1e-9 or min(kind.share for kind in self.kinds) < 0:
            raise ConfigError(f"shares of kinds of cloud must sum to 1, not {total:g}")
        if self.coverage.low < 0 or self.coverage.high > 1:
            raise ConfigError(f"cloud coverage must lie in 0..1, not {self.coverage}")
        thinnest = min(kind.thickness.low for kind in self.kinds)
        if self.broken and thinnest <= MASK_TAU:
            raise ConfigError(f"thickness of broken clouds starts above {MASK_TAU}, not {thinnest}")


_EDGES = Spread(0.25, 2.0, "log")
_DROPLETS = Spread(0.0, 0.6)
_FINE = Spread(0.6, 1.5)

# Bright clouds of Landsat 8 patches, relative to green, as docs/simulator.md has them: ozone
# takes some green and red, air adds blue.
_CLOUD_COLOUR = (("blue", 1.03), ("red", 1.05), ("nir", 1.1))

_DEFAULT = SkyMix(
    kinds=(
        SkyKind("haze", 0.22, Spread(0.08, 1.2, "log"), _EDGES, _FINE),
        SkyKind("cirrus", 0.2, Spread(0.15, 1.5, "log"), _EDGES, _DROPLETS),
        SkyKind("cumulus", 0.43, Spread(0.4, 6.0, "log"), _EDGES, _DROPLETS),
        SkyKind("deck", 0.15, Spread(0.3, 3.0, "log"), _EDGES, _DROPLETS),
    ),
    coverage=Spread(0.1, 1.0),
    roughness=Spread(2.0, 4.0),
    outer_scale_m=Spread(50.0, 1200.0, "log"),
)


def _cuhk(ccp: float, kinds: tuple[SkyKind, ...], shadow_share: float) -> SkyMix:
    """Skies with a mean CCP as published, spread over all of 0..1; edges and texture as measured.

    The published text gives means; how far single images lie from them is our assumption.
    """
    return SkyMix(
        kinds=kinds,
        coverage=Spread(0.0, 1.0, "beta", (2.4 * ccp, 2.4 * (1.0 - ccp))),
        roughness=Spread(2.6, 3.7),
        outer_scale_m=Spread(80.0, 1200.0, "log"),
        airlight=Spread(0.7, 0.98),
        colour=_CLOUD_COLOUR,
        shadow=Spread(0.5, 0.95),
        shadow_share=shadow_share,
        broken=True,
    )


PRESETS: Mapping[str, SkyMix] = MappingProxyType(
    {
        "default": _DEFAULT,
        "cuhk-cr1": _cuhk(
            0.507,
            (
                SkyKind("haze", 0.35, Spread(0.25, 1.2, "log"), Spread(1.2, 3.0, "log"), _FINE),
                SkyKind(
                    "cirrus", 0.3, Spread(0.25, 1.5, "log"), Spread(0.8, 2.5, "log"), _DROPLETS
                ),
                SkyKind(
                    "cumulus", 0.35, Spread(0.4, 2.0, "log"), Spread(0.6, 2.0, "log"), _DROPLETS
                ),
            ),
            shadow_share=0.2,
        ),
        "cuhk-cr2": _cuhk(
            0.425,
            (
                SkyKind(
                    "cumulus", 0.75, Spread(2.0, 10.0, "log"), Spread(0.6, 2.0, "log"), _DROPLETS
                ),
                SkyKind("deck", 0.25, Spread(3.0, 10.0, "log"), Spread(0.4, 1.2, "log"), _DROPLETS),
            ),
            shadow_share=0.6,
        ),
    }
)
"""Named distributions of skies: what training uses where a recipe's ``[variety]`` asks for nothing
else, and two with the CCP of published sets."""


def draw_params(
    rng: np.random.Generator, bands: tuple[str, ...], mix: SkyMix = _DEFAULT
) -> CloudParams:
    """Draw a sky.

    The default is for training: thin to thick, all kinds, any coverage. Its thickness is even in
    the logarithm, so thin clouds, which can be seen through, are as common as thick.

    Parameters
    ----------
    rng
        Source of all randomness. The order of draws is fixed: changing it changes trainings.
    bands
        Roles of the image's bands, for the airlight.
    mix
        Distribution of skies.
    """
    of_kind = mix.kinds[int(rng.choice(len(mix.kinds), p=[kind.share for kind in mix.kinds]))]
    grey = mix.airlight.draw(rng)
    tint = rng.normal(0.0, 0.015, len(bands))
    colour = dict(mix.colour)
    airlight = np.array([grey * colour.get(band, 1.0) for band in bands]) + tint
    coverage, thickness = mix.coverage.draw(rng), of_kind.thickness.draw(rng)
    softness, roughness = of_kind.softness.draw(rng), mix.roughness.draw(rng)
    outer_scale_m, angstrom = mix.outer_scale_m.draw(rng), of_kind.angstrom.draw(rng)
    shadow = mix.shadow.draw(rng) if rng.random() < mix.shadow_share else 0.0
    blur_px, noise = mix.blur_px.draw(rng), mix.noise.draw(rng)
    offset = None
    if mix.shadow_distance_m is not None:
        angle, distance = rng.uniform(0.0, 2 * np.pi), mix.shadow_distance_m.draw(rng)
        offset = (float(np.sin(angle) * distance), float(np.cos(angle) * distance))
    return CloudParams(
        kind=of_kind.kind,
        coverage=coverage,
        thickness=thickness,
        softness=softness,
        roughness=roughness,
        outer_scale_m=outer_scale_m,
        angstrom=angstrom,
        airlight=tuple(float(v) for v in np.clip(airlight, 0.5, 1.05)),
        shadow=shadow,
        shadow_offset_m=offset,
        blur_px=blur_px,
        noise=noise,
        broken=mix.broken,
    )
