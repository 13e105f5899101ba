"""Tests of which tiles and which models a set of pairs gets: of any sizes, with and without nir."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from cli.main import main
from decr.errors import DecrWarning
from decr.evaluation.analysis import Setting, bench_of, facts
from decr.evaluation.calibrate import calibrate_bundle
from decr.evaluation.evaluate import evaluate
from decr.evaluation.sweeps import ablation
from decr.evaluation.tiles import PairSource, choose_tiles
from decr.zoo.bundle import read_card
from tests.evaluation.test_evaluate import config, pair_set, texture
from tests.tiny import BANDS, tiny_bundle


def pairs_of(folder: Path, sizes: list[tuple[int, int]]) -> PairSource:
    """Pairs named by number, of so many rows and columns, cloudy at the top left."""
    for side in ("cloudy", "clear"):
        (folder / side).mkdir(parents=True)
    for n, (rows, cols) in enumerate(sizes):
        clear = texture(n, 96)[:rows, :cols]
        cloudy = clear.copy()
        cloudy[: rows // 2] = 240
        for side, image in (("cloudy", cloudy), ("clear", clear)):
            Image.fromarray(image.astype(np.uint8)).save(folder / side / f"{n}.png")
    return PairSource(folder, split="all", gsd_m=0.5)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.tuples(st.integers(9, 90), st.integers(9, 90)), min_size=1, max_size=4))
def test_each_pair_is_cut_to_tiles_as_large_as_it_allows(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, int]]
) -> None:
    sizes = [*sizes, (16, 16)]
    source = pairs_of(tmp_path_factory.mktemp("pairs") / "set", sizes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecrWarning)
        tiles, passed_over = choose_tiles(source, BANDS[3], 48, 1000, shrink=True)
    found = Counter((tile.name.split()[0], tile.clear.shape[1:]) for tile in tiles)
    held = {str(n): min(48, *size) // 16 * 16 for n, size in enumerate(sizes)}
    assert found == {
        (name, (side, side)): (sizes[int(name)][0] // side) * (sizes[int(name)][1] // side)
        for name, side in held.items()
        if side
    }
    assert passed_over == [name for name, side in held.items() if not side]


def test_a_table_is_of_all_pairs_however_their_sizes_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decr.evaluation.calibrate._LEAST_PX", 20)
    source = pairs_of(tmp_path / "set", [(40, 50), (66, 64), (48, 70), (90, 12)])
    out = tmp_path / "out.safetensors"
    said = "1 of 4 pairs is passed over, for want of a tile of 16 px: 3"
    with pytest.warns(DecrWarning, match=f"{said}$"):
        found = calibrate_bundle(str(tiny_bundle(tmp_path, 3)), source, out, device="cpu")
    assert found.table.about == "3 tiles of 3 pairs of set"
    assert found.reliability is not None
    assert found.reliability.count == 3


def test_analyses_tell_pairs_that_hold_no_tile(tmp_path: Path) -> None:
    source = pairs_of(tmp_path / "set", [(40, 50), (66, 64), (64, 70)])
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(source.data / "clear" / "9.png")
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(source.data / "cloudy" / "9.png")
    setting = Setting(
        source, str(tiny_bundle(tmp_path, 3)), side_px=64, count=6, device="cpu", lpips=False
    )
    with pytest.warns(DecrWarning) as told:
        bench = bench_of(setting)
    said = "1 of 3 pairs is passed over, for want of a tile of 64 px (--size 32 takes all): 0"
    assert f"{source.data}: {said}" in [str(one.message) for one in told]
    assert sorted(tile.name.split()[0] for tile in bench.tiles) == ["1", "2"]
    # Also one that has other bands.
    assert facts(bench)["passed_over"] == ["0", "9"]
    with pytest.warns(DecrWarning):
        assert facts(bench_of(replace(setting, side_px=32)))["passed_over"] == ["9"]


def with_nir(data: Path) -> PairSource:
    """Pairs as those of `pair_set`, with their green as a fourth band."""
    pair_set(data)
    for png in sorted(data.rglob("*.png")):
        with Image.open(png) as image:
            dn = np.array(image).transpose(2, 0, 1)
        profile = {"driver": "GTiff", "count": 4, "height": 64, "width": 64, "dtype": "uint8"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(png.with_suffix(".tif"), "w", **profile) as file:
                file.write(dn[[0, 1, 2, 1]])
        png.unlink()
    return PairSource(data, split="all", bands="r,g,b,n", gsd_m=0.5)


@pytest.fixture
def tiny_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models in the places of the embedded ones."""
    places = {
        f"embedded-{name}": tiny_bundle(tmp_path, bands)
        for name, bands in (("rgb", 3), ("rgbn", 4))
    }
    monkeypatch.setattr("decr.zoo.embedded.embedded_path", places.__getitem__)
    monkeypatch.setattr("decr.evaluation.calibrate._LEAST_PX", 20)


@pytest.mark.usefixtures("tiny_embedded")
@pytest.mark.parametrize("count", [3, 4])
def test_embedded_is_the_model_of_the_pairs_bands(count: int, tmp_path: Path) -> None:
    data = tmp_path / "set"
    source = with_nir(data) if count == 4 else PairSource(pair_set(data), split="all", gsd_m=0.5)
    asked = replace(config(data, "embedded"), source=source, lpips=False)
    assert evaluate(asked).bands == BANDS[count]
    setting = Setting(source, "embedded", 32, 2, 2, device="cpu", lpips=False)
    assert bench_of(setting).networks.bands == BANDS[count]
    out = tmp_path / "out.safetensors"
    calibrate_bundle("embedded", source, out, count=2, device="cpu")
    assert read_card(out).bands == BANDS[count]
    found = ablation(setting, {"another": "embedded"})
    assert [one["tied"] for one in found.values["order"] if one["variant"] == "another"] == [2]


@pytest.mark.usefixtures("tiny_embedded")
def test_variants_are_named_like_models(tmp_path: Path) -> None:
    data = pair_set(tmp_path / "set")
    given = ["analyse", "ablation", "--data", str(data), "--split", "all", "--size", "32"]
    given += ["--count", "1", "--steps", "1", "--no-lpips", "--device", "cpu", "--json"]
    done = CliRunner().invoke(main, [*given, "--variant", "x=embedded-rgb"])
    assert done.exit_code == 0, done.output
    assert "x" in [row["name"] for row in json.loads(done.stdout)["rows"]]
    done = CliRunner().invoke(main, [*given, "--variant", "x=embeded-rgb"])
    assert done.exit_code == 1
    assert "is embedded-rgb meant?" in done.stderr
