"""Surface reflectance of the materials in the sample scenes, per band, and what air and sky add."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Spectrum = NDArray[np.float32]

BANDS = ("blue", "green", "red", "nir")

HAZE = np.array([0.026, 0.016, 0.009, 0.003], np.float32)
"""Path radiance of clean air, reflectance: blue most (Rayleigh), near infrared hardly at all."""


def _spectrum(*values: float) -> Spectrum:
    return np.array(values, np.float32)


# Typical values of published spectral libraries, rounded: leaves are dark in blue and red and
# bright beyond 0.7 um, soils rise steadily, water swallows the near infrared.
GRASS = _spectrum(0.040, 0.083, 0.056, 0.40)
LUSH = _spectrum(0.032, 0.082, 0.040, 0.50)
DRY_GRASS = _spectrum(0.075, 0.120, 0.125, 0.31)
YOUNG_CROP = _spectrum(0.036, 0.095, 0.046, 0.47)
DENSE_CROP = _spectrum(0.026, 0.062, 0.031, 0.48)
BLUISH_CROP = _spectrum(0.045, 0.080, 0.050, 0.43)
RAPESEED = _spectrum(0.045, 0.190, 0.185, 0.54)
RIPE = _spectrum(0.095, 0.160, 0.205, 0.36)
STRAW = _spectrum(0.140, 0.205, 0.255, 0.38)
BROADLEAF = _spectrum(0.026, 0.062, 0.034, 0.43)
OLIVE_LEAF = _spectrum(0.032, 0.076, 0.052, 0.40)
CONIFER = _spectrum(0.020, 0.040, 0.026, 0.25)
FOREST_FLOOR = _spectrum(0.020, 0.032, 0.028, 0.14)
DARK_SOIL = _spectrum(0.060, 0.082, 0.112, 0.17)
BROWN_SOIL = _spectrum(0.080, 0.116, 0.150, 0.22)
PALE_SOIL = _spectrum(0.118, 0.164, 0.204, 0.28)
SAND = _spectrum(0.190, 0.245, 0.300, 0.38)
GRAVEL = _spectrum(0.180, 0.200, 0.222, 0.27)
ROCK = _spectrum(0.150, 0.165, 0.178, 0.21)
ASPHALT = _spectrum(0.098, 0.104, 0.110, 0.13)
OLD_ASPHALT = _spectrum(0.138, 0.146, 0.153, 0.18)
CONCRETE = _spectrum(0.235, 0.255, 0.270, 0.30)
PAINT = _spectrum(0.560, 0.570, 0.570, 0.58)
TIMBER = _spectrum(0.110, 0.140, 0.170, 0.27)
RIVER = _spectrum(0.036, 0.052, 0.036, 0.010)
SHALLOW = _spectrum(0.055, 0.085, 0.070, 0.020)
SEA = _spectrum(0.050, 0.058, 0.028, 0.005)
POOL = _spectrum(0.330, 0.330, 0.130, 0.020)
SOLAR = _spectrum(0.055, 0.040, 0.038, 0.06)
GLASS = _spectrum(0.050, 0.052, 0.055, 0.05)

TERRACOTTA = _spectrum(0.075, 0.105, 0.225, 0.31)
DARK_TILE = _spectrum(0.075, 0.085, 0.110, 0.16)
ORANGE_TILE = _spectrum(0.085, 0.140, 0.290, 0.36)
SLATE = _spectrum(0.105, 0.112, 0.116, 0.13)
GREY_SHEET = _spectrum(0.290, 0.300, 0.300, 0.31)
WHITE_SHEET = _spectrum(0.480, 0.490, 0.490, 0.50)
BLUE_SHEET = _spectrum(0.280, 0.190, 0.110, 0.24)
GREEN_SHEET = _spectrum(0.110, 0.170, 0.110, 0.20)
RUST_SHEET = _spectrum(0.070, 0.095, 0.170, 0.25)
FELT = _spectrum(0.170, 0.178, 0.182, 0.20)

VILLAGE_ROOFS = (TERRACOTTA, TERRACOTTA, ORANGE_TILE, DARK_TILE, SLATE, TERRACOTTA, RUST_SHEET)
SHED_ROOFS = (GREY_SHEET, WHITE_SHEET, RUST_SHEET, GREEN_SHEET, BLUE_SHEET, FELT)
PAINTWORK = (
    PAINT,
    _spectrum(0.045, 0.045, 0.048, 0.06),
    _spectrum(0.300, 0.310, 0.310, 0.32),
    _spectrum(0.050, 0.045, 0.300, 0.36),
    _spectrum(0.260, 0.120, 0.060, 0.18),
    _spectrum(0.090, 0.250, 0.330, 0.40),
    _spectrum(0.080, 0.170, 0.090, 0.22),
)
