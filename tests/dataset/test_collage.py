"""Tests of the detector's samples: quilts without holes, real masks that move with their image."""

from __future__ import annotations

import numpy as np
import pytest

from decr.dataset.collage import LabelledImage, detection_sample, labelled_sample, quilt
from decr.dataset.samples import ClearImage

RGB = ("red", "green", "blue")


def clear_image(gsd_m: float = 0.5, side: int = 200, base: int = 40) -> ClearImage:
    dn = np.random.default_rng(base).integers(base, base + 20, (3, side, side)).astype(np.uint8)
    return ClearImage(f"{base}.tif", dn, RGB, gsd_m, 255.0)


def labelled_image(side: int = 120) -> LabelledImage:
    """Clouds are exactly the bright pixels, so image and mask can be compared after turning."""
    mask = np.zeros((side, side), bool)
    mask[: side // 2, : side // 3] = True
    reflectance = np.where(mask, 0.8, 0.1).astype(np.float32)
    return LabelledImage("l.tif", np.broadcast_to(reflectance, (3, side, side)).copy(), RGB, mask)


@pytest.mark.parametrize("k", [1, 4, 8])
def test_quilts_are_full_and_of_one_gsd(k: int) -> None:
    images = [clear_image(), clear_image(1.0, base=120)]
    view, gsd_m = quilt(np.random.default_rng(0), images, RGB, 96, k)
    assert view.shape == (3, 96, 96)
    assert gsd_m == 0.5 * k
    assert np.isfinite(view).all()
    assert 40 / 255 - 1e-6 <= view.min() <= view.max() <= 140 / 255


def test_images_finer_than_the_quilt_can_use_do_not_stall_it() -> None:
    images = [clear_image(1.5), clear_image(0.02, side=60)]
    view, _ = quilt(np.random.default_rng(0), images, RGB, 24, 8)
    assert np.isfinite(view).all()


def test_samples_are_whole_reproducible_and_of_all_sorts() -> None:
    images, labelled = [clear_image(), clear_image(base=90)], [labelled_image()]
    cloudy_share = []
    for seed in range(16):
        sample = detection_sample(np.random.default_rng(seed), images, labelled, RGB, 64)
        assert sample.cloudy.shape == (3, 64, 64)
        assert sample.cloud_mask.shape == (64, 64)
        assert sample.cloud_mask.dtype == bool
        assert np.isfinite(sample.cloudy).all()
        assert np.abs(sample.cloudy).max() <= 1
        again = detection_sample(np.random.default_rng(seed), images, labelled, RGB, 64)
        np.testing.assert_array_equal(sample.cloudy, again.cloudy)
        np.testing.assert_array_equal(sample.cloud_mask, again.cloud_mask)
        cloudy_share.append(float(sample.cloud_mask.mean()))
    assert min(cloudy_share) == 0.0
    assert max(cloudy_share) > 0.3


def test_masks_turn_with_their_images() -> None:
    rng, seen = np.random.default_rng(0), 0
    for _ in range(20):
        sample = labelled_sample(rng, labelled_image(), RGB, 64, clouded_share=0.0)
        if sample.cloud_mask.any() and not sample.cloud_mask.all():
            bright = sample.cloudy[0] > (sample.cloudy[0].min() + sample.cloudy[0].max()) / 2
            np.testing.assert_array_equal(bright, sample.cloud_mask)
            seen += 1
    assert seen >= 3


def test_labelled_images_may_come_under_more_clouds_but_never_under_fewer() -> None:
    more = 0
    for seed in range(12):
        own, clouded = (
            labelled_sample(np.random.default_rng(seed), labelled_image(), RGB, 64, share)
            for share in (0.0, 1.0)
        )
        assert (clouded.cloud_mask | ~own.cloud_mask).all()
        more += int(clouded.cloud_mask.sum()) > int(own.cloud_mask.sum())
    assert more >= 6


def test_only_wide_or_only_small_wide_images_work() -> None:
    for images in ([clear_image(10.0, side=300)], [clear_image(30.0, side=100)]):
        for seed in range(6):
            sample = detection_sample(np.random.default_rng(seed), images, [], RGB, 128)
            assert sample.cloudy.shape == (3, 128, 128)
