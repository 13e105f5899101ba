"""Tests of what a weight could gain: best weights against a search, and the full model's way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decr.diffusion.fusion import level
from decr.evaluation.analysis import Setting, bench_of
from decr.evaluation.fusion_limits import WINDOW_PX, described, limits, limits_of, verdict
from decr.evaluation.metrics import psnr
from decr.evaluation.sampling import Fused, sampled
from decr.zoo.bundle import read_card, save_with_card


def errors(seed: int, alike: float) -> tuple[np.ndarray, np.ndarray]:
    """Errors of two estimates that share a part."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0.0, 0.1, (3, 20, 21))
    apart = rng.normal(0.0, 0.1, (2, 3, 20, 21))
    return alike * shared + (1 - alike) * apart[0], alike * shared + 1.4 * (1 - alike) * apart[1]


def of(error: np.ndarray) -> float:
    return psnr(error, np.zeros_like(error), 1.0)


@pytest.mark.parametrize("alike", [0.0, 0.5, 0.95])
def test_best_weights_are_those_that_a_search_finds(alike: float) -> None:
    a, b = errors(0, alike)
    weight = np.random.default_rng(1).uniform(0.3, 1.0, a.shape)
    found = limits_of(a, b, weight)
    every = np.linspace(0.0, 1.0, 1001)
    tried = [of(w * a + (1 - w) * b) for w in every]
    assert found["best"] == pytest.approx(max(tried), abs=1e-4)
    assert found["best_w"] == pytest.approx(every[int(np.argmax(tried))], abs=1e-3)
    assert found["half"] == pytest.approx(of((a + b) / 2))
    assert found["learnt"] == pytest.approx(of(weight * a + (1 - weight) * b))
    assert found["mean_w"] == weight.mean()
    assert (found["reference"], found["diffusion"]) == pytest.approx((of(a), of(b)))
    # A pixel can be brought to the truth where the two err in opposite ways.
    pixels = np.where(a * b < 0, 0.0, np.minimum(abs(a), abs(b)))
    assert found["pixels"] == pytest.approx(of(pixels))
    # One window alone, searched.
    part = np.s_[:, :WINDOW_PX, :WINDOW_PX]
    alone = limits_of(a[part], b[part], weight[part])["windows"]
    each = [
        min(((w * a[c][part[1:]] + (1 - w) * b[c][part[1:]]) ** 2).mean() for w in every)
        for c in range(3)
    ]
    assert alone == pytest.approx(-10 * np.log10(np.mean(each)), abs=1e-3)
    assert found["half"] <= found["best"] <= found["windows"] <= found["pixels"]


def test_estimates_that_err_alike_leave_nothing_to_gain() -> None:
    a, _ = errors(2, 0.5)
    same = limits_of(a, a.copy(), np.full_like(a, 0.7))
    assert same["correlation"] == pytest.approx(1.0)
    assert same["pixels"] == pytest.approx(same["half"]) == pytest.approx(same["reference"])
    perfect = limits_of(np.zeros_like(a), np.zeros_like(a), np.full_like(a, 0.7))
    assert perfect["correlation"] == 0.0
    assert perfect["half"] == pytest.approx(120.0)


def test_limits_are_of_the_full_models_own_way(setting: Setting) -> None:
    bench = bench_of(setting)
    rows = limits(bench)
    assert [row["t"] for row in rows] == [750, 500, 250, 0]
    outputs = [sampled(bench.networks, t.cloudy, n, steps=4) for n, t in enumerate(bench.tiles)]
    wanted = np.mean([psnr(o, t.clear, 2.0) for o, t in zip(outputs, bench.tiles, strict=True)])
    # Outputs are clipped to unit; these estimates were not.
    assert rows[-1]["learnt"] == pytest.approx(wanted, abs=0.05)
    alone = [
        sampled(bench.networks, t.cloudy, n, fusion="reference") for n, t in enumerate(bench.tiles)
    ]
    wanted = np.mean([psnr(o, t.clear, 2.0) for o, t in zip(alone, bench.tiles, strict=True)])
    assert rows[0]["reference"] == pytest.approx(wanted, abs=0.05)
    text = described(rows)
    assert len(text.splitlines()) == 3 + 4 + 1
    assert text.endswith(verdict(rows))
    assert f"{rows[-1]['half']:.2f} dB" in verdict(rows)


def test_a_fusion_is_told_as_it_counts(setting: Setting) -> None:
    bench, seen = bench_of(setting), list[Fused]()
    cloudy = bench.tiles[0].cloudy
    out = sampled(bench.networks, cloudy, 0, steps=4, prior_floor=0.6, on_fusion=seen.append)
    assert min(float(f.weight.min()) for f in seen) >= 0.6
    last = seen[-1]
    fused = last.weight * last.reference + (1 - last.weight) * last.diffusion
    np.testing.assert_allclose(fused[0].clamp(-1, 1).numpy(), out, atol=1e-6)
    told: list[Fused] = []
    sampled(bench.networks, cloudy, 0, steps=4, fusion="diffusion", on_fusion=told.append)
    assert told == []


def test_limits_are_told_to_be_of_the_fusion_before_its_levels(
    setting: Setting, tmp_path: Path
) -> None:
    leveled = tmp_path / "leveled.safetensors"
    card = replace(read_card(Path(setting.model)), level_px=16)
    save_with_card(Path(setting.model), leveled, card)
    bench, seen = bench_of(replace(setting, model=str(leveled))), list[Fused]()
    tile = bench.tiles[0]
    out = sampled(bench.networks, tile.cloudy, 0, steps=4, on_fusion=seen.append)
    last = seen[-1]
    fused = last.weight * last.reference + (1 - last.weight) * last.diffusion
    errors = ((x[0].double().numpy() - tile.clear) / 2 for x in (last.reference, last.diffusion))
    learnt = limits_of(*errors, last.weight[0].double().numpy())["learnt"]
    assert learnt == pytest.approx(psnr(fused[0].numpy(), tile.clear, 2.0), abs=1e-4)
    assert abs(learnt - psnr(out, tile.clear, 2.0)) > 1e-3
    after = (fused + level(last.reference - fused, 16))[0].clamp(-1, 1)
    np.testing.assert_allclose(after.numpy(), out, atol=1e-6)
    heads = described(limits(bench)).splitlines()[:2]
    assert "before its level_px and clipping" in heads[1]


def test_what_is_said_holds_either_way() -> None:
    a, b = errors(3, 0.2)
    good = limits_of(a, b, np.where(abs(a) < abs(b), 0.9, 0.1))
    bad = limits_of(a, b, np.where(abs(a) < abs(b), 0.1, 0.9))
    assert "learnt W is" in verdict([good])
    assert verdict([good]).endswith("above it")
    assert verdict([bad]).endswith("below it")
