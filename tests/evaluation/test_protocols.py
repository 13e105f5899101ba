"""Tests of the protocols: what is compared at which size, against the formulas themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from decr.errors import ConfigError
from decr.evaluation.imresize import imresize
from decr.evaluation.metrics import paper_ssim, psnr, truncated_unit
from decr.evaluation.perceptual import Lpips, load_lpips
from decr.evaluation.protocols import (
    PROTOCOLS,
    better_is_higher,
    of_levels,
    of_unit,
    protocol_named,
    resized,
    scored,
    size_at,
    unit_of,
)
from decr.evaluation.published import PUBLISHED, differences, published_set
from tests.tiny import MeanDifference

STANDARD, PAPER, GEOCR = (PROTOCOLS[name] for name in ("standard", "de-paper", "geocr-98"))


LPIPS = Lpips(MeanDifference(), torch.device("cpu"))


def levels(seed: int, side: int = 40, bands: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (bands, side, side)).astype(np.float32)


@pytest.mark.parametrize("bands", [3, 4])
def test_de_paper_is_the_published_arithmetic(bands: int) -> None:
    truth, restored = levels(0, bands=bands), levels(1, bands=bands) / np.float32(127.5) - 1
    output = of_unit(restored.astype(np.float32), PAPER, from_share=False)
    wanted = truncated_unit(truth / np.float32(127.5) - np.float32(1))
    clear = of_levels(truth, PAPER, from_share=False)
    np.testing.assert_array_equal(clear, wanted)
    # 63 levels come back one too low from [-1, 1], none from [0, 1].
    every = np.arange(256, dtype=np.float32).reshape(1, 16, 16)
    assert (of_levels(every, PAPER, from_share=False) != every).sum() == 63
    assert (of_levels(every, PAPER, from_share=True) == every).all()
    found = scored(output, clear, None, PAPER, LPIPS)
    assert found["psnr"] == psnr(output, clear, 255.0)
    assert found["ssim"] == paper_ssim(output, clear)
    apart = np.abs(output.astype(float) - clear).mean()
    assert found["lpips"] == pytest.approx(apart, rel=1e-5)
    assert found["lpips_standard"] == pytest.approx(apart / 127.5, rel=1e-4)


def test_size_is_the_protocols_and_the_sets() -> None:
    image = levels(0, 64)
    assert resized(image, STANDARD, "rice2") is image
    assert resized(image, PAPER, "tcloud") is image
    larger = resized(image, PAPER, "rice2")
    np.testing.assert_array_equal(larger, imresize(image, 4.0))
    assert larger.shape == (3, 256, 256)
    for height, width in ((100, 300), (257, 511), (64, 64)):
        odd = resized(np.zeros((1, height, width), np.float32), PAPER, "rice2")
        assert odd.shape[1:] == size_at(height, width, PAPER, "rice2")
        assert size_at(height, width, PAPER, "whu") == (height, width)


def test_standard_scores_equal_scikit_image() -> None:
    oracle = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    truth = levels(3)
    restored = np.clip(unit_of(truth, STANDARD) + 0.1, -1, 1).astype(np.float32)
    a = of_unit(restored, STANDARD, from_share=False)
    b = of_levels(truth, STANDARD, from_share=False)
    found = scored(a, b, None, STANDARD, None)
    assert found["psnr"] == pytest.approx(
        oracle.peak_signal_noise_ratio(b, a, data_range=1.0), abs=1e-5
    )
    assert found["ssim"] == pytest.approx(
        oracle.structural_similarity(b, a, channel_axis=0, data_range=1.0), abs=1e-5
    )
    assert found["mae"] == pytest.approx(np.abs(a - b).mean())
    assert "lpips" not in found


def test_parts_are_scored_apart() -> None:
    truth = levels(4)
    mask = np.zeros((40, 40), bool)
    mask[:, :15] = True
    output = np.where(mask, np.minimum(truth + 51, 255), truth).astype(np.float32)
    for protocol in (STANDARD, GEOCR):
        a, b = (of_levels(x, protocol, from_share=False) for x in (output, truth))
        found = scored(a, b, mask, protocol, None)
        assert found["clear_psnr"] == np.inf
        assert found["clear_mae"] == found["clear_sam"] == 0.0
        share = mask.mean()
        assert found["mae"] == pytest.approx(share * found["cloudy_mae"])
        empty = scored(a, b, np.zeros_like(mask), protocol, None)
        assert empty["cloudy_psnr"] is None
        assert empty["clear_psnr"] == pytest.approx(found["psnr"])
    black = scored(np.zeros_like(a), b, None, GEOCR, None)
    assert black["sam"] is None
    grey = scored(a[:1], b[:1], mask, GEOCR, None)
    assert grey["sam"] is grey["cloudy_sam"] is grey["clear_sam"] is None


def test_de_paper_scores_parts_by_luma_too() -> None:
    oracle = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(6)
    output, truth = rng.integers(0, 256, (2, 3, 40, 40), np.uint8)
    output[:, :, 20:] = truth[:, :, 20:]
    mask = np.zeros((40, 40), bool)
    mask[:, :15] = True
    found = scored(output, truth, mask, PAPER, None)
    lumas = [np.tensordot((0.298912, 0.586611, 0.114478), x, 1) for x in (output, truth)]
    _, each = oracle.structural_similarity(*lumas, data_range=255.0, full=True)
    inner, chosen = each[3:-3, 3:-3], mask[3:-3, 3:-3]
    assert found["ssim"] == pytest.approx(inner.mean())
    assert found["cloudy_ssim"] == pytest.approx(inner[chosen].mean())
    assert found["clear_ssim"] == pytest.approx(inner[~chosen].mean())


def test_equal_images_are_perfect_whatever_the_protocol() -> None:
    for protocol in PROTOCOLS.values():
        same = of_levels(levels(5), protocol, from_share=True)
        found = scored(same, same, None, protocol, LPIPS)
        assert found["psnr"] == np.inf
        assert found["ssim"] == pytest.approx(1.0)
        assert found["lpips"] == found["mae"] == found["sam"] == 0.0


def test_protocols_are_found_by_name_and_scores_know_their_direction() -> None:
    assert protocol_named("de-paper") is PAPER
    with pytest.raises(ConfigError, match="geocr-98"):
        protocol_named("best")
    assert better_is_higher("cloudy_psnr")
    assert not better_is_higher("clear_mae")


def test_published_sets_are_known_by_layout_and_name() -> None:
    one = published_set(Path("x/CUHK_CR1"), "cuhk")
    assert one is PUBLISHED["cuhk-cr1"]
    assert published_set(Path("x/mine"), "cuhk") is None
    assert published_set(Path("x/mine"), "manifest") is None
    assert len(PUBLISHED["rice1"].rows) == 7
    said = " ".join(differences(one, "standard", 98, 3, "all"))
    for word in ("no column", "134 images", "36 of the 134", "split all", "4 bands"):
        assert word in said
    assert differences(PUBLISHED["cuhk-cr2"], "de-paper", 111, 4, "test") == []


@pytest.mark.parametrize("bands", [3, 4])
def test_de_paper_matches_the_metric_vectors(shared: Path, bands: int) -> None:
    vectors = shared / "reference" / "golden" / f"metrics_{bands}b.npz"
    backbone = shared / "data" / "weights" / "lpips_alexnet.npz"
    if not vectors.is_file() or not backbone.is_file():
        pytest.skip(f"metric vectors or LPIPS' backbone absent: {vectors}, {backbone}")
    with np.load(vectors) as file:
        found = scored(file["pred_u8"], file["gt_u8"], None, PAPER, load_lpips(backbone))
        assert found["psnr"] == pytest.approx(float(file["psnr"]), abs=1e-6)
        assert found["ssim"] == pytest.approx(float(file["ssim"]), abs=1e-6)
        assert found["lpips"] == pytest.approx(float(file["lpips_paper"]), abs=1e-4)
        assert found["lpips_standard"] == pytest.approx(float(file["lpips_standard"]), abs=1e-4)
