"""Tests of `decr models calibrate`: fits against known errors, measures with known answers."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli.main import main
from decr.calibration import ErrorTable
from decr.errors import DatasetError, OutputError
from decr.evaluation import calibrate as module
from decr.evaluation.analysis import Setting
from decr.evaluation.calibrate import (
    ErrorSample,
    _halves,
    calibrate_bundle,
    cross_validated,
    described,
    error_sample,
    expected_of,
    fitted,
    isotonic,
    margin_px,
    reliability_of,
)
from decr.evaluation.tiles import PairSource, choose_tiles
from decr.evaluation.uncertainty import uncertainty
from decr.zoo.bundle import load_bundle, read_card, save_with_card
from tests.evaluation.test_evaluate import pair_set
from tests.evaluation.test_tiles import pairs_of
from tests.tiny import PARTS, tiny_bundle

SETTINGS = {"steps": "4"}


def truth(brightness: np.ndarray) -> np.ndarray:
    """A mean error that rises with brightness."""
    return 0.05 + 0.2 * (brightness + 1) / 2


def images(count: int, seed: int = 0, pixels: int = 4000) -> list[ErrorSample]:
    """Images whose errors scatter around `truth`, exponentially."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(count):
        brightness = rng.uniform(-1, 1, pixels)
        found.append(ErrorSample(f"place {n}", brightness, rng.exponential(truth(brightness))))
    return found


def test_a_fit_finds_the_mean_error() -> None:
    table = fitted(images(10), SETTINGS, "made up")
    at = np.linspace(-0.9, 0.9, 19)
    found = table.expected(at.astype(np.float32)[None, None])[0]
    np.testing.assert_allclose(found, truth(at), rtol=0.06)
    assert (table.settings, table.about) == (SETTINGS, "made up")
    unseen = images(10, seed=1)
    checked = reliability_of(
        [expected_of(table, one) for one in unseen], [one.error for one in unseen]
    )
    assert checked.worst < 1.1
    assert checked.images[1] == pytest.approx(1.0, abs=0.05)


def test_isotonic_keeps_means_that_rise_and_pools_those_that_fall(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "KNOTS", 4)
    predictor = np.repeat([0.0, 1.0, 2.0, 3.0], 100)
    rising = np.repeat([1.0, 2.0, 5.0, 6.0], 100)
    at, mean = isotonic(predictor, rising)
    np.testing.assert_allclose(np.interp([0, 3], at, mean), [1, 6], atol=0.51)
    falling = np.repeat([4.0, 3.0, 2.0, 1.0], 100)
    at, mean = isotonic(predictor, falling)
    np.testing.assert_allclose(mean, 2.5)
    assert (np.diff(at) > 0).all()


def test_expectations_are_scored_from_perfect_to_worthless() -> None:
    rng = np.random.default_rng(0)
    errors = [rng.exponential(1.0, 5000) for _ in range(4)]
    perfect = reliability_of(errors, errors)
    assert perfect.ause == pytest.approx(0.0, abs=1e-12)
    assert perfect.rank_correlation == pytest.approx(1.0)
    assert perfect.worst == pytest.approx(1.0)
    assert perfect.images == pytest.approx((1.0, 1.0, 1.0))
    chance = reliability_of([rng.uniform(0, 1, 5000) for _ in errors], errors)
    assert chance.ause == pytest.approx(1.0, abs=0.05)
    assert abs(chance.rank_correlation) < 0.05
    doubled = reliability_of([2 * e for e in errors], errors)
    assert doubled.worst == pytest.approx(2.0)
    assert doubled.images[1] == pytest.approx(2.0)
    assert doubled.ause == pytest.approx(0.0, abs=1e-12)
    flat = np.ones(100)
    assert reliability_of([flat], [flat]).ause == 1.0
    assert "80 % of 4 images" in described(perfect)


def test_no_place_is_measured_by_a_table_that_saw_it() -> None:
    # Odd places are twice as wrong: each half's table is off by two for the other.
    mixed = [
        replace(one, place=f"{n}", error=one.error * (1 + n % 2)) for n, one in enumerate(images(8))
    ]
    found = cross_validated(mixed, SETTINGS)
    assert found.images[0] == pytest.approx(0.5, rel=0.1)
    assert found.images[2] == pytest.approx(2.0, rel=0.1)
    # One place in two images is never split.
    same = [replace(one, place="one") for one in mixed]
    with pytest.raises(DatasetError, match="one place alone"):
        cross_validated(same, SETTINGS)


def test_pixels_are_those_that_would_be_changed() -> None:
    shape = (3, 60, 60)
    rng = np.random.default_rng(0)
    cloudy, clear = rng.uniform(-1, 1, (2, *shape)).astype(np.float32)
    mask = np.zeros(shape[1:], bool)
    mask[30, 30] = True
    found = error_sample("here", cloudy, clear + np.float32(0.25), clear, mask, 30.0)
    # Within 3 pixels of the only cloudy one, every third row and column.
    assert found.error.size == sum(
        np.hypot(i - 30, j - 30) <= 3 for i in range(0, 60, 3) for j in range(0, 60, 3)
    )
    np.testing.assert_allclose(found.error, 0.25, atol=1e-6)
    assert cloudy.min(0)[30, 30] in found.brightness.astype(np.float32)
    assert error_sample("here", cloudy, clear, clear, np.zeros_like(mask), 0.5).error.size == 0
    assert (margin_px(None), margin_px(30.0), margin_px(0.5)) == (3, 3, 24)


@given(st.lists(st.integers(0, 300), min_size=2, max_size=8), st.sampled_from([1, 100, 400]))
def test_halves_have_enough_pixels_where_places_allow_it(counts: list[int], least: int) -> None:
    some = [ErrorSample(f"{n}", np.zeros(count), np.zeros(count)) for n, count in enumerate(counts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decr.evaluation.calibrate._LEAST_PX", least)
        halves = _halves(some)
    assert sorted(one.place for half in halves for one in half) == [
        one.place for one in some if one.error.size
    ]
    one, two = (sum(image.error.size for image in half) for half in halves)
    turns = sum(counts[::2]), sum(counts[1::2])
    if min(turns) >= least:
        assert (one, two) == turns
    else:
        assert abs(one - two) <= max(counts)


def test_too_little_is_refused() -> None:
    few = [ErrorSample("a", np.linspace(-1, 1, 50), np.ones(50))]
    with pytest.raises(DatasetError, match=r"50 cloudy pixels in 1 tiles.*--count"):
        fitted(few, SETTINGS, "")
    with pytest.raises(DatasetError, match=r"half of the places, .*: 50 cloudy pixels in 1 tiles"):
        cross_validated([*few, *images(1)], SETTINGS)
    with pytest.raises(DatasetError, match="different brightness"):
        fitted([ErrorSample("a", np.ones(5000), np.ones(5000))], SETTINGS, "")
    with pytest.raises(DatasetError, match="0 cloudy pixels"):
        fitted([], SETTINGS, "")


@pytest.fixture
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PairSource:
    monkeypatch.setattr("decr.evaluation.calibrate.TILE_PX", 32)
    monkeypatch.setattr("decr.evaluation.calibrate._LEAST_PX", 20)
    return PairSource(pair_set(tmp_path / "set"), split="all", gsd_m=0.5)


def test_a_bundle_gets_its_table_and_keeps_its_weights(pairs: PairSource, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path, 3)
    out = tmp_path / "out.safetensors"
    found = calibrate_bundle(str(bundle), pairs, out, count=6, device="cpu")
    before, after = load_bundle(bundle), load_bundle(out)
    assert after.card == replace(before.card, errors=found.table)
    assert found.table.settings == {"steps": "3", "prior_floor": "0.4"}
    assert found.table.about == "6 tiles of 3 pairs of set"
    assert found.reliability is not None
    for part, network in before.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(after.networks[part].state_dict()[key], value)
    with pytest.raises(OutputError, match="exists already"):
        calibrate_bundle(str(bundle), pairs, out, count=6, device="cpu")
    again = calibrate_bundle(str(out), pairs, out, count=6, device="cpu", overwrite=True)
    assert again.table == found.table
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(OutputError, match="does not exist"):
        calibrate_bundle(str(bundle), pairs, tmp_path / "no" / "o.safetensors")
    with pytest.raises(OutputError, match="is a folder"):
        calibrate_bundle(str(bundle), pairs, Path(), overwrite=True)


def test_tiles_are_as_large_as_pairs_allow(
    pairs: PairSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = str(tiny_bundle(tmp_path, 3))
    found = {}
    for side in (256, 64, 48):
        monkeypatch.setattr("decr.evaluation.calibrate.TILE_PX", side)
        out = tmp_path / f"{side}.safetensors"
        found[side] = calibrate_bundle(bundle, pairs, out, count=6, device="cpu").table
    with rasterio.open(next(pairs.data.rglob("*.png"))) as image:
        assert image.shape == (64, 64)
    assert found[256] == found[64] != found[48]


def test_pairs_with_one_clear_image_are_one_place(pairs: PairSource, tmp_path: Path) -> None:
    clear = pairs.data / "clear"
    for name in ("1", "2"):
        shutil.copy(clear / "0.png", clear / f"{name}.png")
    tiles, _ = choose_tiles(pairs, ("red", "green", "blue"), 64, 3)
    assert [tile.name.split()[0] for tile in tiles] == ["0", "1", "2"]
    assert {tile.place for tile in tiles} == {"0"}
    found = calibrate_bundle(
        str(tiny_bundle(tmp_path, 3)), pairs, tmp_path / "o.safetensors", count=6, device="cpu"
    )
    assert found.reliability is None
    assert found.unknown_why.startswith("one place alone")
    assert found.table.about == "6 tiles of 3 pairs of set"


@pytest.mark.parametrize("least", [500, 5000])
def test_a_set_of_which_a_half_tells_too_little_is_calibrated(
    least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two large pairs and a small one between them: in turn, the small one were a half alone."""
    source = pairs_of(tmp_path / "set", [(128, 128), (32, 32), (128, 128)])
    monkeypatch.setattr("decr.evaluation.calibrate._LEAST_PX", least)
    given = ["models", "calibrate", str(tiny_bundle(tmp_path, 3)), "--data", str(source.data)]
    given += ["-o", str(tmp_path / "o.safetensors"), "--split", "all", "--gsd", "0.5"]
    done = CliRunner().invoke(main, [*given, "--count", "6", "--device", "cpu"])
    if least == 500:
        assert done.exit_code == 0, done.output
        assert "80 % of 3 images" in done.stdout
        one = pairs_of(tmp_path / "one", [(128, 128), (32, 32)])
        given[4] = str(one.data)
        done = CliRunner().invoke(main, [*given, "--overwrite", "--device", "cpu"])
        assert done.exit_code == 0, done.output
        assert "for other pairs is not known: half of the places, which" in done.stdout
        assert "at least 500 of different brightness are needed" in done.stdout
        assert read_card(tmp_path / "o.safetensors").errors is not None
    else:
        assert done.exit_code == 1
        assert "tiles of 3 pairs of set: " in done.stderr


def test_a_reference_alone_has_no_steps_to_hold_for(pairs: PairSource, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path, 3, {"reference": PARTS["reference"]})
    found = calibrate_bundle(str(bundle), pairs, tmp_path / "o.safetensors", count=6, device="cpu")
    assert found.table.settings == {}


def test_the_command_tells_how_well_it_holds(pairs: PairSource, tmp_path: Path) -> None:
    out = tmp_path / "o.safetensors"
    given = ["models", "calibrate", str(tiny_bundle(tmp_path, 3)), "--data", str(pairs.data)]
    given += ["-o", str(out), "--split", "all", "--gsd", "0.5", "--count", "6", "--device", "cpu"]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    assert "rank correlation" in done.stdout
    assert done.stdout.splitlines()[-1] == str(out)
    assert read_card(out).errors is not None
    shown = CliRunner().invoke(main, ["models", "info", str(out)])
    assert "expected error" in shown.stdout
    assert "6 tiles of 3 pairs of set" in shown.stdout
    again = CliRunner().invoke(main, given)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr


def test_analyse_uncertainty_tells_of_a_table(pairs: PairSource, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path, 3)
    setting = Setting(pairs, str(bundle), 32, 2, 2, device="cpu", lpips=False)
    assert "expected" not in uncertainty(setting, 2).values
    table = ErrorTable((-1.0, 1.0), (0.3, 0.3), SETTINGS, "a test")
    save_with_card(bundle, bundle, replace(read_card(bundle), errors=table))
    found = uncertainty(setting, 2)
    assert {round(row[0], 6) for row in found.values["expected"]["bins"]} == {0.3}
    assert "table of expected errors" in found.text
    for image in (pairs.data / "cloudy").iterdir():
        shutil.copy(pairs.data / "clear" / image.name, image)
    found = uncertainty(setting, 2)
    assert found.values["expected"] is None
    assert "not judged, for no tile has a cloudy pixel" in found.text
