"""A cloud simulator: spatially correlated optical depth, per-band physics, shadows and the sensor.

The image at the sensor is ``ground * T + airlight * (1 - T)`` with ``T = exp(-tau_band)`` (Beer and
Koschmieder). Optical depth is a random field with a power-law spectrum beyond an outer scale; its
colour follows Angstrom's law: droplets of a cloud are grey, haze scatters blue more than red and
red more than near infrared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from decr.dataset.sky import MASK_TAU, CloudParams
from decr.errors import ConfigError

Float32 = NDArray[np.float32]

WAVELENGTH_UM = {"blue": 0.48, "green": 0.56, "red": 0.66, "nir": 0.83, "pan": 0.60}
"""Centre wavelengths of the bands, micrometres; Angstrom's law is relative to 0.55."""

SKYLIGHT = {"blue": 0.42, "green": 0.33, "red": 0.27, "nir": 0.18, "pan": 0.31}
"""Share of the ground's light that comes from the sky, hence left in a full shadow."""

_LEAST_TAU = 0.004
"""Thinner veils than this change no 8-bit number: there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """A cloudy image and what was done to it.

    Attributes
    ----------
    cloudy
        (C, H, W) float32, on the scale of the clear image, not clipped.
    cloud_mask
        (H, W) bool, True = cloudy: optical depth at least ``MASK_TAU``.
    thickness
        (H, W) float32, optical depth at 0.55 um.
    shadow
        (H, W) float32, share of direct sunlight lost, 0..1.
    """

    cloudy: Float32
    cloud_mask: NDArray[np.bool_]
    thickness: Float32
    shadow: Float32


def random_field(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    gsd_m: float,
    outer_scale_m: float,
    roughness: float,
    stretch: float = 1.0,
) -> Float32:
    """A random field with zero mean, unit deviation and a power-law spectrum.

    Parameters
    ----------
    shape
        (rows, cols) wanted. A larger periodic field is drawn and cut, so edges do not match up.
    gsd_m, outer_scale_m
        Metres per pixel; size beyond which there is no more structure.
    roughness
        Power falls as frequency to this exponent.
    stretch
        Elongation along a random direction (cirrus); 1 is isotropic.

    Returns
    -------
    ndarray
        (rows, cols), float32.
    """
    size = [fft.next_fast_len(int(n * 1.5) + 16, real=True) for n in shape]
    angle = rng.uniform(0.0, np.pi)
    fr = fft.fftfreq(size[0], gsd_m)[:, None].astype(np.float32)
    fc = fft.rfftfreq(size[1], gsd_m)[None, :].astype(np.float32)
    along = np.cos(angle) * fr + np.sin(angle) * fc
    across = -np.sin(angle) * fr + np.cos(angle) * fc
    squared = (along * np.sqrt(stretch)) ** 2 + (across / np.sqrt(stretch)) ** 2
    amplitude = (squared + np.float32(outer_scale_m**-2)) ** np.float32(-roughness / 4 - 0.25)
    white = rng.standard_normal(size, dtype=np.float32)
    field = fft.irfft2(fft.rfft2(white) * amplitude, s=size)[: shape[0], : shape[1]]
    field -= field.mean()
    deviation = float(field.std())
    return np.asarray(field / (deviation if deviation > 0 else 1.0), np.float32)


def _optical_depth(
    rng: np.random.Generator, shape: tuple[int, int], gsd_m: float, params: CloudParams
) -> Float32:
    """Optical depth at 0.55 um of one cloud layer, (H, W) float32 >= 0."""
    field = random_field(
        rng,
        shape,
        gsd_m=gsd_m,
        outer_scale_m=params.outer_scale_m,
        roughness=params.roughness,
        stretch=6.0 if params.kind == "cirrus" else 1.0,
    )
    if params.broken:
        return _broken_depth(field, params)
    if params.kind in ("haze", "deck"):
        spread = params.unevenness
        if spread is None:
            spread = 0.35 if params.kind == "haze" else 0.25
        return np.asarray(params.thickness * np.exp(spread * field - spread**2 / 2), np.float32)
    if params.coverage <= 0.0:
        return np.zeros(shape, np.float32)
    height = (field - np.quantile(field, 1.0 - params.coverage)) / params.softness
    inside = np.clip(height, 0.0, None)
    # Saturating growth from the edge: soft where the cloud begins, level where it is thick.
    return np.asarray(params.thickness * (1.0 - np.exp(-inside * (0.4 + inside))), np.float32)


def _broken_depth(field: Float32, params: CloudParams) -> Float32:
    """Optical depth of clouds whose mask covers a given share, from a field of heights.

    The logarithm of optical depth rises with height from `MASK_TAU` at the edge of the mask to
    ``thickness``, which a fifth of the cloud exceeds; outside it fades out as a veil.
    """
    if params.coverage <= 0.0:
        return np.zeros_like(field)
    above = field - np.quantile(field, 1.0 - params.coverage)
    height = above / max(float(np.quantile(above[above >= 0], 0.8)), 1e-6)
    # Bounded above, so that summits level off; a straight line outside.
    rise = np.where(height > 0, -np.expm1(-np.maximum(height, 0) / params.softness),
                    height / params.softness)  # fmt: skip
    rise /= -np.expm1(-1.0 / params.softness)
    # A hair above the threshold, so that rounding does not drop the pixels that lie on it.
    tau = 1.00001 * MASK_TAU * np.exp(rise * np.log(params.thickness / MASK_TAU))
    tau = np.minimum(tau, 3.0 * params.thickness)
    return np.where(tau < _LEAST_TAU, 0.0, tau).astype(np.float32)


def _rough_relief(
    rng: np.random.Generator, tau: Float32, gsd_m: float, params: CloudParams
) -> Float32:
    """Relative brightness of cloud tops by a rougher field of their own, (H, W)."""
    field = random_field(
        rng,
        (tau.shape[0], tau.shape[1]),
        gsd_m=gsd_m,
        outer_scale_m=params.outer_scale_m,
        roughness=2.4,
    )
    return np.asarray(0.06 * field * np.clip(tau / 3.0, 0.0, 1.0), np.float32)


def _sunlit_relief(rng: np.random.Generator, tau: Float32, params: CloudParams) -> Float32:
    """Relative brightness of cloud tops by their slope towards the sun, (H, W), about -0.25..0.25.

    The sun stands opposite to the shadow, or in a random direction.
    """
    angle = rng.uniform(0.0, 2 * np.pi)
    away = params.shadow_offset_m or (float(np.sin(angle)), float(np.cos(angle)))
    length = max(float(np.hypot(*away)), 1e-6)
    top = ndimage.gaussian_filter(np.log1p(tau), 1.0)
    down, right = np.gradient(top)
    slope = (down * away[0] + right * away[1]) / length
    # The side that falls off away from the sun is dark.
    scale = float(slope[tau > 0].std()) if (tau > 0).any() else 0.0
    relief = 0.08 * np.clip(slope / max(scale, 1e-6), -3.0, 3.0)
    return np.asarray(relief * np.clip(tau / 3.0, 0.0, 1.0), np.float32)


def _shifted(field: Float32, rows: float, cols: float) -> Float32:
    """The field moved by a sub-pixel offset, mirrored in from the edges."""
    moved: Float32 = ndimage.shift(field, (rows, cols), order=1, mode="mirror", prefilter=False)
    return moved


def _shadow(rng: np.random.Generator, tau: Float32, gsd_m: float, params: CloudParams) -> Float32:
    """Share of direct sunlight that clouds take from each ground pixel, (H, W) in 0..1."""
    if params.shadow <= 0.0:
        return np.zeros_like(tau)
    if params.shadow_offset_m is None:
        caster = _optical_depth(rng, (tau.shape[0], tau.shape[1]), gsd_m, params)
    else:
        caster = _shifted(tau, *(metres / gsd_m for metres in params.shadow_offset_m))
    # The sun's disc and scattering inside the cloud soften a shadow's edge.
    caster = ndimage.gaussian_filter(caster, max(0.5, 1.5 / gsd_m))
    return np.asarray(params.shadow * (1.0 - np.exp(-caster)), np.float32)


def simulate_clouds(
    clear: Float32,
    bands: tuple[str, ...],
    rng: np.random.Generator,
    *,
    gsd_m: float,
    params: CloudParams,
) -> Simulated:
    """Put one sky over a clear image.

    Parameters
    ----------
    clear
        (C, H, W) float32, reflectance-like: 0 is black, about 1 is the brightest cloud.
    bands
        Roles of the C bands: blue, green, red, nir or pan.
    rng
        Source of all randomness: the same state gives the same sky.
    gsd_m
        Metres per pixel.
    params
        The sky.

    Returns
    -------
    Simulated
        On the scale of ``clear``; not clipped or quantised.

    Raises
    ------
    ConfigError
        For a band without a wavelength or airlight of the wrong length.
    """
    unknown = [band for band in bands if band not in WAVELENGTH_UM]
    if unknown or len(params.airlight) != len(bands):
        raise ConfigError(
            f"cannot simulate bands {bands} with {len(params.airlight)} airlight values; "
            f"known bands: {', '.join(WAVELENGTH_UM)}"
        )
    shape = (clear.shape[1], clear.shape[2])
    tau = _optical_depth(rng, shape, gsd_m, params)
    shade = _shadow(rng, tau, gsd_m, params)
    if params.broken:
        relief = _sunlit_relief(rng, tau, params)
    else:
        relief = _rough_relief(rng, tau, gsd_m, params)
    # Forward scattering blurs what is seen through a cloud; clear ground stays sharp.
    veil = np.clip(tau / 2.0, 0.0, 1.0)
    cloudy = np.empty_like(clear, dtype=np.float32)
    for index, band in enumerate(bands):
        ground = clear[index] * (1.0 - shade * (1.0 - params.skylight * SKYLIGHT[band]))
        if params.blur_px > 0:
            ground = ground + veil * (ndimage.gaussian_filter(ground, params.blur_px) - ground)
        colour = (WAVELENGTH_UM[band] / 0.55) ** -params.angstrom
        transmission = np.exp(-tau * np.float32(colour))
        airlight = params.airlight[index] * (1.0 + relief)
        cloudy[index] = ground * transmission + airlight * (1.0 - transmission)
    if params.noise > 0:
        touched = (tau > 0) | (shade > 0)
        noise = rng.standard_normal(clear.shape, dtype=np.float32) * np.float32(params.noise)
        cloudy += noise * touched
    return Simulated(cloudy, tau >= MASK_TAU, tau, shade)
