"""Why chips are left out, and which are thin."""

from __future__ import annotations

import math

import numpy as np
import pytest

from decr.dataset.chip_rules import (
    MOST_TAU,
    ChipFacts,
    Limits,
    optical_thickness,
    rejection,
    subset,
)
from decr.errors import ConfigError


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (ChipFacts(0.99), "low overlap"),
        (ChipFacts(1.0, 0.001), "nodata"),
        (ChipFacts(1.0, 0.0, 0.021), "clear image not clear"),
        (ChipFacts(1.0, 0.0, 0.0, 1.0, 0.96), "ground fully occluded"),
        (ChipFacts(1.0, 0.0, 0.0, 0.5, 0.2, 0.5, 1.2), "bad shift"),
        (ChipFacts(1.0, 0.0, 0.02, 1.0, 0.95, 0.5, 1.0), None),
        (ChipFacts(1.0, 0.0, 0.0, 0.5, 0.2, 0.5, None), None),
    ],
)
def test_the_first_limit_that_is_passed_is_the_reason(facts: ChipFacts, why: str | None) -> None:
    assert rejection(facts, Limits()) == why


def test_a_chip_without_a_valid_pixel_is_no_pair_whatever_is_allowed() -> None:
    limits = Limits(max_nodata=1.0)
    assert rejection(ChipFacts(1.0, 1.0), limits) == "nodata"
    assert rejection(ChipFacts(1.0, 1.0 - 1 / 32**2), limits) is None


def test_optical_thickness_is_that_of_the_simulation() -> None:
    rng = np.random.default_rng(0)
    clear = rng.uniform(200, 900, (3, 8, 8))
    for tau in (0.0, 0.5, 2.0):
        cloudy = clear * math.exp(-tau) + 1800 * (1 - math.exp(-tau))
        np.testing.assert_allclose(optical_thickness(cloudy, clear, 1800), tau, atol=1e-9)
    assert optical_thickness(np.full_like(clear, 1800), clear, 1800).max() == MOST_TAU
    # Darker than the ground is no cloud; ground as bright as cloud divides by nothing.
    assert optical_thickness(clear / 2, clear, 1800).max() == 0
    assert np.isfinite(optical_thickness(clear, np.full_like(clear, 1800), 1800)).all()


def test_chips_are_thin_or_thick_by_depth_unless_the_detector_tells() -> None:
    limits = Limits(thin_tau=1.0)
    assert subset(0.0, None, None, limits) == "cloudless"
    assert subset(0.5, 0.9, None, limits) == "thin"
    assert subset(0.5, 1.0, None, limits) == "thick"
    assert subset(0.5, 3.0, 0.5, limits) == "thin"
    assert subset(0.5, 0.1, 0.4, limits) == "thick"


def test_impossible_limits_are_refused() -> None:
    for wrong in ({"max_nodata": 2}, {"max_gap_days": math.nan}, {"max_shift_px": 0}):
        with pytest.raises(ConfigError):
            Limits(**wrong)
