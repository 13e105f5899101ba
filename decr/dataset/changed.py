"""Where a cloudy image differs noticeably from the clear one of its ground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

CHANGED = 0.06
"""Difference from which a pixel counts as cloudy, as a share of white."""


def changed(cloudy: NDArray[np.float32], clear: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels that are taken for cloudy since they differ.

    The difference, as a mean over all bands and 3 x 3 pixels, is at least `CHANGED` of white, up or
    down: shadows have to be restored, too. Clouds and shadows move all bands the same way, where
    seasons move some up and others down, so the mean over bands tells them apart; that over pixels
    leaves out noise and edges that are a pixel apart. Ground that became brighter or darker as a
    whole counts as well: from a pair alone it cannot be told from cloud.

    Parameters
    ----------
    cloudy, clear
        (C, H, W) float32, reflectance-like.

    Returns
    -------
    ndarray
        (H, W) bool, True = cloudy.
    """
    mean = ndimage.uniform_filter((cloudy - clear).mean(axis=0), size=3, mode="nearest")
    mask: NDArray[np.bool_] = np.abs(mean) >= CHANGED
    return mask
