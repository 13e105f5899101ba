"""`decr dataset simulate`: what it prints, and one line for each mistake."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pytest
from affine import Affine
from click.testing import CliRunner, Result

from cli.dataset import simulate
from cli.main import main
from decr.dataset.sky import PRESETS
from decr.dataset.write_pairs import PairOptions, plan_pairs
from tests.pipeline.scenes import read, write_scene


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["dataset", "simulate", *(str(a) for a in arguments)])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(1, 200, (4, 70, 100)).astype(np.uint8)
    return write_scene(tmp_path / "clear.tif", pixels)


def test_one_line_says_what_was_made(image: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs"
    result = run(
        image, "-o", out, "--size", 32, "--skies", "cuhk-cr1", "--test-share", 0, "--count", 9
    )
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"{out}: 9 pairs (")
    assert ", CCP mean 0." in line
    assert sum(int(n) for n in line.split("by tenths ")[1].split()) == 9
    assert "simulating" in result.stderr
    again = run(
        image, "-o", out, "--size", 32, "--skies", "cuhk-cr1", "--test-share", 0, "--count", 9, "-q"
    )
    assert again.stdout == result.stdout
    assert again.stderr == ""


def test_options_reach_the_files(image: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs"
    options = ("--size", 48, "--layout", "cuhk-cr", "--truth", "--test-share", 0, "-q")
    assert run(image, "-o", out, *options, "--bands", "r,g,b,n").exit_code == 0
    clear = sorted((out / "train" / "label").iterdir())
    assert len(clear) == 2
    np.testing.assert_array_equal(read(clear[0]), read(image)[:3, :48, :48])
    assert sorted(p.name for p in (out / "train").iterdir()) == [
        "cloud", "label", "mask", "nir", "thickness",
    ]  # fmt: skip
    assert not (out / "test").exists()


def test_a_dry_run_writes_nothing(image: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs"
    result = run(image, "-o", out, "--size", 32, "--dry-run")
    assert result.exit_code == 0, result.output
    test = sum(chip.split(0.2) == "test" for chip in plan_pairs([image], PairOptions(size_px=32)))
    assert result.stdout == (
        f"would write 6 pairs ({6 - test} train, {test} test) of 32 px from 1 images to {out}\n"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["clear.tif"]


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--size", 512), ("no room for a chip of 512 px", "clear.tif", "70 x 100", "--size")),
        (("--bands", "r,g"), ("--bands r,g names 2 bands", "clear.tif", "has 4")),
        (("--bands", "r,g,-,-"), ("clear.tif has the bands red, green", "3 or 4 bands")),
    ],
)
def test_mistakes_are_one_line(
    image: Path, tmp_path: Path, options: tuple[object, ...], parts: tuple[str, ...]
) -> None:
    result = run(image, "-o", tmp_path / "pairs", *options)
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    for part in parts:
        assert part in line
    assert not (tmp_path / "pairs").exists()


def test_unreadable_files_and_full_folders_are_one_line(image: Path, tmp_path: Path) -> None:
    result = run(tmp_path / "no.tif", "-o", tmp_path / "pairs")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "no.tif" in result.stderr
    result = run(image, "-o", tmp_path, "--size", 32, "--test-share", 0)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "choose another folder" in result.stderr
    (tmp_path / "file").write_text("")
    result = run(image, "-o", tmp_path / "file" / "pairs", "--size", 32, "--test-share", 0, "-q")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "cannot write there" in result.stderr


@pytest.mark.parametrize(
    "options", [("--count", 0), ("--size", 3), ("--skies", "sunny"), ("--gsd", 0), ("--white", -1)]
)
def test_options_that_make_no_sense_are_usage_errors(
    image: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    assert run(image, "-o", tmp_path / "pairs", *options).exit_code == 2


def test_every_preset_can_be_asked_for() -> None:
    (skies,) = (p for p in simulate.params if p.name == "skies")
    assert isinstance(skies.type, click.Choice)
    assert set(skies.type.choices) == set(PRESETS)


@pytest.mark.parametrize("crs", ['LOCAL_CS["site",UNIT["metre",1]]', "+proj=ortho +lat_0=40"])
def test_images_on_maps_that_lead_nowhere_are_cut_all_the_same(tmp_path: Path, crs: str) -> None:
    pixels = np.random.default_rng(0).integers(1, 200, (4, 70, 100)).astype(np.uint8)
    far = Affine(2, 0, 2e7, 0, -2, 2e7)
    image = write_scene(tmp_path / "local.tif", pixels, crs=crs, transform=far)
    result = run(image, "-o", tmp_path / "o", "--size", 32, "--gsd", 2, "-q")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{tmp_path / 'o'}: 6 pairs (")
