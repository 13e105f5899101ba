"""Tests of the cloud simulator: reproducible, and true to the physics it claims."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decr.dataset.simulate import (
    SKYLIGHT,
    WAVELENGTH_UM,
    Simulated,
    random_field,
    simulate_clouds,
)
from decr.dataset.sky import MASK_TAU, CloudParams, draw_params
from decr.errors import ConfigError

BGRN = ("blue", "green", "red", "nir")
AIRLIGHT = (0.9, 0.85, 0.8, 0.95)
PLAIN = CloudParams(blur_px=0.0, noise=0.0, shadow=0.0, airlight=AIRLIGHT)
"""Clouds without sensor and shadows."""


def sky(
    clear: np.ndarray | None = None, seed: int = 0, gsd_m: float = 2.0, **changes: Any
) -> Simulated:
    """A sky over (4, 64, 80) pixels, by default over uniform ground of 0.2."""
    ground = np.full((4, 64, 80), 0.2, np.float32) if clear is None else clear
    params = replace(PLAIN, **changes)
    rng = np.random.default_rng(seed)
    return simulate_clouds(ground, BGRN, rng, gsd_m=gsd_m, params=params)


def test_the_same_seed_gives_the_same_sky_and_another_seed_another() -> None:
    one, two, other = sky(seed=5, noise=0.01), sky(seed=5, noise=0.01), sky(seed=6, noise=0.01)
    for field in ("cloudy", "cloud_mask", "thickness", "shadow"):
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field))
    assert not np.array_equal(one.cloudy, other.cloudy)


def test_a_simulation_has_the_shapes_and_types_that_it_promises() -> None:
    out = sky()
    assert out.cloudy.shape == (4, 64, 80)
    assert out.cloud_mask.shape == out.thickness.shape == out.shadow.shape == (64, 80)
    assert (out.cloudy.dtype, out.thickness.dtype) == (np.float32, np.float32)
    assert out.cloud_mask.dtype == bool


@pytest.mark.parametrize("kind", ["cumulus", "cirrus"])
def test_no_coverage_changes_nothing(kind: str) -> None:
    clear = np.random.default_rng(0).random((4, 64, 80), np.float32)
    out = sky(clear, kind=kind, coverage=0.0, noise=0.01, blur_px=1.0, shadow=0.8)
    np.testing.assert_array_equal(out.cloudy, clear)
    assert not out.cloud_mask.any()
    assert not out.shadow.any()


@pytest.mark.parametrize("kind", ["haze", "deck", "cumulus", "cirrus"])
def test_no_thickness_changes_nothing(kind: str) -> None:
    clear = np.random.default_rng(0).random((4, 64, 80), np.float32)
    out = sky(clear, kind=kind, thickness=0.0, noise=0.01, blur_px=1.0, shadow=0.8)
    np.testing.assert_array_equal(out.cloudy, clear)


def transmission(out: Simulated, angstrom: float) -> np.ndarray:
    colour = np.array([(WAVELENGTH_UM[b] / 0.55) ** -angstrom for b in BGRN])[:, None, None]
    return np.exp(-out.thickness.astype(np.float64) * colour)


@pytest.mark.parametrize("kind", ["haze", "deck", "cumulus", "cirrus"])
def test_light_is_ground_times_transmission_plus_airlight(kind: str) -> None:
    # So thin that clouds have no relief to speak of.
    out = sky(kind=kind, thickness=0.02, angstrom=1.3)
    t = transmission(out, 1.3)
    wanted = 0.2 * t + np.array(AIRLIGHT)[:, None, None] * (1 - t)
    np.testing.assert_allclose(out.cloudy, wanted, atol=1e-4)
    assert np.abs(out.cloudy - 0.2).max() > 5e-3


def test_thick_clouds_differ_from_that_by_a_relief_common_to_all_bands() -> None:
    out = sky(kind="deck", thickness=3.0, angstrom=0.4)
    t = transmission(out, 0.4)
    airlight = (out.cloudy - 0.2 * t) / (1 - t)
    relief = airlight / np.array(AIRLIGHT)[:, None, None] - 1
    np.testing.assert_allclose(relief, np.broadcast_to(relief[:1], relief.shape), atol=1e-5)
    assert 0.01 < relief.std() < 0.08


def test_haze_scatters_blue_more_than_red_more_than_near_infrared() -> None:
    black = np.zeros((4, 64, 80), np.float32)
    out = sky(black, kind="haze", thickness=0.3, angstrom=1.3, airlight=(0.9,) * 4)
    for shorter, longer in zip(out.cloudy[:-1], out.cloudy[1:], strict=True):
        assert (shorter > longer).all()
    grey = sky(black, kind="haze", thickness=0.3, angstrom=0.0, airlight=(0.9,) * 4)
    np.testing.assert_array_equal(grey.cloudy, np.broadcast_to(grey.cloudy[:1], black.shape))


def test_the_mask_is_where_the_optical_depth_counts() -> None:
    out = sky(kind="cumulus", coverage=0.5, thickness=2.0)
    np.testing.assert_array_equal(out.cloud_mask, out.thickness >= MASK_TAU)
    assert 0.2 < out.cloud_mask.mean() < 0.5


@given(coverage=st.floats(0.05, 1.0), seed=st.integers(0, 1000))
@settings(max_examples=25)
def test_coverage_is_the_share_of_pixels_under_cloud(coverage: float, seed: int) -> None:
    out = sky(seed=seed, coverage=coverage)
    assert float((out.thickness > 0).mean()) == pytest.approx(coverage, abs=2e-3)


def test_shadows_darken_but_leave_skylight() -> None:
    ground = np.full((4, 64, 80), 0.4, np.float32)
    dark = sky(ground, coverage=0.3, shadow=1.0, shadow_offset_m=(40.0, 60.0))
    clear_of_cloud = dark.thickness == 0
    shaded = clear_of_cloud & (dark.shadow > 0.2)
    assert shaded.sum() > 50
    for band, name in enumerate(BGRN):
        wanted = 0.4 * (1 - dark.shadow * (1 - SKYLIGHT[name]))
        np.testing.assert_allclose(dark.cloudy[band][shaded], wanted[shaded], rtol=1e-5)
        assert (dark.cloudy[band][shaded] < 0.4).all()
        assert (dark.cloudy[band][shaded] > 0.4 * SKYLIGHT[name]).all()
    # The sky is blue: shadows keep more blue than near infrared.
    assert (dark.cloudy[0][shaded] > dark.cloudy[3][shaded]).all()


@pytest.mark.parametrize("skylight", [0.0, 0.5])
def test_less_skylight_makes_darker_shadows(skylight: float) -> None:
    ground = np.full((4, 64, 80), 0.4, np.float32)
    dark = sky(ground, coverage=0.3, shadow=1.0, shadow_offset_m=(40.0, 60.0), skylight=skylight)
    shaded = (dark.thickness == 0) & (dark.shadow > 0.2)
    assert shaded.sum() > 50
    for band, name in enumerate(BGRN):
        wanted = 0.4 * (1 - dark.shadow * (1 - skylight * SKYLIGHT[name]))
        np.testing.assert_allclose(dark.cloudy[band][shaded], wanted[shaded], rtol=1e-5)


def test_there_is_no_more_skylight_than_all() -> None:
    with pytest.raises(ConfigError, match=r"skylight must lie in 0\.\.1, not 1.5"):
        sky(skylight=1.5)


def test_a_shadow_lies_where_its_cloud_throws_it() -> None:
    out = sky(coverage=0.2, thickness=4.0, shadow=1.0, shadow_offset_m=(20.0, -30.0))
    moved = np.roll(out.thickness, (10, -15), axis=(0, 1))[12:, :-20]  # 2 m per pixel
    assert np.corrcoef(1 - np.exp(-moved).ravel(), out.shadow[12:, :-20].ravel())[0, 1] > 0.97
    assert 0 <= out.shadow.min() <= out.shadow.max() <= 1


def test_an_unrelated_shadow_has_its_own_place() -> None:
    out = sky(coverage=0.3, shadow=0.8, shadow_offset_m=None)
    assert out.shadow.max() > 0.2
    assert ((out.shadow > 0.2) & (out.thickness == 0)).any()


def test_noise_and_blur_touch_only_what_a_cloud_or_shadow_touches() -> None:
    clear = np.random.default_rng(1).random((4, 64, 80), np.float32)
    out = sky(clear, coverage=0.3, noise=0.02, blur_px=1.0)
    untouched = out.thickness == 0
    assert untouched.any()
    np.testing.assert_array_equal(out.cloudy[:, untouched], clear[:, untouched])


def test_fields_have_mean_zero_deviation_one_and_coarse_structure() -> None:
    def field(roughness: float) -> np.ndarray:
        rng = np.random.default_rng(2)
        return random_field(rng, (90, 70), gsd_m=1.0, outer_scale_m=30.0, roughness=roughness)

    smooth, ragged = field(4.0), field(2.0)
    for one in (smooth, ragged):
        assert one.shape == (90, 70)
        assert one.dtype == np.float32
        assert abs(one.mean()) < 1e-5
        assert one.std() == pytest.approx(1, abs=1e-5)
    assert np.diff(smooth).std() < 0.7 * np.diff(ragged).std()
    assert random_field(
        np.random.default_rng(0), (1, 1), gsd_m=1.0, outer_scale_m=9.0, roughness=3.0
    ).tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"coverage": 1.1}, "coverage must lie in 0..1, not 1.1"),
        ({"thickness": -1.0}, "thickness must be >= 0"),
        ({"softness": 0.0}, "softness"),
        ({"outer_scale_m": 0.0}, "outer_scale_m above 0"),
    ],
)
def test_impossible_skies_are_refused(changes: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        CloudParams(**changes)  # type: ignore[arg-type]


def test_bands_must_be_known_and_have_airlight() -> None:
    clear = np.zeros((2, 8, 8), np.float32)
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="swir"):
        simulate_clouds(clear, ("red", "swir"), rng, gsd_m=1.0, params=PLAIN)
    with pytest.raises(ConfigError, match="4 airlight values"):
        simulate_clouds(clear, ("red", "blue"), rng, gsd_m=1.0, params=PLAIN)


@given(seed=st.integers(0, 10_000))
def test_drawn_skies_are_possible_and_reproducible(seed: int) -> None:
    params = draw_params(np.random.default_rng(seed), BGRN)
    assert params == draw_params(np.random.default_rng(seed), BGRN)
    assert len(params.airlight) == 4
    assert 0.08 <= params.thickness <= 6.0
    assert all(0.5 <= a <= 1.05 for a in params.airlight)
    if params.kind == "haze":
        assert params.angstrom >= 0.6


def test_all_kinds_of_sky_are_drawn() -> None:
    rng = np.random.default_rng(0)
    kinds = {draw_params(rng, BGRN).kind for _ in range(100)}
    assert kinds == {"haze", "cirrus", "cumulus", "deck"}
