"""Tests of samples across dates: one place on both sides, the look of one date, two grounds."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from decr.dataset.clear import Folder, read_clear
from decr.dataset.dates import (
    GAIN_LIMITS,
    dated_crop,
    dated_partners,
    matched_levels,
)
from decr.dataset.samples import ClearImage, Sample, Variety, restoration_sample
from decr.dataset.sky import CloudParams
from decr.errors import ConfigError, DatasetError

BGRN = ("blue", "green", "red", "nir")
RGB = ("red", "green", "blue")
GSD_M = (0.3, 2.0)
YEAR = r"_(?P<date>\d{4})_"
THIN = CloudParams(thickness=0.3, airlight=(0.9,) * 3, noise=0.0, blur_px=0.0)
NO_SKY = replace(THIN, thickness=0.0, shadow=0.0, coverage=0.0)
SKY_DRAWN = "decr.dataset.samples.draw_params"


def image(name: str, seed: int = 0, side: int = 80, gsd_m: float = 0.5) -> ClearImage:
    dn = np.random.default_rng(seed).integers(20, 200, (4, side, side)).astype(np.uint8)
    return ClearImage(name, dn, BGRN, gsd_m, 255.0)


def test_images_are_grouped_by_what_their_names_share() -> None:
    names = [
        "b_2020_1.tif",
        "a_2018_1.tif",
        "a_2016_1.tif",
        "a_2016_2.tif",
        "b_2016_1.tif",
        "x.tif",
    ]
    groups = dated_partners([image(name) for name in names], YEAR)
    assert [[i.name for i in group] for group in groups] == [
        ["a_2016_1.tif", "a_2018_1.tif"],
        ["b_2016_1.tif", "b_2020_1.tif"],
    ]


def test_images_on_other_grids_are_no_partners() -> None:
    same = [image("a_2016_1"), image("a_2017_1", gsd_m=0.5 + 1e-9)]
    other = [image("a_2018_1", side=81), image("a_2019_1", gsd_m=0.6)]
    [group] = dated_partners(same + other, YEAR)
    assert group == tuple(same)
    assert dated_partners([same[0], *other], YEAR) == []


def test_wrong_patterns_and_repeated_dates_are_errors() -> None:
    with pytest.raises(ConfigError, match="is not valid"):
        dated_partners([], "(")
    with pytest.raises(ConfigError, match=r"names no date; put \(\?P<date>"):
        dated_partners([], r"_(\d{4})_")
    with pytest.raises(DatasetError, match="a_2016_1 is there twice"):
        dated_partners([image("a_2016_1"), image("a_2016_1")], YEAR)


@given(
    view=arrays(np.float32, (2, 6, 6), elements=st.floats(0.25, 0.75, width=32)),
    gain=st.floats(0.6, 1.5),
    offset=st.floats(-0.1, 0.1),
)
def test_a_linear_change_of_levels_is_undone(
    view: NDArray[np.float32], gain: float, offset: float
) -> None:
    centre = view.mean((1, 2), keepdims=True)
    # Contrast small enough to clip nowhere.
    like = centre + (view - centre) * np.float32(0.3)
    changed = (like - centre) * np.float32(gain) + centre + np.float32(offset)
    np.testing.assert_allclose(matched_levels(changed, like), like, atol=2e-4)


def test_contrast_is_stretched_within_limits_only() -> None:
    flat = np.full((1, 8, 8), 0.2, np.float32)
    faint = flat + np.linspace(-0.01, 0.01, 64, dtype=np.float32).reshape(1, 8, 8)
    strong = 0.5 + (faint - flat) * 40
    out = matched_levels(faint, strong)
    assert out.mean() == pytest.approx(0.5, abs=1e-5)
    assert np.ptp(out) == pytest.approx(0.02 * GAIN_LIMITS[1], rel=1e-3)
    np.testing.assert_allclose(matched_levels(flat, strong), 0.5, atol=1e-5)
    assert np.isfinite(matched_levels(flat, flat)).all()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_samples_are_whole_and_reproducible(seed: int) -> None:
    places = [(image("a", 1), image("b", 2)), (image("c", 3), image("d", 4), image("e"))]
    variety = Variety(0.1, 0.3, 0.3)

    def draw() -> Sample:
        rng = np.random.default_rng(seed)
        return dated_crop(rng, places[seed % 2], RGB, 32, GSD_M, variety)

    one, two = draw(), draw()
    np.testing.assert_array_equal(one.cloudy, two.cloudy)
    np.testing.assert_array_equal(one.clear, two.clear)
    assert one.cloudy.shape == one.clear.shape == (3, 32, 32)
    assert one.cloudy.dtype == one.clear.dtype == np.float32
    assert one.cloud_mask.shape == (32, 32)
    assert max(np.abs(one.cloudy).max(), np.abs(one.clear).max()) <= 1


@given(
    seed=st.integers(0, 10_000),
    mixed=st.sampled_from([0.0, 0.5, 1.0]),
    plain=st.sampled_from([0.0, 0.5, 1.0]),
    vivid=st.sampled_from([0.0, 0.5, 1.0]),
)
@settings(max_examples=25)
def test_both_dates_are_cut_turned_and_varied_alike(
    seed: int, mixed: float, plain: float, vivid: float
) -> None:
    """Where two dates differ in levels alone, the truth is that of the date under the cloud."""
    first = image("a")
    dimmed = (first.dn.astype(np.float32) * 0.8 + 10).astype(np.float32)
    # Another white and a GSD on the other side of a rounding must not part the two.
    second = replace(first, dn=dimmed * 2, white=510.0, gsd_m=0.5000001)
    variety = Variety(clear_share=0.0, mixed_share=mixed, plain_share=plain, vivid_share=vivid)
    with patch(SKY_DRAWN, return_value=NO_SKY):
        rng = np.random.default_rng(seed)
        sample = dated_crop(rng, (first, second), RGB, 32, (0.25, 1.0), variety)
    np.testing.assert_allclose(sample.cloudy, sample.clear, atol=0.02)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_the_truth_is_the_other_date(seed: int) -> None:
    stripes = np.where(np.arange(64) // 8 % 2, 160, 40).astype(np.uint8)
    along = replace(image("a", side=64), dn=np.broadcast_to(stripes, (4, 64, 64)))
    across = replace(along, dn=np.broadcast_to(stripes[:, None], (4, 64, 64)))

    def likeness(*dates: ClearImage) -> float:
        rng = np.random.default_rng(seed)
        with patch(SKY_DRAWN, return_value=NO_SKY):
            sample = dated_crop(rng, dates, RGB, 64, GSD_M, Variety(0.0))
        return float(np.corrcoef(sample.cloudy[0].ravel(), sample.clear[0].ravel())[0, 1])

    assert likeness(along, replace(along)) > 0.99
    assert abs(likeness(along, across)) < 0.1


def test_samples_without_cloud_are_left_alone() -> None:
    ground = (image("a", 1), image("b", 2))
    sample = dated_crop(np.random.default_rng(0), ground, RGB, 32, GSD_M, Variety(clear_share=1.0))
    np.testing.assert_array_equal(sample.cloudy, sample.clear)
    assert not sample.cloud_mask.any()


def test_streams_of_ordinary_samples_are_as_they_were() -> None:
    """Recorded before samples across dates came: a seed still draws the same sample."""
    texture = np.random.default_rng(0).integers(0, 5, (4, 150, 200))
    dn = (texture + np.arange(10, 50, 10)[:, None, None]).astype(np.uint8)
    ground = ClearImage("coded.tif", dn, BGRN, 0.5, 255.0)
    variety = Variety(0.2, 0.3, 0.3)
    found = [
        restoration_sample(np.random.default_rng(seed), [ground], RGB, 48, variety=variety)
        for seed in range(4)
    ]
    means = [(s.cloudy.mean(), s.clear.mean(), s.cloud_mask.mean()) for s in found]
    recorded = [
        (-0.787326, -0.787326, 0.0),
        (-0.855853, -0.919633, 0.217882),
        (-0.867911, -0.867911, 0.0),
        (-0.098604, -0.919914, 0.707465),
    ]
    np.testing.assert_allclose(means, recorded, atol=2e-5)


def test_real_places_on_three_dates_are_found_and_alike(shared: Path) -> None:
    folder = Folder(
        shared / "data/clear_highres_nir/naip_0p6m_california_cities",
        bands="r,g,b,n",
        skip=("chico*", "bishop*", "palm*", "santa*", "long*"),
    )
    places = dated_partners(read_clear(folder, BGRN, 140), YEAR)
    dates = [[date for i in place for date in re.findall(YEAR, i.name)] for place in places]
    assert dates.count(["2016", "2018", "2020"]) == 9
    rng = np.random.default_rng(0)
    sky = replace(THIN, airlight=(0.9,) * 4)
    with patch(SKY_DRAWN, return_value=sky):
        sample = dated_crop(rng, places[0], BGRN, 128, GSD_M, Variety(0.0))
    together = np.corrcoef(sample.cloudy.ravel(), sample.clear.ravel())[0, 1]
    assert 0.3 < together < 0.999
