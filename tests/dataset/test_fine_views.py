"""Tests of the samples for the detector of fine scenes: means, darkest pixels, one flight."""

from __future__ import annotations

import re

import numpy as np
import pytest

from decr.dataset import fine_views
from decr.dataset.fine_views import coarse_view, fine_sample, of_one_flight
from decr.dataset.samples import ClearImage

RGB = ("red", "green", "blue")


def clear_image(name: str, level: int, side: int = 256, spread: int = 20) -> ClearImage:
    dn = np.random.default_rng(level).integers(level, level + spread + 1, (3, side, side))
    return ClearImage(name, dn.astype(np.uint8), RGB, 0.6, 255.0)


def test_a_flight_is_a_place_and_a_year() -> None:
    dn = np.zeros((1, 2, 2), np.uint8)
    names = ("a_2018_1.tif", "a_2018_23.tif", "a_2020_1.tif", "m_30_17_p6_new.tif", "m_3_1_p7.tif")
    images = [ClearImage(n, dn, ("red",), 1.0, 255.0) for n in names]
    assert [i.name for i in of_one_flight(images, "a_2018_9.tif")] == list(names[:2])
    assert [i.name for i in of_one_flight(images, "m_31_2_p17_new.tif")] == [names[3]]


def test_names_are_taken_apart_once_not_for_each_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    sub = re.sub
    monkeypatch.setattr(re, "sub", lambda *given: asked.append(given) or sub(*given))
    images = [clear_image(f"often_2018_{n}.tif", n, side=2) for n in range(30)]
    for image in images:
        assert len(of_one_flight(images, image.name)) == 30
    assert len(asked) <= 30


def test_cells_have_a_mean_and_a_darkest_pixel() -> None:
    view = np.array([[[1, 2, 9], [3, 6, 9]], [[8, 8, 9], [8, 4, 9]]], np.float32)
    np.testing.assert_array_equal(coarse_view(view, 2)[:, 0, 0], [3, 7, 1, 4])
    assert coarse_view(view, 2).shape == (4, 1, 1)


def test_samples_are_whole_reproducible_and_of_all_sorts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_views, "_CLEAR_SHARE", 0.3)
    images = [clear_image("a_1.tif", 40), clear_image("a_2.tif", 90)]
    shares = []
    for seed in range(24):
        sample = fine_sample(np.random.default_rng(seed), images, [], RGB, 64)
        assert (sample.cloudy.shape, sample.cloud_mask.shape) == ((6, 64, 64), (64, 64))
        assert np.abs(sample.cloudy).max() <= 1
        assert (sample.cloudy[3:] <= sample.cloudy[:3] + 1e-6).all()
        again = fine_sample(np.random.default_rng(seed), images, [], RGB, 64)
        np.testing.assert_array_equal(sample.cloudy, again.cloudy)
        np.testing.assert_array_equal(sample.cloud_mask, again.cloud_mask)
        shares.append(float(sample.cloud_mask.mean()))
    assert min(shares) == 0.0
    assert max(shares) > 0.3


def test_a_view_is_of_one_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Towns of one level each: a clear view shows one of them."""
    monkeypatch.setattr(fine_views, "_CLEAR_SHARE", 1.0)
    towns = [clear_image(f"{n}_1.tif", 40 + 50 * i, spread=0) for i, n in enumerate("abc")]
    for seed in range(12):
        sample = fine_sample(np.random.default_rng(seed), towns, [], RGB, 64)
        assert np.ptp(sample.cloudy, axis=(1, 2)).max() == pytest.approx(0.0, abs=1e-6)


def test_small_images_give_whole_views_too() -> None:
    images = [clear_image("s.tif", 60, side=140)]
    for seed in range(12):
        sample = fine_sample(np.random.default_rng(seed), images, [], RGB, 96)
        assert sample.cloudy.shape == (6, 96, 96)
        assert np.isfinite(sample.cloudy).all()
