"""Tests of `decr analyse`: each analysis on tiny networks, against sums made by hand."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from cli.main import main
from decr.errors import BundleError, ConfigError, DatasetError
from decr.evaluation import cost_analysis, sweeps
from decr.evaluation.analyse import ANALYSES
from decr.evaluation.analysis import (
    Analysis,
    Setting,
    bench_of,
    check_folder,
    measured,
    write_analysis,
)
from decr.evaluation.metrics import psnr
from decr.evaluation.sampling import load_networks, sampled
from decr.evaluation.sweeps import ablation, gsd, steps
from decr.evaluation.tiles import PairSource, choose_tiles, tile_picture
from decr.evaluation.uncertainty import spread_against_error, uncertainty
from decr.predictor import load_restorer
from decr.zoo.bundle import save_bundle
from tests.tiny import PARTS, tiny_bundle, tiny_card, tiny_networks

BANDS = ("red", "green", "blue")


FEW = {"uncertainty": (2,)}
"""Samples to draw, so that tests are quick."""


@pytest.fixture(autouse=True)
def few_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """To sweep over."""
    for name, values in (("STEPS", (1, 2)), ("FLOORS", (0.0, 1.0)), ("FACTORS", (1, 2))):
        monkeypatch.setattr(sweeps, name, values)


@pytest.mark.parametrize("name", ["cost", "trajectory", "uncertainty", "weights"])
def test_analyses_without_lpips_need_no_backbone(
    name: str, setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_analysis, "COUNTED", ("spagan",))
    nowhere = replace(setting, side_px=16, lpips=True, backbone=tmp_path / "none.pth")
    assert ANALYSES[name](nowhere, *FEW.get(name, ())).name == name
    with pytest.raises(BundleError, match=r"none\.pth"):
        ANALYSES["steps"](nowhere)


@pytest.mark.parametrize("name", sorted(ANALYSES))
def test_each_analysis_writes_numbers_and_a_figure(
    name: str, setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_analysis, "COUNTED", ("spagan",))
    found: Analysis = ANALYSES[name](replace(setting, side_px=16), *FEW.get(name, ()))
    written = write_analysis(tmp_path / "out", found)
    assert [p.name for p in written] == [f"{name}.json", f"{name}.png"]
    values = json.loads(written[0].read_text())
    assert len(values["model_sha256"]) == 64
    assert values["versions"]["decr"]
    if name != "cost":
        assert values["protocol"] == "standard"
        assert values["lpips"] == {"left_out": "not measured"}
    assert len(found.text.splitlines()) >= 3
    with Image.open(io.BytesIO(found.figure)) as figure:
        assert len(np.unique(np.array(figure).reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize("name", ["trajectory", "ablation"])
def test_a_tile_without_cloud_leaves_valid_json(
    name: str, setting: Setting, tmp_path: Path
) -> None:
    for image in (setting.source.data / "cloudy").iterdir():
        shutil.copy(setting.source.data / "clear" / image.name, image)
    found = ANALYSES[name](setting)
    values = json.loads(write_analysis(tmp_path / "out", found)[0].read_text())
    assert json.loads(json.dumps(found.values, allow_nan=False)) == values
    if name == "trajectory":
        assert values["no_change_psnr"] is None
        assert "no change: inf (equal to their truth: 2 of 2 tiles)" in found.text
    else:
        assert [o["low"] for o in values["order"] if o["variant"] == "no change"] == [None]


def test_sampling_is_the_predictors(setting: Setting) -> None:
    bench = bench_of(setting)
    restorer = load_restorer(
        Path(setting.model), device="cpu", precision="float32", seed=5, steps=4
    )
    wanted = restorer.restore(bench.tiles[1].cloudy[None], [(0, 1000)])[0]
    found = sampled(bench.networks, bench.tiles[1].cloudy, 1, seed=5, steps=4)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_fusions_by_name_are_those_by_weight(setting: Setting) -> None:
    bench = bench_of(setting)
    cloudy = bench.tiles[0].cloudy

    def run(**how: object) -> np.ndarray:
        return sampled(bench.networks, cloudy, 0, steps=4, **how)  # type: ignore[arg-type]

    reference = run(fusion="reference")
    np.testing.assert_allclose(run(prior_floor=1.0), reference, atol=1e-6)
    assert not np.allclose(run(fusion="diffusion"), reference, atol=0.05)
    assert not np.allclose(run(fusion=0.5), run(prior_floor=0.0), atol=1e-3)
    np.testing.assert_allclose(run(fusion=1.0), reference, atol=1e-6)
    np.testing.assert_allclose(run(fusion=0.0), run(fusion="diffusion"), atol=1e-6)
    assert not np.allclose(run(seed=1), run(seed=2), atol=1e-4)


def test_tiles_half_under_cloud_come_first_and_are_the_pairs(setting: Setting) -> None:
    tiles, passed_over = choose_tiles(setting.source, BANDS, 16, 100)
    assert passed_over == []
    assert len(tiles) == 3 * 16
    off = [abs(t.mask.mean() - 0.5) for t in tiles]
    clouded = [bool(t.mask.any()) for t in tiles]
    some = clouded.index(False)
    # Clear ones last of all; else one of each pair in turn, and each pair's own get worse.
    assert clouded == [n < some for n in range(48)]
    assert [t.name[0] for t in tiles[:12]] == ["0", "1", "2"] * 4
    for start in range(3):
        assert off[start:some:3] == sorted(off[start:some:3])
    tile = tiles[0]
    name, _, place = tile.name.partition(" at row ")
    row, col = (int(part) for part in place.split(", column "))
    with Image.open(setting.source.data / "clear" / f"{name}.png") as image:
        dn = np.array(image)[row : row + 16, col : col + 16].transpose(2, 0, 1)
    np.testing.assert_allclose((tile.clear + 1) * 127.5, dn, atol=1e-3)
    assert tile.gsd_m == 0.5
    assert tile_picture(tile, tile.clear, BANDS).shape == (16, 16, 3)
    with pytest.raises(ConfigError, match="multiple of 16"):
        choose_tiles(setting.source, BANDS, 20, 1)
    for wanted, times, said in (
        (512, 1, "a tile of 512 px; the largest holds 64 px: give --size 64 or less"),
        (32, 4, "a tile of 128 px, 4 times --size; .* give --size 16 or less"),
        (16, 8, "a tile of 128 px, 8 times --size; .* they are too small for this"),
    ):
        with pytest.raises(DatasetError, match=said):
            choose_tiles(setting.source, BANDS, wanted, 1, times=times)


def test_sweeps_tell_the_mean_of_what_was_measured(setting: Setting) -> None:
    found = steps(setting).values
    scores, _ = measured(bench_of(setting), steps=2)
    wanted = np.mean([s["psnr"] for s in scores])
    assert found["rows"][1]["psnr"]["mean"] == pytest.approx(wanted)
    assert [row["name"] for row in found["rows"]] == ["1", "2"]
    assert "steps" not in found


def test_weights_are_those_of_the_allocator(setting: Setting) -> None:
    rows = ANALYSES["weights"](setting).values["rows"]
    assert [row["t"] for row in rows] == [750, 500, 250, 0]
    for row in rows:
        low, high = sorted((row["raw_cloudy"], row["raw_clear"]))
        assert low - 1e-9 <= row["raw"] <= high + 1e-9
        assert 0.4 <= row["clipped"] <= 1.0


def test_each_band_of_the_weights_is_clipped_as_it_counts(setting: Setting) -> None:
    bench, means = bench_of(setting), dict[int, list[float]]()
    for number in range(len(bench.tiles)):
        bench.restored(
            number,
            on_weights=lambda t, eps, weight: means.setdefault(t, []).append(
                float(weight.clamp(0.4, 1.0).mean())
            ),
        )
    rows = ANALYSES["weights"](setting).values["rows"]
    assert [row["clipped"] for row in rows] == pytest.approx([np.mean(m) for m in means.values()])


def test_the_last_estimate_of_a_trajectory_is_the_output(setting: Setting) -> None:
    values = ANALYSES["trajectory"](setting).values
    bench = bench_of(setting)
    outputs = [sampled(bench.networks, t.cloudy, n, steps=4) for n, t in enumerate(bench.tiles)]
    wanted = np.mean([psnr(o, t.clear, 2.0) for o, t in zip(outputs, bench.tiles, strict=True)])
    assert values["rows"][-1]["with prior"] == pytest.approx(wanted, abs=1e-4)


def test_gsd_scores_all_sizes_on_the_same_pixels(setting: Setting) -> None:
    found = gsd(replace(setting, side_px=16)).values
    assert [row["name"] for row in found["rows"]] == ["0.5 m", "1 m"]
    assert found["side_px"] == 32
    assert "trained at 0.3 to 2 m" in found["note"]
    with pytest.raises(ConfigError, match="cannot be shrunk"):
        gsd(replace(setting, side_px=17))
    with pytest.raises(ConfigError, match="multiple of 16"):
        gsd(replace(setting, side_px=8))


def test_gsd_says_no_size_where_pairs_have_several(setting: Setting) -> None:
    data = setting.source.data
    lines = [
        {"cloudy": f"cloudy/{n}.png", "clear": f"clear/{n}.png", "gsd_m": gsd_m}
        for n, gsd_m in ((0, 0.5), (1, 2.0))
    ]
    (data / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = gsd(replace(setting, source=PairSource(data, split="all"), side_px=16)).values
    assert [row["name"] for row in found["rows"]] == ["x1", "x2"]
    assert found["data_gsd_m"] is None
    assert found["note"].endswith("; the data have several sizes")


def test_the_paper_is_not_claimed_for_bundles_of_the_user(setting: Setting, tmp_path: Path) -> None:
    networks = tiny_networks(PARTS, 3)
    with torch.no_grad():
        for weight in networks["reference"].parameters():
            weight.add_(0.5)
    save_bundle(tmp_path / "mine.safetensors", tiny_card(PARTS, 3), networks)
    order = ablation(setting, {"mine": tmp_path / "mine.safetensors"}).values["order"]
    says = {one["variant"]: one["says"] for one in order}
    assert "the full model is" in says["mine"]
    assert "paper" not in says["mine"]
    assert "paper" in says["diffusion alone"]


def test_ablation_says_what_it_cannot_show_and_takes_bundles(
    setting: Setting, tmp_path: Path
) -> None:
    found = ablation(setting, {"same again": Path(setting.model)})
    by_name = {one["variant"]: one for one in found.values["order"]}
    assert by_name["same again"]["tied"] == 2
    assert "no difference" in by_name["same again"]["says"]
    assert "need another training" in found.text
    four = tiny_bundle(tmp_path, 4)
    with pytest.raises(ConfigError, match="same bands"):
        ablation(setting, {"four": four})
    for name in ("no change", "reference alone", "learnt W (full model)"):
        with pytest.raises(ConfigError, match=f"'{re.escape(name)}' is a row already"):
            ablation(setting, {name: Path(setting.model)})
    with pytest.raises(ConfigError, match="0 DDIM steps"):
        replace(setting, steps=0)
    with pytest.raises(ConfigError, match="exactly 0"):
        sampled(load_networks(Path(setting.model), "cpu"), np.zeros((3, 32, 32), "f4"), 0, steps=0)
    alone = tiny_bundle(tmp_path, 3, {"reference": PARTS["reference"]})
    with pytest.raises(BundleError, match="needs a model with reference, cnp and wa"):
        load_networks(alone, "cpu")


def test_calibrated_samples_lie_on_the_line() -> None:
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.01, 0.1, (60, 60))
    rows = spread_against_error(spread, rng.normal(0.0, spread))
    assert [row["pixels"] for row in rows] == [360] * 10
    for row in rows:
        assert row["error"] == pytest.approx(row["spread"], rel=0.15)
    tripled = spread_against_error(spread, 3 * spread)
    assert all(row["error"] == pytest.approx(3 * row["spread"]) for row in tripled)


def test_spread_is_that_of_the_samples(setting: Setting) -> None:
    values = uncertainty(replace(setting, count=1), samples=3).values
    bench = bench_of(replace(setting, count=1))
    several = np.stack(
        [sampled(bench.networks, bench.tiles[0].cloudy, 0, steps=4, seed=n) for n in range(3)]
    )
    total = sum(row["spread"] ** 2 * row["pixels"] for row in values["rows"])
    # The truth, were it a fourth, would lie so far from the mean of three.
    wanted = (several.astype(float).var(axis=0, ddof=1) / 4).mean() * (1 + 1 / 3)
    assert total / sum(row["pixels"] for row in values["rows"]) == pytest.approx(wanted, rel=1e-6)
    # All weight on the reference leaves no spread.
    sure = uncertainty(replace(setting, count=1, prior_floor=1.0), samples=2).values
    assert sure["rows"][-1]["spread"] < 1e-6
    with pytest.raises(ConfigError, match="no spread"):
        uncertainty(setting, samples=1)


def test_the_command_runs_an_analysis(setting: Setting, tmp_path: Path) -> None:
    given = ["--data", str(setting.source.data), "--split", "all", "--model", setting.model]
    given += ["--size", "32", "--count", "1", "--steps", "2", "--no-lpips", "--device", "cpu"]
    done = CliRunner().invoke(main, ["analyse", "weights", *given, "-o", str(tmp_path / "a")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a" / "weights.png").is_file()
    check_folder(tmp_path / "a", "weights")
    (tmp_path / "a" / "weights.json").write_text("{}")
    done = CliRunner().invoke(main, ["analyse", "weights", *given, "-o", str(tmp_path / "a")])
    assert done.exit_code == 1
    assert "weights.json: exists already and is no report of this decr" in done.output
    done = CliRunner().invoke(main, ["analyse", "ablation", *given, "--json"])
    assert "order" in json.loads(done.stdout)
    wrong = CliRunner().invoke(main, ["analyse", "ablation", *given, "--variant", "nothing"])
    assert wrong.exit_code == 2
