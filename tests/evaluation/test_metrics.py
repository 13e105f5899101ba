"""Tests of the measures: against scikit-image, against direct sums, and known answers."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from decr.errors import ConfigError, DatasetError
from decr.evaluation.metrics import (
    mae,
    paper_ssim,
    psnr,
    sam,
    ssim,
    ssim_map,
    truncated_share,
    truncated_unit,
)

ROOT = Path(__file__).resolve().parents[2]
RANGES = {"uint8": 255.0, "uint16": 2047.0, "float64": 2.0}

Array = NDArray[np.generic]


def pair(seed: int, kind: str, shape: tuple[int, int, int]) -> tuple[Array, Array]:
    """A smooth-ish image and a noisy copy of it."""
    rng = np.random.default_rng(seed)
    full = RANGES[kind]
    base = rng.uniform(0.2, 0.8, (shape[0], 1, 1)) + 0.2 * np.sin(np.arange(shape[2]) / 3.0)
    a = np.clip(base + rng.normal(0.0, 0.05, shape), 0.0, 1.0) * full
    b = np.clip(a + rng.normal(0.0, 0.1 * full, shape), 0.0, full)
    offset = 1.0 if kind == "float64" else 0.0
    return (a - offset).astype(kind), (b - offset).astype(kind)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(sorted(RANGES)),
    shape=st.tuples(st.integers(1, 4), st.integers(7, 40), st.integers(7, 40)),
)
def test_psnr_and_ssim_equal_scikit_image(
    seed: int, kind: str, shape: tuple[int, int, int]
) -> None:
    oracle = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    a, b = pair(seed, kind, shape)
    full = RANGES[kind]
    wanted = oracle.peak_signal_noise_ratio(a, b, data_range=full)
    assert psnr(a, b, full) == pytest.approx(wanted, abs=1e-9)
    wanted = oracle.structural_similarity(a, b, channel_axis=0, data_range=full)
    assert ssim(a, b, full) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("kind", sorted(RANGES))
def test_masked_versions_are_direct_sums(kind: str) -> None:
    a, b = pair(3, kind, (4, 20, 23))
    full = RANGES[kind]
    mask = np.random.default_rng(4).random((20, 23)) < 0.4
    x = a.astype(float)[:, mask]
    y = b.astype(float)[:, mask]
    wanted = 10 * math.log10(full**2 / ((x - y) ** 2).mean())
    assert psnr(a, b, full, mask) == pytest.approx(wanted, abs=1e-9)
    assert mae(a, b, mask) == pytest.approx(np.abs(x - y).mean(), rel=1e-12)
    cosine = (x * y).sum(0) / np.sqrt((x * x).sum(0) * (y * y).sum(0))
    wanted = np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()
    assert sam(a, b, mask) == pytest.approx(wanted, abs=1e-6)


def one_ssim(x: NDArray[np.float64], y: NDArray[np.float64], full: float) -> float:
    """SSIM of a single window, from its definition."""
    c1, c2 = (0.01 * full) ** 2, (0.03 * full) ** 2
    covariance = np.cov(x.ravel(), y.ravel())
    mx, my = x.mean(), y.mean()
    top = (2 * mx * my + c1) * (2 * covariance[0, 1] + c2)
    return float(top / ((mx**2 + my**2 + c1) * (covariance[0, 0] + covariance[1, 1] + c2)))


def test_masked_ssim_is_the_mean_of_the_windows_around_counted_pixels() -> None:
    a, b = pair(5, "float64", (2, 14, 17))
    mask = np.random.default_rng(6).random((14, 17)) < 0.3
    mask[0] = True  # too near the edge to count
    windows = [
        one_ssim(
            a[c, i - 3 : i + 4, j - 3 : j + 4].astype(float),
            b[c, i - 3 : i + 4, j - 3 : j + 4].astype(float),
            2.0,
        )
        for c in range(2)
        for i in range(3, 11)
        for j in range(3, 14)
        if mask[i, j]
    ]
    assert ssim(a, b, 2.0, mask) == pytest.approx(np.mean(windows), abs=1e-12)


def test_a_full_mask_changes_nothing() -> None:
    a, b = pair(7, "uint8", (3, 12, 9))
    everywhere = np.ones((12, 9), bool)
    assert psnr(a, b, 255.0, everywhere) == pytest.approx(psnr(a, b, 255.0), rel=1e-12)
    assert ssim(a, b, 255.0, everywhere) == pytest.approx(ssim(a, b, 255.0), rel=1e-12)
    assert mae(a, b, everywhere) == pytest.approx(mae(a, b), rel=1e-12)
    assert ssim_map(a, b, 255.0).shape == (3, 6, 3)


def test_nan_outside_the_mask_does_not_matter() -> None:
    a, b = pair(7, "float64", (3, 12, 9))
    mask = np.ones((12, 9), bool)
    mask[0, 0] = False
    wanted = psnr(a, b, 2.0, mask), mae(a, b, mask)
    a = a.astype(np.float64)
    a[:, 0, 0] = np.nan
    assert (psnr(a, b, 2.0, mask), mae(a, b, mask)) == wanted


def test_equal_images_have_the_best_scores() -> None:
    a, _ = pair(8, "uint8", (4, 9, 9))
    assert psnr(a, a, 255.0) == math.inf
    assert ssim(a, a, 255.0) == pytest.approx(1.0)
    assert mae(a, a) == 0.0
    assert sam(a, a) == 0.0


def test_unsigned_types_do_not_wrap() -> None:
    low, high = np.zeros((1, 7, 7), np.uint8), np.full((1, 7, 7), 255, np.uint8)
    assert psnr(low, high, 255.0) == psnr(high, low, 255.0) == 0.0
    assert mae(low, high) == 255.0


@pytest.mark.parametrize(
    ("u", "v", "degrees"),
    [
        ((1, 0, 0), (0, 3, 0), 90.0),
        ((1, 1, 0), (1, 0, 0), 45.0),
        ((1, 2, 3), (2, 4, 6), 0.0),
        ((1, 0, 0), (-2, 0, 0), 180.0),
        ((1, 0, 0), (1, math.tan(math.radians(1e-5)), 0), 1e-5),
    ],
)
def test_spectral_angles_of_known_vectors(
    u: tuple[float, ...], v: tuple[float, ...], degrees: float
) -> None:
    a, b = (np.array(x, float)[:, None, None] for x in (u, v))
    assert sam(a, b) == pytest.approx(degrees, abs=1e-10)


def test_spectral_angle_leaves_out_black_pixels() -> None:
    a, b = np.zeros((2, 3, 1, 3))
    a[0], b[1] = 1.0, 1.0
    b[:, 0, 2] = 0.0
    assert sam(a, b) == pytest.approx(90.0)
    with pytest.raises(DatasetError, match="no pixel differs from 0"):
        sam(np.zeros((3, 2, 2)), np.ones((3, 2, 2)))


def test_published_conversion_to_bytes_cuts_off() -> None:
    share = np.array([-0.1, 0.0, 0.5, 0.999, 1.0, 1.2], np.float32)
    assert truncated_share(share).tolist() == [0, 0, 127, 254, 255, 255]
    assert truncated_unit(2 * share - 1).tolist() == [0, 0, 127, 254, 255, 255]
    grey = np.arange(256, dtype=np.float32)
    back = truncated_unit(grey / np.float32(127.5) - np.float32(1))
    assert np.unique(grey - back).tolist() == [0.0, 1.0]
    assert int((grey != back).sum()) == 63  # measured on the published code
    assert np.array_equal(truncated_share(grey / np.float32(255)), grey)


def test_the_papers_ssim_is_scikit_images_of_luma() -> None:
    oracle = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    a, b = pair(9, "uint8", (4, 30, 31))
    shares = np.array([0.298912, 0.586611, 0.114478])[:, None, None]

    def luma(rgb: Array) -> NDArray[np.float64]:
        return np.asarray((rgb.astype(float) * shares).sum(axis=0))

    def similarity(x: Array, y: Array) -> float:
        return float(oracle.structural_similarity(luma(x), luma(y), data_range=255))

    assert paper_ssim(a[:3], b[:3]) == pytest.approx(similarity(a[:3], b[:3]), abs=1e-9)
    bands = [similarity(np.stack([x] * 3), np.stack([y] * 3)) for x, y in zip(a, b, strict=True)]
    assert paper_ssim(a, b) == pytest.approx(np.mean(bands), abs=1e-9)


def test_what_cannot_be_compared_is_said_in_one_line() -> None:
    zeros = np.zeros((3, 8, 8), np.uint8)
    none = np.zeros((8, 8), bool)
    edge = none.copy()
    edge[0] = True
    broken = np.full((3, 8, 8), np.nan)
    for call, error, message in (
        (lambda: psnr(zeros, zeros[:2], 255.0), DatasetError, r"\(3, 8, 8\) and \(2, 8, 8\)"),
        (lambda: mae(zeros[0], zeros[0]), DatasetError, "bands, rows, columns"),
        (lambda: mae(zeros[:, :0], zeros[:, :0]), DatasetError, "bands, rows, columns"),
        (lambda: psnr(zeros, zeros, 0.0), ConfigError, "data_range is 0"),
        (lambda: ssim(zeros, zeros, math.nan), ConfigError, "data_range is nan"),
        (lambda: ssim(zeros[:, :6], zeros[:, :6], 255.0), DatasetError, "6 x 8 pixels"),
        (lambda: psnr(zeros, zeros, 255.0, none), DatasetError, "counts no pixel"),
        (lambda: ssim(zeros, zeros, 255.0, edge), DatasetError, "from the edge"),
        (lambda: mae(zeros, zeros, none[:4]), DatasetError, r"shape \(4, 8\)"),
        (lambda: mae(zeros, zeros, none.astype(np.uint8)), DatasetError, "mask is uint8"),
        (lambda: ssim(broken, broken, 1.0), DatasetError, "NaN"),
        (lambda: truncated_unit(broken), DatasetError, "NaN"),
        (lambda: paper_ssim(zeros[:2], zeros[:2]), DatasetError, "the images have 2"),
    ):
        with pytest.raises(error, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_measures_need_no_torch() -> None:
    code = (
        "import json, sys, decr.evaluation.metrics, decr.evaluation.imresize;"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"torch", "torchvision", "lpips", "rasterio", "skimage"}
