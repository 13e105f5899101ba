"""Tests of `decr evaluate`: rows, comparisons, duplicates, errors before work, and real pairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from cli.main import main
from decr.errors import BundleError, ConfigError, DatasetError
from decr.evaluation import evaluate as module
from decr.evaluation import summary
from decr.evaluation.evaluate import EvaluationConfig, evaluate
from decr.evaluation.files import as_json, write_evaluation
from decr.evaluation.metrics import psnr
from decr.evaluation.perceptual import BACKBONE_VARIABLE
from decr.evaluation.subjects import Sampling, restored
from decr.evaluation.summary import comparisons, described, markdown, means
from decr.evaluation.tiles import PairSource
from decr.predictor import Restorer
from decr.zoo.bundle import read_card, save_bundle, save_with_card
from decr.zoo.card import Part
from tests.tiny import PARTS, tiny_bundle, tiny_card, tiny_networks


def texture(seed: int, side: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(20, 180, (side // 8, side // 8, 3))
    return np.clip(np.kron(coarse, np.ones((8, 8, 1))) + rng.normal(0, 4, (side, side, 3)), 1, 255)


def pair_set(folder: Path, count: int = 3, split: str = "") -> Path:
    """Pairs with a bright square of cloud on each."""
    for side in ("cloudy", "clear"):
        (folder / split / side).mkdir(parents=True, exist_ok=True)
    for n in range(count):
        clear = texture(n)
        cloudy = clear.copy()
        cloudy[10:40, 10 : 30 + n] = 240
        for side, image in (("cloudy", cloudy), ("clear", clear)):
            Image.fromarray(image.astype(np.uint8)).save(folder / split / side / f"{split}{n}.png")
    return folder


def config(data: Path, *models: str) -> EvaluationConfig:
    return EvaluationConfig(PairSource(data, split="all"), models, sampling=Sampling(device="cpu"))


def test_steps_that_a_card_cannot_have_name_the_model(data: Path, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path, 3)
    save_with_card(bundle, bundle, replace(read_card(bundle), steps=300))
    with pytest.raises(ConfigError, match=r"model tiny, whose card says 300 .* --steps: no stride"):
        evaluate(replace(config(data, str(bundle)), lpips=False))


def test_a_protocol_for_colours_refuses_grey_images_before_any_is_read(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in data.rglob("*.png"):
        with Image.open(path) as image:
            image.convert("L").save(path)
    monkeypatch.setattr(module, "pairs_with", lambda *given: pytest.fail("read"))
    asked = replace(config(data, "none"), protocol="de-paper", lpips=False)
    with pytest.raises(DatasetError, match=r"set: has 1 band \(.*\), .* use --protocol standard"):
        evaluate(asked)


@pytest.mark.usefixtures("fake_lpips")
def test_models_are_compared_image_by_image(data: Path, tmp_path: Path) -> None:
    found = evaluate(config(data, str(tiny_bundle(tmp_path, 3)), "none"))
    one = comparisons(found)["tiny", "no change"]["psnr"]
    gaps = [a.scores["psnr"] - b.scores["psnr"] for a, b in zip(found.rows, found.rows[3:])]  # noqa: B905
    assert one.difference.mean == pytest.approx(np.mean(gaps))
    assert one.won == sum(gap > 0 for gap in gaps)
    assert "**tiny - no change**" in markdown(found)
    mean = means(found)["no change"]["psnr"]
    assert mean.low <= mean.mean <= mean.high


@pytest.mark.parametrize("models", [["{0},none"], ["{0}", "--model", "none"]])
def test_models_are_named_in_one_option_or_several(
    data: Path, tmp_path: Path, models: list[str]
) -> None:
    named = [model.format(tiny_bundle(tmp_path, 3)) for model in models]
    given = ["evaluate", "--data", str(data), "--split", "all", "--no-lpips", "--json", "-q"]
    done = CliRunner().invoke(main, [*given, "--model", *named])
    assert done.exit_code == 0, done.output
    assert {row["model"] for row in json.loads(done.stdout)["rows"]} == {"tiny", "no change"}


def test_tables_and_files_draw_each_interval_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = evaluate(replace(config(data, str(tiny_bundle(tmp_path, 3)), "none"), lpips=False))
    asked = []

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given: asked.append(real.__name__) or real(*given)

    monkeypatch.setattr(summary, "mean_of", counted(summary.mean_of))
    monkeypatch.setattr(summary, "compare", counted(summary.compare))
    text = described(found)
    write_evaluation(tmp_path / "report", found)
    assert (tmp_path / "report" / "evaluation.txt").read_text() == text + "\n"
    count = len(summary.columns(found))
    assert (asked.count("mean_of"), asked.count("compare")) == (2 * count, count)
    # Another evaluation has its own.
    others = tuple(replace(row, scores={"psnr": 1.0}) for row in found.rows)
    assert means(replace(found, rows=others))["no change"]["psnr"].mean == 1.0
    assert means(found)["no change"]["psnr"].mean != 1.0


def test_without_lpips_nothing_is_looked_for(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BACKBONE_VARIABLE, "/nowhere.npz")
    found = evaluate(replace(config(data, "none"), lpips=False))
    assert "lpips" not in found.rows[0].scores
    assert "left_out" in as_json(found)["lpips"]
    assert "LPIPS was left out" in described(found)
    # With it, the way out is told before a model is loaded.
    with pytest.raises(BundleError, match="nowhere"):
        evaluate(config(data, "no_such_model"))


def test_planted_duplicates_are_named_and_left_out_by_geocr(tmp_path: Path) -> None:
    data = pair_set(pair_set(tmp_path / "set", 3, "test"), 5, "train")
    # The first three of both splits are the same ground; one more of test is a copy in itself.
    for side in ("cloudy", "clear"):
        Image.fromarray(texture(77).astype(np.uint8)).save(data / "test" / side / "new.png")
        Image.fromarray(texture(77).astype(np.uint8)).save(data / "test" / side / "twin.png")
    one = replace(config(data, "none"), source=PairSource(data), lpips=False)
    found = evaluate(one)
    assert {d.second for d in found.duplicates} == {
        "test/test0", "test/test1", "test/test2", "test/twin",
    }  # fmt: skip
    assert "test/twin is the same image as test/new" in described(found)
    assert len(found.images) == 5
    fewer = evaluate(replace(one, protocol="geocr-98"))
    assert fewer.images == ("test/new",)
    assert "test/twin" in fewer.facts["left_out"]
    (data / "test" / "clear" / "new.png").unlink()
    (data / "test" / "cloudy" / "new.png").unlink()
    (data / "test" / "clear" / "twin.png").unlink()
    (data / "test" / "cloudy" / "twin.png").unlink()
    with pytest.raises(DatasetError, match="all 3 images are copies"):
        evaluate(replace(one, protocol="geocr-98"))


def test_what_cannot_be_evaluated_is_said_at_the_start(data: Path, tmp_path: Path) -> None:
    bare = replace(config(data, "none"), lpips=False)
    with pytest.raises(ConfigError, match="no protocol"):
        evaluate(replace(bare, protocol="mine"))
    with pytest.raises(DatasetError, match="split 'val'"):
        evaluate(replace(bare, source=PairSource(data, split="val")))
    with pytest.raises(ConfigError, match="named twice"):
        evaluate(replace(bare, models=("none", "none")))
    three, four = tiny_bundle(tmp_path, 3), tiny_bundle(tmp_path, 4)
    other = four.with_name("four.safetensors")
    parts = {"reference": Part("compact", {"width": 8, "multipliers": [1, 2], "blocks": 1})}
    save_bundle(other, replace(tiny_card(parts, 4), name="four"), tiny_networks(parts, 4))
    with pytest.raises(ConfigError, match="different bands"):
        evaluate(replace(bare, models=(str(three), str(other))))
    with pytest.raises(DatasetError, match="no pair has all the bands red, green, blue, nir"):
        evaluate(replace(bare, models=(str(other),)))
    for wrong in ({"steps": 0}, {"seed": -1}):
        with pytest.raises(ConfigError, match=r"at least 1|negative"):
            Sampling(**wrong)
    small = pair_set(tmp_path / "small", 1)
    for side in ("cloudy", "clear"):
        Image.fromarray(texture(0)[:20, :20].astype(np.uint8)).save(small / side / "0.png")
    monkey = replace(config(small, "none"), lpips=False)
    assert len(evaluate(monkey).rows) == 1
    for side in ("cloudy", "clear"):
        Image.fromarray(texture(0)[:5, :20].astype(np.uint8)).save(small / side / "0.png")
    with pytest.raises(DatasetError, match="5 x 20 pixels"):
        evaluate(monkey)


def test_bands_are_those_of_the_split_that_is_asked_for(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for side in ("cloud", "label"):
            pixels = texture(len(split) + len(side))
            folders = [split, *(("nir/test",) if split == "test" else ())]
            for folder in (tmp_path / name / side for name in folders):
                folder.mkdir(parents=True)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / "0.png")
    (tmp_path / "nir" / "test").rename(tmp_path / "test" / "nir")
    for split, bands in (("test", 4), ("train", 3)):
        source = PairSource(tmp_path, split=split, layout="cuhk")
        found = evaluate(replace(config(tmp_path, "none"), source=source, lpips=False))
        assert len(found.bands) == bands


def test_pixels_of_a_palette_are_told_what_to_do_with_first(data: Path) -> None:
    path = data / "cloudy" / "0.png"
    with Image.open(path) as image:
        image.convert("P").save(path)
    for bands in (None, "p", "r,g,b"):
        source = replace(config(data, "none").source, bands=bands)
        with pytest.raises(DatasetError, match=r"cloudy/0\.png: its pixels are numbers") as error:
            evaluate(replace(config(data, "none"), source=source, lpips=False))
        assert "may be stated" not in str(error.value)


def test_bands_are_handed_over_in_the_models_order(data: Path, tmp_path: Path) -> None:
    parts = {"reference": PARTS["reference"]}
    plain, swapped = tmp_path / "plain.safetensors", tmp_path / "swapped.safetensors"
    networks = tiny_networks(parts, 3)
    save_bundle(plain, tiny_card(parts, 3), networks)
    card = replace(tiny_card(parts, 3), name="bgr", bands=("blue", "green", "red"))
    save_bundle(swapped, card, networks)
    found = evaluate(replace(config(data, str(plain), str(swapped)), lpips=False))
    assert found.bands == ("red", "green", "blue")
    assert found.rows[0].scores["psnr"] != found.rows[3].scores["psnr"]
    # Turned back by hand, the two agree.
    folder = tmp_path / "turned"
    for side in ("cloudy", "clear"):
        (folder / side).mkdir(parents=True)
        for path in (data / side).iterdir():
            with Image.open(path) as image:
                Image.fromarray(np.array(image)[:, :, ::-1].copy()).save(folder / side / path.name)
    turned = evaluate(replace(config(folder, str(swapped)), lpips=False))
    for a, b in zip(found.rows[:3], turned.rows, strict=True):
        assert b.scores["psnr"] == pytest.approx(a.scores["psnr"], abs=1e-6)


def test_two_trainings_of_one_name_are_told_apart(data: Path, tmp_path: Path) -> None:
    first = tiny_bundle(tmp_path, 3)
    second = tmp_path / "again.safetensors"
    networks = tiny_networks(PARTS, 3)
    with torch.no_grad():
        next(networks["reference"].parameters()).add_(0.1)
    save_bundle(second, tiny_card(PARTS, 3), networks)
    found = evaluate(replace(config(data, str(first), str(second)), lpips=False))
    assert [name.split()[0] for name in found.models] == ["tiny", "tiny"]
    assert len(set(found.models)) == 2
    assert len(comparisons(found)) == 1
    with pytest.raises(ConfigError, match="floor"):
        Sampling(prior_floor=1.5)


@pytest.mark.parametrize("damage", [lambda png: png[:200], lambda png: png[:-8], lambda png: b"no"])
def test_a_damaged_image_is_one_line(data: Path, damage: Callable[[bytes], bytes]) -> None:
    path = data / "cloudy" / "1.png"
    path.write_bytes(damage(path.read_bytes()))
    given = ["evaluate", "--data", str(data), "--model", "none", "--split", "all", "-q"]
    done = CliRunner().invoke(main, [*given, "--no-lpips"])
    assert done.exit_code == 1
    assert "1.png" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    done = CliRunner().invoke(main, ["evaluate", "--data", "nowhere", "--model", "none", "-q"])
    assert done.exit_code == 1


def test_tiles_are_blended_and_odd_sizes_come_back() -> None:
    def halved(tiles: np.ndarray, corners: object) -> np.ndarray:
        assert tiles.shape[2] % 16 == tiles.shape[3] % 16 == 0
        return tiles / 2

    restorer = Restorer("half", "", ("red",), None, {}, {}, halved)
    for shape in ((1, 45, 131), (1, 7, 9), (1, 64, 64), (1, 100, 30)):
        image = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        np.testing.assert_allclose(restored(restorer, image, 64, 16), image / 2, atol=1e-6)
    with pytest.raises(ConfigError, match="multiple of 16"):
        Sampling(tile_px=100)
    assert [Sampling(tile_px=side).overlap_px for side in (16, 256, 512)] == [4, 64, 128]


def test_the_command_prints_and_writes(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    given = ["evaluate", "--data", str(data), "--model", "none", "--split", "all", "-q"]
    done = CliRunner().invoke(main, [*given, "--no-lpips", "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "protocol standard" in done.output
    assert (out / "evaluation.csv").is_file()
    done = CliRunner().invoke(main, [*given, "--no-lpips", "-o", str(out)])
    assert done.exit_code == 0, done.output
    (out / "evaluation.json").unlink()
    done = CliRunner().invoke(main, [*given, "--no-lpips", "-o", str(out)])
    assert done.exit_code == 1
    assert "evaluation.csv: exists already and is no report of this decr" in done.stderr
    (out / "evaluation.json").write_text('{"mine": 1}')
    done = CliRunner().invoke(main, [*given, "--no-lpips", "-o", str(out)])
    assert done.exit_code == 1
    assert (out / "evaluation.json").read_text() == '{"mine": 1}'
    done = CliRunner().invoke(main, [*given, "--no-lpips", "--json"])
    assert json.loads(done.stdout)["images"] == 3
    done = CliRunner().invoke(main, [*given, "--lpips-backbone", str(tmp_path / "none.pth")])
    assert done.exit_code == 1
    assert "no such file" in done.stderr
    assert CliRunner().invoke(main, [*given, "--model", "a,,b"]).exit_code == 2
    wrong = ["--tile 100", "--steps 0", "--seed -1", "--white -5", "--white 0", "--white nan"]
    for option in [*wrong, "--gsd -1", "--gsd inf"]:
        done = CliRunner().invoke(main, [*given, *option.split()])
        assert done.exit_code == 2, option
        assert isinstance(done.exception, SystemExit)


def test_published_rows_stand_beside_measured_ones(tmp_path: Path) -> None:
    data = tmp_path / "RICE2"
    pair_set(data, 2)
    (data / "cloudy").rename(data / "cloud")
    (data / "clear").rename(data / "label")
    one = replace(config(data, "none"), lpips=False)
    paper = described(evaluate(replace(one, protocol="de-paper")))
    assert "DE-MSDA" in paper
    assert "no change (measured)" in paper
    assert "split of RICE is not published" in paper
    other = described(evaluate(one))
    assert "no column can be compared" in other
    assert "(measured)" not in other


def test_real_pairs_give_the_same_scores_as_ever(shared: Path) -> None:
    backbone = shared / "data" / "weights" / "lpips_alexnet.npz"
    data = shared / "data" / "pairs_rice2_512"
    if not backbone.is_file() or not data.is_dir():
        pytest.skip(f"real pairs or LPIPS' backbone absent: {data}, {backbone}")
    found = evaluate(replace(config(data, "none"), backbone=backbone, protocol="de-paper"))
    assert len(found.rows) == 3
    for row in found.rows:
        # The published way is 1.8 to 8.5 times smaller.
        assert 1.5 < row.scores["lpips_standard"] / row.scores["lpips"] < 9


@pytest.mark.usefixtures("fake_lpips")
def test_four_bands_of_eleven_bits_in_file_order(tmp_path: Path) -> None:
    import rasterio

    clear = np.stack([texture(n)[:, :, 0] * 6 for n in range(4)]).astype(np.uint16)
    cloudy = clear.copy()
    cloudy[:, 10:40, 10:40] = 2000
    for side, image in (("cloudy", cloudy), ("clear", clear)):
        (tmp_path / "set" / side).mkdir(parents=True)
        with rasterio.open(
            tmp_path / "set" / side / "a.tif", "w", driver="GTiff", width=64, height=64, count=4,
            dtype="uint16",
        ) as file:  # fmt: skip
            file.write(image)
    bundle = tiny_bundle(tmp_path, 4)
    source = PairSource(tmp_path / "set", split="all", bands="b,g,r,n")
    one = replace(config(source.data, str(bundle), "none"), source=source)
    found = evaluate(one)
    assert found.bands == ("red", "green", "blue", "nir")
    assert found.facts["white"] == [2047.0]
    wanted = psnr(cloudy, clear, 2047.0)
    assert found.rows[1].scores["psnr"] == pytest.approx(wanted, abs=1e-4)
    paper = evaluate(replace(one, protocol="de-paper"))
    assert 0 < paper.rows[1].scores["ssim"] < 1
    # One number for white changes what the model sees.
    brighter = evaluate(replace(one, source=replace(source, white=4095.0)))
    assert brighter.rows[1].scores["mae"] == pytest.approx(
        found.rows[1].scores["mae"] * 2047 / 4095, rel=1e-4
    )
