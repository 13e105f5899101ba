"""Tests of how skies are drawn: training's stream stays as it was, presets meet what they state."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decr.dataset.simulate import simulate_clouds
from decr.dataset.sky import (
    MASK_TAU,
    PRESETS,
    CloudParams,
    SkyKind,
    SkyMix,
    Spread,
    draw_params,
)
from decr.errors import ConfigError

BGRN = ("blue", "green", "red", "nir")
PUBLISHED_CCP = {"cuhk-cr1": 0.507, "cuhk-cr2": 0.425}
LAWS = st.sampled_from(["even", "log", "beta"])


def test_the_default_stream_of_skies_is_that_of_earlier_trainings() -> None:
    # A resumed training must see the samples that an uninterrupted one sees. Nine digits leave
    # room for the last bit of exp and log, which differs between processors.
    rng = np.random.default_rng(2024)
    text = ""
    for number in range(40):
        p = draw_params(rng, BGRN if number % 2 else BGRN[:3])
        values = (p.coverage, p.thickness, p.softness, p.roughness, p.outer_scale_m, p.angstrom)
        values += (p.shadow, p.blur_px, p.noise, *p.airlight)
        text += f"{p.kind} {p.shadow_offset_m} " + " ".join(f"{v:.9g}" for v in values) + "\n"
    text += f"{rng.random():.9g}"
    assert (
        hashlib.sha256(text.encode()).hexdigest()
        == "2216aeb60d0cec76478a2130eb43e81fe01ff77de63d5f1b7a6ac2fcd627ce8e"
    )


def test_the_default_images_are_those_of_earlier_trainings() -> None:
    clear = (np.indices((4, 48, 40)).sum(0) % 17 / 20).astype(np.float32)
    rng = np.random.default_rng(7)
    found = []
    for _ in range(8):
        seen = simulate_clouds(clear, BGRN, rng, gsd_m=1.0, params=draw_params(rng, BGRN))
        found.append((float(seen.cloudy.mean()), int(seen.cloud_mask.sum())))
    means, cloudy = zip(*found, strict=True)
    expected = (0.41837, 0.40663, 0.49755, 0.44023, 0.47252, 0.4284, 0.44119, 0.63202)
    assert means == pytest.approx(expected, abs=1e-5)
    assert cloudy == pytest.approx((167, 138, 860, 383, 937, 578, 1818, 1920), abs=1)
    assert rng.random() == 0.09129354432780357


@pytest.mark.parametrize("name", PUBLISHED_CCP)
def test_presets_have_the_published_mean_coverage(name: str) -> None:
    mix = PRESETS[name]
    (a, b), spread = mix.coverage.shape, mix.coverage.high - mix.coverage.low
    assert mix.coverage.law == "beta"
    stated = mix.coverage.low + spread * a / (a + b)
    assert stated == pytest.approx(PUBLISHED_CCP[name], abs=1e-9)
    rng = np.random.default_rng(0)
    drawn = [draw_params(rng, BGRN, mix).coverage for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(PUBLISHED_CCP[name], abs=0.015)
    # Clear and overcast chips are there too: every tenth of the histogram is filled.
    assert np.histogram(drawn, np.linspace(0, 1, 11))[0].min() > 100


def test_thin_skies_are_thinner_than_thick_ones() -> None:
    def depths(name: str) -> np.ndarray:
        rng = np.random.default_rng(1)
        return np.array([draw_params(rng, BGRN, PRESETS[name]).thickness for _ in range(300)])

    assert depths("cuhk-cr1").max() <= 2.0 <= depths("cuhk-cr2").min()


@given(
    name=st.sampled_from(sorted(PUBLISHED_CCP)),
    coverage=st.floats(0.0, 1.0),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=30, deadline=None)
def test_the_cloud_mask_covers_the_share_that_was_drawn(
    name: str, coverage: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sky = replace(draw_params(rng, BGRN, PRESETS[name]), coverage=coverage)
    ground = np.full((4, 40, 50), 0.2, np.float32)
    seen = simulate_clouds(ground, BGRN, rng, gsd_m=2.0, params=sky)
    assert float(seen.cloud_mask.mean()) == pytest.approx(coverage, abs=2 / 2000)
    assert seen.thickness.max() <= np.float32(3 * sky.thickness)


@given(thickness=st.floats(MASK_TAU * 1.01, 20.0), softness=st.floats(0.05, 5.0))
@settings(max_examples=30, deadline=None)
def test_coverage_is_met_at_any_thickness_and_softness(thickness: float, softness: float) -> None:
    sky = CloudParams(coverage=0.3, thickness=thickness, softness=softness, broken=True)
    ground = np.full((4, 40, 50), 0.2, np.float32)
    seen = simulate_clouds(ground, BGRN, np.random.default_rng(3), gsd_m=2.0, params=sky)
    assert float(seen.cloud_mask.mean()) == pytest.approx(0.3, abs=2 / 2000)


@pytest.mark.parametrize("kind", ["haze", "deck", "cumulus", "cirrus"])
def test_broken_clouds_have_a_veil_around_and_clear_ground_beyond(kind: Any) -> None:
    ground = np.full((4, 200, 200), 0.2, np.float32)
    sky = CloudParams(kind=kind, coverage=0.3, softness=0.4, noise=0.01, shadow=0.0, broken=True)
    seen = simulate_clouds(ground, BGRN, np.random.default_rng(0), gsd_m=2.0, params=sky)
    veil = (seen.thickness > 0) & ~seen.cloud_mask
    untouched = seen.thickness == 0
    assert veil.mean() > 0.02
    assert untouched.mean() > 0.3
    np.testing.assert_array_equal(seen.cloudy[:, untouched], ground[:, untouched])
    # A fifth of the cloud is thicker than the stated thickness.
    assert (seen.thickness[seen.cloud_mask] > sky.thickness).mean() == pytest.approx(0.2, abs=0.01)


def test_tops_are_bright_towards_the_sun_and_dark_away_from_it() -> None:
    ground = np.zeros((1, 200, 200), np.float32)
    sky = CloudParams(
        coverage=0.5, thickness=8.0, roughness=3.6, angstrom=0.0, airlight=(0.8,), noise=0.0,
        shadow_offset_m=(0.0, 60.0), shadow=0.0, broken=True,
    )  # fmt: skip
    seen = simulate_clouds(ground, ("red",), np.random.default_rng(0), gsd_m=2.0, params=sky)
    top = seen.thickness > 4
    # The shadow falls to the right, so the sun stands on the left: slopes that rise to the right
    # face it.
    facing = np.gradient(np.log1p(seen.thickness))[1]
    own = seen.cloudy[0] / np.maximum(1 - np.exp(-seen.thickness), 1e-6)
    assert own[top & (facing > 0.02)].mean() > 0.8 + 0.02
    assert own[top & (facing < -0.02)].mean() < 0.8 - 0.02


def test_softer_clouds_rise_more_slowly() -> None:
    def border(softness: float) -> float:
        ground = np.full((4, 100, 100), 0.2, np.float32)
        sky = CloudParams(coverage=0.4, thickness=3.0, softness=softness, broken=True)
        rng = np.random.default_rng(5)
        seen = simulate_clouds(ground, BGRN, rng, gsd_m=2.0, params=sky)
        return float(np.median(seen.thickness[seen.cloud_mask]))

    assert border(0.2) > border(0.6) > border(2.0)


@given(
    low=st.floats(0.01, 5.0),
    width=st.floats(0.0, 5.0),
    law=LAWS,
    shape=st.tuples(st.floats(0.3, 5), st.floats(0.3, 5)),
    seed=st.integers(0, 99),
)
def test_spreads_stay_between_their_ends(
    low: float, width: float, law: Any, shape: tuple[float, float], seed: int
) -> None:
    spread = Spread(low, low + width, law, shape)
    value = spread.draw(np.random.default_rng(seed))
    assert low * (1 - 1e-12) <= value <= (low + width) * (1 + 1e-12)


@pytest.mark.parametrize(("law", "mean"), [("even", 2.25), ("log", 3.5 / np.log(8)), ("beta", 1.9)])
def test_the_mean_of_many_draws_is_that_of_the_law(law: Any, mean: float) -> None:
    spread = Spread(0.5, 4.0, law, (2.0, 3.0))
    rng = np.random.default_rng(0)
    drawn = np.mean([spread.draw(rng) for _ in range(20_000)])
    assert drawn == pytest.approx(mean, rel=0.01)


def test_shadows_fall_as_far_as_the_mix_says() -> None:
    mix = replace(PRESETS["default"], shadow_distance_m=Spread(100.0, 300.0), shadow_share=1.0)
    rng = np.random.default_rng(0)
    for _ in range(50):
        sky = draw_params(rng, BGRN, mix)
        assert sky.shadow_offset_m is not None
        assert 100 <= np.hypot(*sky.shadow_offset_m) <= 300
        assert sky.shadow >= 0.2


def test_colour_brightens_the_bands_it_names() -> None:
    mix = replace(PRESETS["default"], airlight=Spread(0.8, 0.8), colour=(("nir", 1.2),))
    rng = np.random.default_rng(0)
    mean = np.mean([draw_params(rng, BGRN, mix).airlight for _ in range(400)], axis=0)
    assert mean == pytest.approx((0.8, 0.8, 0.8, 0.96), abs=0.005)


def test_a_mix_of_ones_own_gives_skies_of_its_only_kind() -> None:
    only = SkyKind("cirrus", 1.0, Spread(0.3, 0.3), Spread(1.0, 1.0), Spread(0.0, 0.0))
    mix = SkyMix((only,), Spread(0.5, 0.5), Spread(3.0, 3.0), Spread(100.0, 100.0))
    sky = draw_params(np.random.default_rng(0), BGRN, mix)
    assert (sky.kind, sky.thickness, sky.coverage, sky.roughness) == ("cirrus", 0.3, 0.5, 3.0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Spread(2.0, 1.0), "no spread from 2.0 to 1.0"),
        (lambda: Spread(0.0, 1.0, "log"), "starts above 0, not at 0.0"),
        (lambda: Spread(0.0, 1.0, "beta", (0.0, 1.0)), "shapes are above 0"),
        (lambda: replace(PRESETS["default"], kinds=PRESETS["default"].kinds[:2]), "sum to 1"),
        (lambda: replace(PRESETS["default"], coverage=Spread(0.5, 1.5)), "lie in 0..1"),
        (lambda: replace(PRESETS["default"], broken=True), "starts above 0.12, not 0.08"),
        (lambda: CloudParams(thickness=0.1, broken=True), "must be above 0.12"),
    ],
)
def test_impossible_mixes_are_refused(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()
