"""The published networks' vectors, and the runner that checks them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from decr.diffusion.schedule import NoiseSchedule
from decr.evaluation.perceptual import TORCHVISION_NAME
from tests.golden.__main__ import main
from tests.golden.common import outputs_agree, weight_file
from tests.golden.run_metrics import BACKBONE_VARIABLE, PAIR, backbone
from tests.golden.runners import REFERENCES, RUNNERS, run_file, x0_prior_of
from tests.golden.vectors import Check, VectorFile, compare, fill, statistics, uniform

FILES = (
    # In an order that fills each pair of CNP and WA once.
    "cnp_3b_64x64",
    "wa_3b_64x64",
    "sampler_memorynet_3b_32x32",
    "train_loss_3b_32x32",
    "cnp_4b_64x64",
    "wa_4b_64x64",
    "sampler_msda_4b_32x32",
    "cnp_3b_256x256",
    "memorynet_3b_64x64",
    "memorynet_4b_64x64",
    "msda_3b_64x64",
    "msda_4b_64x64",
    "msda_dis_3b_128x128",
    "cloudnet_4b_64x64",
    "spagan_3b_64x64",
    "spagan_4b_64x64",
    "spagan_dis_3b_128x128",
    "spagan_real_rice1_128",
    "amgan_3b_64x64",
    "amgan_4b_64x64",
    "cvae_3b_256x256",
    "cvae_4b_256x256",
    "schedule",
    "imresize",
    "metrics_3b",
    "metrics_4b",
)


@pytest.mark.parametrize("name", FILES)
def test_all_vectors_of_a_file_are_reproduced(shared: Path, name: str) -> None:
    path = shared / "reference" / "golden" / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"real data absent: no file {path}")
    checks = run_file(path)
    assert checks
    for check in checks:
        if check.note.startswith("lacking: no weights"):
            pytest.skip(f"real data absent: {check.note.removeprefix('lacking: ')}")
    assert [check for check in checks if not check.ok] == []


@pytest.mark.parametrize(
    ("name", "clamped"),
    [("amgan", False), ("cvae", False), ("memorynet", True), ("msda", True), ("spagan", False)],
)
def test_de_may_go_over_every_published_reference(shared: Path, name: str, clamped: bool) -> None:
    path = next((shared / "reference" / "golden").glob(f"{name}_3b_*.npz"), None)
    if path is None:
        pytest.skip(f"real data absent: no vectors of {name}")
    alone = VectorFile.read(path).meta
    side = 256 if name == "cvae" else 32
    inputs = [{"name": "previous", "shape": [1, 3, side, side], "kind": "unit"}]
    meta = alone | {"reference": name, "reference_gain": alone["gain"], "inputs": inputs}
    meta["reference_params_crc32"] = alone["params_crc32"]
    x0_prior, checks = x0_prior_of(VectorFile(path, meta, {}))
    assert checks == []
    assert x0_prior.shape == (1, 3, side, side)
    assert (float(x0_prior.abs().max()) <= 1.0) == clamped
    assert name in REFERENCES


def test_fill_is_a_pure_function_of_key_index_and_seed() -> None:
    whole = uniform("a.weight", (3, 4), 7)
    assert whole.min() >= -1.0
    assert whole.max() < 1.0
    assert np.array_equal(uniform("a.weight", (6,), 7), whole.ravel()[:6])
    assert not np.array_equal(uniform("a.weight", (3, 4), 8), whole)
    assert not np.array_equal(uniform("b.weight", (3, 4), 7), whole)


@pytest.mark.parametrize(
    ("key", "shape", "low", "high"),
    [
        ("coefficient", (3, 2), 0.75, 1.25),
        ("dense/kernel", (3, 1), -1.0, 1.0),
        ("conv.weight", (4, 3), -1.0, 1.0),
        ("norm.running_var", (8,), 0.5, 1.5),
        ("act.weight", (1,), 0.25, 0.25),
        ("norm.weight", (8,), 0.5, 1.0),
        ("norm.bias", (8,), -0.1, 0.1),
    ],
)
def test_fill_rules(key: str, shape: tuple[int, ...], low: float, high: float) -> None:
    values = fill(key, shape, 3)
    assert values.dtype == np.float32
    assert values.shape == shape
    assert values.min() >= low
    assert values.max() <= high


def test_compare_fails_on_nan_and_on_wrong_shape() -> None:
    zeros = np.zeros(3)
    assert compare("f", "o", zeros, zeros, 1e-5).ok
    assert not compare("f", "o", np.array([0.0, np.nan, 0.0]), zeros, 1e-5).ok
    assert not compare("f", "o", zeros[:2], zeros, 1e-5).ok
    assert not Check("f", "o", 0.0, 0.0, 1.0, note="lacking").ok


def test_runner_names_what_is_lacking_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "x.npz", meta=np.array('{"model": "telepathy"}'))
    (tmp_path / "y.npz").write_bytes(b"not an archive")
    assert "telepathy" not in RUNNERS
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "lacking: no telepathy here" in printed
    assert "lacking: x.npz" in printed
    assert "failed: y.npz" in printed


@pytest.mark.parametrize("kept", [0, 30, 400])
def test_a_file_that_is_cut_off_does_not_hide_the_others(
    tmp_path: Path, kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut = tmp_path / "b.npz", tmp_path / "a.npz"
    schedule = np.linspace(1e-4, 2e-2, 1000)
    np.savez(whole, meta=np.array('{"model": "schedule"}'), full_betas=schedule)
    cut.write_bytes(whole.read_bytes()[:kept])
    assert main([str(tmp_path)]) == 1
    assert "2 files: 1 agree, 1 fail, 0 lacking" in capsys.readouterr().out


@pytest.mark.parametrize("meta", ['["schedule"]', "3", '{"model": "de_sampler", "reference": "x"}'])
def test_a_strange_meta_fails_in_its_own_line(tmp_path: Path, meta: str) -> None:
    np.savez(tmp_path / "a.npz", meta=np.array(meta))
    (check,) = run_file(tmp_path / "a.npz")
    assert not check.ok
    assert "not a vector file" in check.note or "no de_sampler over x here" in check.note


def test_an_output_that_meta_names_must_be_there(tmp_path: Path) -> None:
    meta = {"outputs": [{"name": "out", "full_shape": [3], "stride": 1}]}
    out, stats = np.arange(3.0), statistics(np.arange(3.0))
    for arrays, lacking in (
        ({"out": out, "out__stats": stats}, []),
        ({"out": out}, ["out__stats"]),
        ({}, ["out", "out__stats"]),
    ):
        checks = outputs_agree(VectorFile(tmp_path / "a.npz", meta, arrays), {"out": out}, 1e-5)
        assert [check.output for check in checks if not check.ok] == lacking


def test_runner_fails_on_a_wrong_value_and_on_an_unknown_output(tmp_path: Path) -> None:
    betas = np.linspace(1e-4, 2e-2, 1000)
    meta = np.array('{"model": "schedule"}')
    np.savez(tmp_path / "good.npz", meta=meta, full_betas=betas)
    np.savez(tmp_path / "bad.npz", meta=meta, full_betas=betas * 1.001)
    np.savez(tmp_path / "odd.npz", meta=meta, full_smell=betas)
    assert [c.ok for c in run_file(tmp_path / "good.npz")] == [True]
    assert [c.ok for c in run_file(tmp_path / "bad.npz")] == [False]
    assert [c.ok for c in run_file(tmp_path / "odd.npz")] == [False]


def test_plain_respacing_is_that_of_even_steps(tmp_path: Path) -> None:
    timesteps = np.array([0, 250, 500, 749, 999])
    kept = NoiseSchedule.linear().alpha_bar[timesteps]
    arrays = {"5_timesteps": timesteps, "5_alphas_cumprod": kept}
    path = tmp_path / "plain.npz"
    np.savez(path, meta=json.dumps({"model": "schedule"}), **arrays)
    checks = run_file(path)
    assert len(checks) == 2
    assert all(check.ok for check in checks)


def test_scores_of_an_image_with_itself_need_no_lpips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(BACKBONE_VARIABLE, raising=False)
    image = np.random.default_rng(0).integers(0, 256, (3, 16, 20)).astype(np.uint8)
    arrays = {PAIR[0]: image, PAIR[1]: image, "psnr": np.inf, "ssim": 1.0}
    path = tmp_path / "same.npz"
    np.savez(path, meta=json.dumps({"model": "metrics"}), **arrays)
    checks = run_file(path)
    assert [check.output for check in checks] == ["psnr", "ssim"]
    assert all(check.ok for check in checks)


def test_runner_fails_without_files(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1
    assert main([str(tmp_path / "absent")]) == 2


@pytest.mark.parametrize(("device", "says"), [(None, "usage"), ("abacus", "unknown device")])
def test_runner_says_how_it_is_used(
    tmp_path: Path, device: str | None, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([] if device is None else [str(tmp_path), "--device", device]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("below", ["weights", "data/weights"])
@pytest.mark.parametrize("above", [0, 1, 2])
def test_weights_are_found_beside_the_vectors_and_above(
    tmp_path: Path, below: str, above: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECR_SHARED", str(tmp_path / "absent"))
    path = tmp_path / "a" / "golden" / "v.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, meta=json.dumps({"model": "metrics"}))
    file = VectorFile.read(path)
    assert weight_file(file, "w.pth") is None
    weights = path.parents[above] / below / "w.pth"
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert weight_file(file, "w.pth") == weights


def test_the_last_place_of_a_backbone_is_the_cache_of_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(BACKBONE_VARIABLE, raising=False)
    monkeypatch.setenv("DECR_SHARED", str(tmp_path / "absent"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    path = tmp_path / "v.npz"
    image = np.zeros((3, 32, 32), np.uint8)
    arrays = {PAIR[0]: image, PAIR[1]: image, "lpips_paper": 0.0}
    np.savez(path, meta=json.dumps({"model": "metrics"}), **arrays)
    assert [c.note.split(";")[0] for c in run_file(path)] == [
        "lacking: no weights lpips_alexnet.npz"
    ]
    cached = tmp_path / "torch" / "hub" / "checkpoints" / TORCHVISION_NAME
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert backbone(VectorFile.read(path)) == cached
