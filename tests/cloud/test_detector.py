"""Tests of the threshold detector: white is cloud, colours and darkness are not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from decr.cloud.detector import threshold_detector


def probability(*colour: float) -> float:
    """Probability of a single colour."""
    view = np.array(colour, np.float32).reshape(1, 3, 1, 1)
    return float(threshold_detector().probability(view)[0, 0, 0])


@pytest.mark.parametrize("colour", [(0.95, 0.95, 0.95), (0.8, 0.8, 0.82)])
def test_bright_and_white_is_cloud(colour: tuple[float, ...]) -> None:
    assert probability(*colour) > 0.8


@pytest.mark.parametrize(
    "colour",
    [
        (0.2, 0.2, 0.2),
        (0.0, 0.0, 0.0),
        (0.9, 0.5, 0.3),  # a red roof
        (0.3, 0.5, 0.3),  # a meadow
    ],
)
def test_dark_or_coloured_is_not(colour: tuple[float, ...]) -> None:
    assert probability(*colour) < 0.3


def test_a_brighter_pixel_has_a_higher_probability() -> None:
    grey = np.linspace(0, 1, 101, dtype=np.float32)
    view = np.broadcast_to(grey, (1, 3, 1, 101)).copy()
    out = threshold_detector().probability(view)[0, 0]
    assert (np.diff(out) >= 0).all()
    assert out[0] < 1e-2 < 0.98 < out[-1]


def test_shape_type_range_and_independence_of_the_batch() -> None:
    views: NDArray[np.float32] = np.random.default_rng(0).random((3, 3, 5, 6), np.float32)
    detector = threshold_detector()
    out = detector.probability(views)
    assert out.shape == (3, 5, 6)
    assert out.dtype == np.float32
    assert ((out >= 0) & (out <= 1)).all()
    for one, alone in zip(out, views, strict=True):
        np.testing.assert_array_equal(one, detector.probability(alone[None])[0])


def test_the_threshold_detector_says_its_name_bands_and_gsd() -> None:
    detector = threshold_detector()
    assert (detector.name, detector.bands) == ("threshold", ("red", "green", "blue"))
    assert detector.gsd_m > 0
