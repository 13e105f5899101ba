"""Tests of the measures against torchmetrics: where both are one, and where definitions part."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from decr.evaluation.metrics import mae, psnr, sam, ssim
from tests.evaluation.test_metrics import RANGES, Array, pair

torch = pytest.importorskip("torch")
oracle: Any = pytest.importorskip(
    "torchmetrics.functional.image",
    reason="torchmetrics is not installed: pip install torchmetrics",
)
mean_absolute_error = pytest.importorskip("torchmetrics.functional").mean_absolute_error

OURS = {
    "gaussian_kernel": False,
    "kernel_size": 7,
    "k1": 0.01,
    # decr divides covariances by 48, torchmetrics by 49: as if this constant were larger.
    "k2": 0.03 * math.sqrt(48 / 49),
}
"""With these, torchmetrics' SSIM of a pixel is decr's. ``sigma`` is of the Gaussian window only."""
BORDER = 3
"""decr counts whole windows; torchmetrics mirrors the image and counts the border, too."""


def tensors(*images: Array) -> list[Any]:
    """(C, H, W) as batches of one, in float64: torchmetrics computes in the type that it is fed."""
    return [torch.from_numpy(image.astype(np.float64))[None] for image in images]


def their_ssim(a: Array, b: Array, full: float) -> float:
    """Mean of torchmetrics' map over the pixels whose window is whole."""
    _, image = oracle.structural_similarity_index_measure(
        *tensors(a, b), data_range=full, return_full_image=True, **OURS
    )
    return float(image[0, :, BORDER:-BORDER, BORDER:-BORDER].mean())


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(sorted(RANGES)),
    bands=st.sampled_from([1, 3, 4]),
    height=st.integers(7, 40),
    width=st.integers(7, 40),
)
def test_psnr_and_ssim_equal_torchmetrics(
    seed: int, kind: str, bands: int, height: int, width: int
) -> None:
    a, b = pair(seed, kind, (bands, height, width))
    full = RANGES[kind]
    x, y = tensors(a, b)
    wanted = float(oracle.peak_signal_noise_ratio(x, y, data_range=full))
    assert psnr(a, b, full) == pytest.approx(wanted, abs=1e-5)
    assert ssim(a, b, full) == pytest.approx(their_ssim(a, b, full), abs=1e-5)


def flat(value: float, bands: int = 3) -> Array:
    """A constant image."""
    return np.full((bands, 9, 12), value)


@pytest.mark.parametrize("bands", [3, 4])
def test_scores_of_constant_and_identical_images_equal_torchmetrics(bands: int) -> None:
    noisy, _ = pair(1, "float64", (bands, 12, 15))
    for a, b in (
        (noisy, noisy),
        (flat(0.2, bands), flat(0.2, bands)),
        (flat(0.0, bands), flat(0.0, bands)),
        (flat(0.0, bands), flat(1.0, bands)),
        (flat(0.3, bands), flat(0.7, bands)),
        (flat(0.3, bands), pair(2, "float64", (bands, 9, 12))[0]),
    ):
        x, y = tensors(a, b)
        wanted = float(oracle.peak_signal_noise_ratio(x, y, data_range=2.0))
        assert psnr(a, b, 2.0) == pytest.approx(wanted, abs=1e-5)
        assert (psnr(a, b, 2.0) == math.inf) == np.array_equal(a, b)
        assert ssim(a, b, 2.0) == pytest.approx(their_ssim(a, b, 2.0), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    bands=st.sampled_from([2, 3, 4]),
    kind=st.sampled_from(["uint8", "uint16"]),
)
def test_mae_and_spectral_angle_equal_torchmetrics(seed: int, bands: int, kind: str) -> None:
    a, b = pair(seed, kind, (bands, 11, 14))
    a, b = np.maximum(a, 1), np.maximum(b, 1)  # no black pixel: see below
    x, y = tensors(a, b)
    wanted = float(mean_absolute_error(x.flatten(), y.flatten()))
    assert mae(a, b) == pytest.approx(wanted, abs=1e-5)
    wanted = math.degrees(float(oracle.spectral_angle_mapper(x, y)))
    assert sam(a, b) == pytest.approx(wanted, abs=1e-5)


def test_torchmetrics_ssim_also_counts_the_mirrored_border() -> None:
    a, b = pair(3, "float64", (4, 12, 15))
    mirrored = [
        np.pad(i, ((0, 0), (BORDER, BORDER), (BORDER, BORDER)), mode="reflect") for i in (a, b)
    ]
    theirs = float(
        oracle.structural_similarity_index_measure(*tensors(a, b), data_range=2.0, **OURS)
    )
    assert abs(theirs - ssim(a, b, 2.0)) > 1e-3
    assert theirs == pytest.approx(ssim(mirrored[0], mirrored[1], 2.0), abs=1e-9)


def test_torchmetrics_default_ssim_has_another_window() -> None:
    a, b = pair(3, "float64", (3, 40, 33))
    theirs = float(oracle.structural_similarity_index_measure(*tensors(a, b), data_range=2.0))
    assert abs(ssim(a, b, 2.0) - theirs) > 1e-3
    first, second = a.astype(float), b.astype(float)

    def smooth(image: np.ndarray) -> np.ndarray:
        # Gaussian of 1.5 pixels, cut at 5, over the mirrored image.
        soft = [ndimage.gaussian_filter(i, 1.5, truncate=3.5, mode="mirror") for i in image]
        return np.stack(soft)

    c1, c2 = (0.01 * 2.0) ** 2, (0.03 * 2.0) ** 2
    mean_a, mean_b = smooth(first), smooth(second)
    both = smooth(first * second) - mean_a * mean_b
    spread = smooth(first**2) - mean_a**2 + smooth(second**2) - mean_b**2
    alike = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    likeness = alike / ((mean_a**2 + mean_b**2 + c1) * (spread + c2))
    assert theirs == pytest.approx(likeness.mean(), abs=1e-6)


def test_torchmetrics_spectral_angle_of_a_black_pixel_is_not_a_number() -> None:
    a, b = pair(4, "uint8", (3, 8, 8))
    a, b = np.maximum(a, 1), np.maximum(b, 1)
    whole = sam(a, b)
    a[:, 0, 0] = 0
    assert math.isnan(float(oracle.spectral_angle_mapper(*tensors(a, b))))
    rest = np.ones((8, 8), bool)
    rest[0, 0] = False
    assert sam(a, b) == sam(a, b, rest) != whole


def test_torchmetrics_spectral_angle_loses_small_angles() -> None:
    a = np.ones((3, 2, 2))
    b = a.copy()
    b[0] += 1e-9
    wanted = math.degrees(1e-9 * math.sqrt(2 / 3) / math.sqrt(3))
    assert sam(a, b) == pytest.approx(wanted, rel=1e-4)
    theirs = math.degrees(float(oracle.spectral_angle_mapper(*tensors(a, b))))
    assert theirs != pytest.approx(wanted, rel=0.1)  # an arc cosine
    assert theirs == pytest.approx(wanted, abs=1e-5)
