"""Ground as other sensors see it: draws of its range, its bands, its contrast and its colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def vary_radiometry(rng: np.random.Generator, clear: Float32) -> Float32:
    """Undo and vary the display stretch of aerial photos, band by band.

    8-bit photos are stretched for display, satellite DN are linear and dark: a common gamma and
    gain, small changes per band, and a path radiance give a range that holds both.
    """
    gamma = np.exp(rng.uniform(np.log(0.75), np.log(2.2)))
    gain = np.exp(rng.uniform(np.log(0.4), np.log(1.15)))
    per_band = np.exp(rng.normal(0.0, 0.12, (clear.shape[0], 1, 1)))
    offset = rng.uniform(0.0, 0.08)
    varied = offset + (1 - offset) * gain * per_band * np.power(np.clip(clear, 0, 1), gamma)
    out: Float32 = np.clip(varied, 0.0, 1.0).astype(np.float32)
    return out


def draw_range(rng: np.random.Generator, cloudy: Float32) -> tuple[float, float]:
    """A radiometric range (low, high) as a scene might have been given or have estimated."""
    if rng.random() < 0.35:
        return 0.0, 1.0
    low = rng.uniform(0.0, 1.0) * float(np.quantile(cloudy, 0.002))
    top = max(float(np.quantile(cloudy, 0.998)), 0.35)
    # A view that is bright all over has its darkest pixels near its brightest.
    least = max(0.95 * top, low + 0.05)
    high = rng.uniform(least, max(1.0, 1.05 * top, least))
    return low, high


def unit_from(image: Float32, low: float, high: float) -> Float32:
    """Map [low, high] to [-1, 1] and saturate."""
    unit: Float32 = np.clip((image - low) * (2.0 / (high - low)) - 1.0, -1.0, 1.0)
    return unit.astype(np.float32)


def mixed_bands(rng: np.random.Generator, view: Float32) -> Float32:
    """Permute bands and mix each with the others, (C, H, W) in [0, 1] to the same."""
    count = view.shape[0]
    mixing = rng.dirichlet(np.full(count, 0.5), count) * rng.uniform(0.0, 0.6)
    mixing = mixing + (1.0 - mixing.sum(axis=1, keepdims=True)) * np.eye(count)
    mixed: Float32 = np.einsum("ij,jhw->ihw", mixing[rng.permutation(count)], view)
    return np.ascontiguousarray(mixed, np.float32)


def toned_down(rng: np.random.Generator, view: Float32) -> Float32:
    """Little contrast around one colour, the view's own or another, (C, H, W) in [0, 1]."""
    mean = np.maximum(view.mean(axis=(1, 2), keepdims=True), 1e-3)
    contrast = np.exp(rng.uniform(np.log(0.08), np.log(0.8)))
    colour = mean
    if rng.random() < 0.6:
        grey = np.exp(rng.uniform(np.log(0.03), np.log(0.6)))
        colour = np.clip(grey * np.exp(rng.normal(0.0, 0.35, mean.shape)), 0.0, 0.9)
    toned: Float32 = np.clip(colour * (1.0 + contrast * (view / mean - 1.0)), 0.0, 1.0)
    return toned.astype(np.float32)


def vivid(rng: np.random.Generator, view: Float32) -> Float32:
    """Levels of bands driven apart, (C, H, W) in [0, 1] to the same; gains are 1 in the mean."""
    gains = np.exp(rng.normal(0.0, 0.6, (view.shape[0], 1, 1)))
    driven: Float32 = np.clip(view * (gains / gains.mean()), 0.0, 1.0)
    return driven.astype(np.float32)
