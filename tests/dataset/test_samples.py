"""Tests of training samples: right shapes and ranges, truth that fits, everything from one seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from decr.dataset.augment import (
    draw_range,
    mixed_bands,
    toned_down,
    unit_from,
    vary_radiometry,
    vivid,
)
from decr.dataset.samples import (
    ClearImage,
    Sample,
    Variety,
    _false_colours,
    area_shrunk,
    crop,
    drawer,
    restoration_sample,
)
from decr.dataset.sky import CloudParams
from decr.errors import ConfigError

BGRN = ("blue", "green", "red", "nir")
RGB = ("red", "green", "blue")
CLEAR = Variety(clear_share=1.0)


def image(height: int = 150, width: int = 200, gsd_m: float = 0.5) -> ClearImage:
    """Coded bands: blue is 10, green 20, red 30, NIR 40, plus a little texture."""
    texture = np.random.default_rng(0).integers(0, 5, (4, height, width))
    dn = (texture + np.arange(10, 50, 10)[:, None, None]).astype(np.uint8)
    return ClearImage("coded.tif", dn, BGRN, gsd_m, 255.0)


def test_shrinking_takes_means_and_drops_the_rest() -> None:
    picture = np.arange(35, dtype=np.float32).reshape(1, 5, 7)
    small = area_shrunk(picture, 2)
    assert small.shape == (1, 2, 3)
    assert small[0, 0].tolist() == [4.0, 6.0, 8.0]
    assert area_shrunk(picture, 1) is picture


@given(seed=st.integers(0, 10_000), size_px=st.sampled_from([16, 50, 150]))
def test_crops_have_the_bands_size_and_gsd_asked(seed: int, size_px: int) -> None:
    rng = np.random.default_rng(seed)
    view, gsd_m = crop(rng, image(), RGB, size_px, (0.3, 2.0))
    assert view.shape == (3, size_px, size_px)
    assert view.dtype == np.float32
    assert gsd_m / 0.5 in (1, 2, 3, 4)
    assert gsd_m * size_px <= 75.0
    for band, base in enumerate((30, 20, 10)):
        assert base / 255 - 1e-6 <= view[band].min() <= view[band].max() <= (base + 4.01) / 255


def test_crops_come_in_all_orientations() -> None:
    ramp = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    square = ClearImage("ramp", ramp, ("pan",), 1.0, 1.0)
    rng = np.random.default_rng(0)
    seen = {crop(rng, square, ("pan",), 4, (1.0, 1.0))[0].tobytes() for _ in range(200)}
    assert len(seen) == 8


@given(seed=st.integers(0, 10_000))
def test_varied_radiometry_stays_in_range_and_keeps_order(seed: int) -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, 50, dtype=np.float32), (3, 1, 50)).copy()
    out = vary_radiometry(np.random.default_rng(seed), ramp)
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= 1
    assert (np.diff(out, axis=2) >= 0).all()


@given(seed=st.integers(0, 10_000), brightness=st.floats(0.0, 1.0))
@example(seed=63, brightness=1.0)
def test_ranges_are_never_empty(seed: int, brightness: float) -> None:
    view = np.full((3, 4, 4), brightness, np.float32)
    low, high = draw_range(np.random.default_rng(seed), view)
    assert 0.0 <= low < high
    unit = unit_from(view, low, high)
    assert np.isfinite(unit).all()
    assert np.abs(unit).max() <= 1


def test_unit_maps_the_range_and_saturates() -> None:
    out = unit_from(np.array([0.0, 0.2, 0.4, 0.6, 9.0], np.float32), 0.2, 0.6)
    np.testing.assert_allclose(out, [-1, -1, 0, 1, 1], atol=1e-6)
    assert out.dtype == np.float32


def check(sample: Sample, bands: int, size_px: int) -> None:
    assert sample.cloudy.shape == sample.clear.shape == (bands, size_px, size_px)
    assert sample.cloud_mask.shape == (size_px, size_px)
    assert sample.cloudy.dtype == sample.clear.dtype == np.float32
    assert sample.cloud_mask.dtype == bool
    assert np.abs(sample.cloudy).max() <= 1
    assert np.abs(sample.clear).max() <= 1


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20)
def test_restoration_samples_are_whole_and_reproducible(seed: int) -> None:
    images = [image(), image(64, 64)]
    sample = restoration_sample(np.random.default_rng(seed), images, RGB, 64)
    check(sample, 3, 64)
    again = restoration_sample(np.random.default_rng(seed), images, RGB, 64)
    np.testing.assert_array_equal(sample.cloudy, again.cloudy)
    np.testing.assert_array_equal(sample.clear, again.clear)


def test_some_samples_are_left_clear() -> None:
    samples = [
        restoration_sample(np.random.default_rng(i), [image()], RGB, 32, variety=CLEAR)
        for i in range(3)
    ]
    for sample in samples:
        np.testing.assert_array_equal(sample.cloudy, sample.clear)
        assert not sample.cloud_mask.any()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20)
def test_mixed_bands_stay_in_range_and_keep_grey_grey(seed: int) -> None:
    rng = np.random.default_rng(seed)
    view = rng.random((3, 8, 8), np.float32)
    mixed = mixed_bands(rng, view)
    assert mixed.dtype == np.float32
    assert mixed.min() >= 0
    assert mixed.max() <= 1 + 1e-6
    grey = np.broadcast_to(view[:1], view.shape)
    np.testing.assert_allclose(mixed_bands(rng, grey), grey, atol=1e-6)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20)
def test_vivid_ground_keeps_each_bands_pattern(seed: int) -> None:
    view = (0.05 + 0.1 * np.random.default_rng(0).random((3, 16, 16))).astype(np.float32)
    driven = vivid(np.random.default_rng(seed), view)
    assert driven.dtype == np.float32
    assert 0 <= driven.min() <= driven.max() <= 1
    gains = driven / view  # too dark to be clipped: one gain per band
    of_bands = gains.mean(axis=(1, 2))
    np.testing.assert_allclose(gains, np.broadcast_to(of_bands[:, None, None], gains.shape), 1e-4)
    np.testing.assert_allclose(of_bands.mean(), 1.0, rtol=1e-4)
    assert of_bands.max() > of_bands.min()


def test_vivid_ground_is_drawn_when_asked_for() -> None:
    def tint(share: float) -> float:
        """How far the mean colour is from grey, over several samples."""
        samples = [
            restoration_sample(
                np.random.default_rng(seed),
                [image()],
                RGB,
                48,
                variety=Variety(clear_share=1.0, vivid_share=share),
            )
            for seed in range(20)
        ]
        return float(np.mean([s.clear.mean((1, 2)).std() for s in samples]))

    assert tint(1.0) > 2 * tint(0.0)


@given(seed=st.integers(0, 10_000))
@example(seed=4375)
@settings(max_examples=30)
def test_toned_down_ground_has_less_contrast_and_the_same_pattern(seed: int) -> None:
    rng = np.random.default_rng(seed)
    view = (0.3 + 0.2 * np.random.default_rng(0).random((3, 32, 32))).astype(np.float32)
    toned = toned_down(rng, view)
    assert toned.dtype == np.float32
    assert 0 <= toned.min() <= toned.max() <= 1
    for before, after in zip(view, toned, strict=True):
        assert after.std() / after.mean() < 0.81 * before.std() / before.mean()
        inside = after < 1  # one seed in a thousand is so bright that its peaks are cut off
        assert np.corrcoef(before[inside], after[inside])[0, 1] > 0.99


@pytest.mark.parametrize("clear_share", [0.0, 1.0])
def test_photos_keep_their_radiometry_and_range_when_asked_for(clear_share: float) -> None:
    photo = image()
    order = [photo.bands.index(band) for band in RGB]
    levels = np.unique(unit_from(photo.dn[order] / np.float32(255.0), 0.0, 1.0))
    kept = []
    for share in (0.0, 1.0):
        variety = Variety(clear_share=clear_share, haze_share=1.0, photo_share=share)
        rng = np.random.default_rng(5)
        sample = restoration_sample(rng, [photo], RGB, 64, (0.5, 0.5), variety)
        kept.append(bool(np.isin(sample.clear, levels).all()))
        assert np.array_equal(sample.cloudy, sample.clear) == (clear_share == 1.0)
    assert kept == [False, True]


def test_plain_ground_is_drawn_when_asked_for() -> None:
    rough = replace(
        image(), dn=np.random.default_rng(0).integers(20, 230, (4, 150, 200)).astype(np.uint8)
    )
    spreads = [
        np.mean(
            [
                restoration_sample(
                    np.random.default_rng(n), [rough], RGB, 64, variety=variety
                ).clear.std()
                for n in range(12)
            ]
        )
        for variety in (CLEAR, replace(CLEAR, plain_share=1.0))
    ]
    assert spreads[1] < 0.85 * spreads[0]


def test_clouds_have_structure_of_many_pixels_even_from_far() -> None:
    """A pixel of 30 m holds no cloud of its own: neighbours are alike."""
    far = replace(image(), gsd_m=30.0, dn=np.full((4, 150, 200), 40, np.uint8))
    likeness = []
    for seed in range(12):
        sample = restoration_sample(
            np.random.default_rng(seed), [far], RGB, 128, variety=Variety(clear_share=0.0)
        )
        change = (sample.cloudy - sample.clear).mean(axis=0)
        if change.std() > 0.05:
            likeness.append(np.corrcoef(change[1:].ravel(), change[:-1].ravel())[0, 1])
    assert len(likeness) >= 6
    assert min(likeness) > 0.5


def test_false_colours_tint_clouds_and_darken_shadows() -> None:
    sky = CloudParams(airlight=(0.9, 0.9, 0.9), shadow=0.5)
    drawn_skies = [_false_colours(np.random.default_rng(n), sky) for n in range(40)]
    assert np.mean([np.ptp(s.airlight) for s in drawn_skies]) > 0.05
    assert all(0.35 <= a <= 1.05 for s in drawn_skies for a in s.airlight)
    assert all(s.shadow >= 0.5 and 0 <= s.skylight <= 1 for s in drawn_skies)


def test_images_are_drawn_by_their_areas() -> None:
    rng = np.random.default_rng(0)
    draw = drawer([1.0, 3.0, 0.0])
    counts = np.bincount([draw(rng) for _ in range(400)], minlength=3)
    assert counts[2] == 0
    assert counts[1] / 400 == pytest.approx(0.75, abs=0.08)


@given(
    areas=st.lists(st.floats(0.0, 1e9), min_size=1, max_size=60).filter(lambda a: sum(a) > 0),
    seed=st.integers(0, 2**32),
)
@example(areas=[1.0] * 999, seed=0)
def test_draws_are_those_of_choice(areas: list[float], seed: int) -> None:
    """Bundles can be trained again only as long as samples stay the same."""
    one, other = np.random.default_rng(seed), np.random.default_rng(seed)
    draw, shares = drawer(areas), np.array(areas) / np.array(areas).sum()
    for _ in range(30):
        assert draw(one) == other.choice(len(areas), p=shares)
    assert one.random() == other.random()


@pytest.mark.parametrize("areas", [[], [0.0, 0.0], [2.0, -1.0], [1.0, np.nan], [np.inf]])
def test_nothing_is_drawn_by_areas_that_are_none(areas: list[float]) -> None:
    with pytest.raises(ConfigError, match=f"{len(areas)} images of areas whose sum"):
        drawer(areas)


def test_even_haze_covers_all_and_is_even() -> None:
    """Flat ground under it stays flat: what varies is a part of what is added."""
    flat = replace(image(), dn=np.full((4, 150, 200), 40, np.uint8))
    variety, relative = Variety(clear_share=0.0, haze_share=1.0), []
    for seed in range(16):
        sample = restoration_sample(np.random.default_rng(seed), [flat], RGB, 128, variety=variety)
        assert sample.cloud_mask.mean() > 0.9
        added = (sample.cloudy - sample.clear).mean(axis=0)
        assert added.mean() > 0.02
        relative.append(added.std() / added.mean())
    assert min(relative) < 0.1
    assert max(relative) < 0.6


def test_far_clouds_are_small_and_have_shadows_beside_them() -> None:
    far, bright, dark = Variety(clear_share=0.0, far_share=1.0), 0, 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        sample = restoration_sample(rng, [image()], RGB, 128, variety=far)
        check(sample, 3, 128)
        change = (sample.cloudy - sample.clear).mean(axis=0)
        bright += int((change[sample.cloud_mask] > 0.05).any())
        dark += int((change[~sample.cloud_mask] < -0.01).any())
    assert bright >= 8
    assert dark >= 4


def test_heavy_images_are_drawn_more_often() -> None:
    flat = ClearImage("flat.tif", np.full((4, 150, 200), 90, np.uint8), BGRN, 0.5, 255.0)
    heavy = replace(image(), weight=30.0)
    spread = [
        restoration_sample(
            np.random.default_rng(i), [flat, heavy], RGB, 32, variety=CLEAR
        ).clear.std(axis=(1, 2))
        for i in range(60)
    ]
    assert np.mean(np.array(spread).max(axis=1) > 1e-6) > 0.85


def test_a_share_above_1_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"far_share must lie in 0\.\.1, not 2"):
        Variety(far_share=2)


def test_fitted_skies_are_drawn_when_asked_for_and_leave_other_streams_alone() -> None:
    variety = Variety(clear_share=0.0, fitted_share=1.0)
    drawn = [
        restoration_sample(np.random.default_rng(n), [image()], BGRN, 64, variety=variety)
        for n in range(12)
    ]
    plain = [restoration_sample(np.random.default_rng(n), [image()], BGRN, 64) for n in range(12)]
    assert any(sample.cloud_mask.any() for sample in drawn)
    assert not all(np.array_equal(a.cloudy, b.cloudy) for a, b in zip(drawn, plain, strict=True))
    for sample in drawn:
        assert sample.cloudy.min() >= -1.0
        assert sample.cloudy.max() <= 1.0
        assert np.isfinite(sample.cloudy).all()
