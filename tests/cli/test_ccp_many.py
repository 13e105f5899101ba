"""`decr ccp` of several scenes or folders: pooled and told together, each by its own facts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from decr.coverage import many
from tests.cli.test_ccp_command import DEFINITION, rows, run
from tests.pipeline.scenes import cloudy_pixels, write_scene


def chips(folder: Path) -> Path:
    """Eight PNG chips in train and test, of which known shares are white."""
    for number in range(8):
        pixels = np.full((3, 64, 64), 30, "uint8")
        pixels[:, : 8 * number] = 255
        path = folder / ("train" if number % 2 else "test") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(
            path, "w", driver="PNG", count=3, height=64, width=64, dtype="uint8"
        ) as file:
            file.write(pixels)
    return folder


def test_a_folder_of_chips_is_pooled_by_its_splits(tmp_path: Path) -> None:
    folder = chips(tmp_path / "set")
    result = run(folder, "-o", tmp_path / "r", "--detector", "threshold", "--gsd", "4")
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "r" / "ccp.json").read_text())
    assert [s["ccp"] for s in told["scenes"]] == [n / 8 for n in (0, 2, 4, 6, 1, 3, 5, 7)]
    groups = told["groups"]
    assert {name: found["scenes"] for name, found in groups.items()} == {
        "all": 8, "test": 4, "train": 4,
    }  # fmt: skip
    assert groups["train"]["ccp"] == pytest.approx((1 + 3 + 5 + 7) / 32)
    assert groups["all"]["histogram"] == [1, 1, 1, 1, 0, 1, 1, 1, 1, 0]
    assert (tmp_path / "r" / "train" / "1_mask.tif").exists()
    for name in ("all", "test", "train"):
        assert f"{name}: CCP" in result.output


def test_scenes_read_at_other_overviews_are_pooled_by_pixels_of_their_files(tmp_path: Path) -> None:
    for name, value in (("cloudy", 1900), ("clear", 300)):
        pixels = np.full((4, 512, 512), value, "uint16")
        pixels[:, :2] = 300  # not all alike
        write_scene(tmp_path / f"{name}.tif", pixels)
    with rasterio.open(tmp_path / "cloudy.tif", "r+") as file:
        file.build_overviews([2, 4, 8])
    scenes, out = (tmp_path / "cloudy.tif", tmp_path / "clear.tif"), tmp_path / "report"
    how = ("--detector", "threshold", "--range", "0,2047", "--fast")
    result = run(*scenes, "-o", out, *how)
    assert result.exit_code == 0, result.output
    pooled = json.loads((out / "ccp.json").read_text())["groups"]["all"]
    assert pooled["valid_px"] == 2 * 512 * 512
    assert pooled["ccp"] == pytest.approx(0.5, abs=0.02)
    assert f"all: CCP {100 * pooled['ccp']:.2f} %" in result.output
    page = (out / "report.html").read_text()
    assert f"{pooled['cloudy_px']:,} cloudy of {pooled['valid_px']:,} valid px" in page
    assert "read: some at coarser overviews than others" in result.output


def test_scenes_that_different_networks_look_at_are_told_together(tmp_path: Path) -> None:
    pixels = np.full((4, 600, 600), 50, "uint8")
    four = write_scene(tmp_path / "four.tif", pixels)
    three = write_scene(tmp_path / "three.tif", pixels[:3], names=("blue", "green", "red"))
    result = run(four, three, "-o", tmp_path / "o")
    assert result.exit_code == 0, result.output
    assert "detector embedded-detector-fine, embedded-detector-fine-nir;" in result.output
    told = json.loads((tmp_path / "o" / "ccp.json").read_text())
    assert "detector" not in told["facts"]
    assert [scene["facts"]["detector"] for scene in told["scenes"]] == [
        "embedded-detector-fine-nir",
        "embedded-detector-fine",
    ]


def test_of_many_scenes_the_page_shows_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ("--detector", "threshold", "--range", "0,2047")
    (tmp_path / "in").mkdir()
    for number in range(26):
        write_scene(tmp_path / "in" / f"{number:02}.tif", cloudy_pixels(300, 64))
    assert run(tmp_path / "in", *plain, "-o", tmp_path / "all").exit_code == 0
    page = (tmp_path / "all" / "report.html").read_text()
    assert page.count("<figure") == 24
    assert "24 of 26 scenes have a picture here" in page
    monkeypatch.setattr(many, "MOST_SEEN", 10)
    assert run(tmp_path / "in", *plain, "-o", tmp_path / "few").exit_code == 0
    assert "9 of 26 scenes have a picture here" in (tmp_path / "few" / "report.html").read_text()


def test_a_warning_of_many_images_is_told_once(tmp_path: Path) -> None:
    for name in "abcdefgh":
        write_scene(tmp_path / f"{name}.tif", cloudy_pixels(64, 64), transform=None, crs=None)
    result = run(tmp_path, "--detector", "threshold", "--range", "0,2047")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("do not say how large their pixels are") == 1
    coarse = run(tmp_path, "--range", "0,2047", "--gsd", "60")
    assert coarse.exit_code == 0, coarse.output
    first, rest = coarse.stderr.splitlines()
    said = first.removeprefix(f"decr: warning: {tmp_path / 'a.tif'}: ")
    assert said.startswith("detector embedded-detector sees pixels of 60 m")
    others = ", ".join(str(tmp_path / f"{name}.tif") for name in "bcdef")
    assert rest == f"decr: warning: the same of {others} and 2 more: {said}"


def test_a_report_below_the_images_is_not_one_of_them(tmp_path: Path) -> None:
    folder = chips(tmp_path / "set")
    for _ in range(2):
        result = run(folder, "-o", folder / "report", "--detector", "threshold", "--gsd", "4")
        assert result.exit_code == 0, result.output
    assert len(json.loads((folder / "report" / "ccp.json").read_text())["scenes"]) == 8
    result = run(folder, "-o", folder, "--detector", "threshold", "--gsd", "4")
    assert result.exit_code == 1
    assert "a folder of its own" in result.stderr


def test_masks_of_a_folder_are_exact(tmp_path: Path) -> None:
    folder, masks = chips(tmp_path / "set"), tmp_path / "masks"
    for number in range(8):
        classes = np.zeros((1, 64, 64), "uint8")
        classes[:, : 8 * number] = 192
        classes[:, : 4 * number] = 255
        masks.mkdir(exist_ok=True)
        write_scene(masks / f"{number}.tif", classes, names=None, transform=None, crs=None)
    result = run(
        folder, "--detector", f"file:{masks}", "--cloudy", "192,255", "--thin", "192", "--json"
    )
    assert result.exit_code == 0, result.output
    for one in json.loads(result.stdout)["scenes"]:
        number = int(one["name"].rpartition("/")[2])
        assert one["ccp"] == number / 8
        assert one["thin_px"] == 4 * 64 * number
    result = run(folder, "--detector", f"file:{masks}", "--cloudy", "192,255", "--thin", "192")
    assert "thin/valid" in result.stdout


def test_one_bad_image_does_not_stop_the_rest(tmp_path: Path) -> None:
    folder = chips(tmp_path / "set")
    (folder / "train" / "3.png").write_bytes(b"no image")
    out = tmp_path / "r"
    result = run(folder, "-o", out, "--detector", "threshold", "--gsd", "4", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert len(told["scenes"]) == 7
    assert list(told["failed"]) == ["train/3"]
    assert "3.png" in told["failed"]["train/3"]
    assert json.loads((out / "ccp.json").read_text()) == told
    assert "train/3" in (out / "report.html").read_text()
    assert len(rows(out / "ccp.csv")) == 7
    assert "3.png" in result.stderr
    assert "1 of 8 failed" in result.stderr
    assert "Traceback" not in result.output


def test_values_of_the_page_are_those_that_were_counted(tmp_path: Path) -> None:
    from decr.config import CcpConfig
    from decr.coverage.many import ccp_scenes
    from decr.coverage.report_files import report_values

    folder = chips(tmp_path / "set")
    config = CcpConfig(detector="threshold", gsd_m=4.0)
    outcomes = ccp_scenes([str(folder)], config, tmp_path / "r")
    found: list[Any] = [outcome.result for outcome in outcomes]
    report = report_values(found, "title")
    assert report.facts["CCP"].startswith(DEFINITION)
    assert {"Detector", "Threshold", "Polarity", "Denominator"} <= set(report.facts)
    assert [s.group for s in report.scenes] == ["test"] * 4 + ["train"] * 4
    for values, scene in zip(report.scenes, found, strict=True):
        assert values.quicklook is not None
        assert values.overlay is not None
        assert values.quicklook.shape == (64, 64, 3)
        assert values.overlay.shape == (64, 64)
        assert int((values.overlay == 1).sum()) == values.cloudy_px
        assert sum(tile.cloudy_px for tile in values.tiles) == values.cloudy_px
        assert values.cloudy_px == scene.coverage.cloudy_px


def test_the_histogram_and_the_page_show_the_same_groups(tmp_path: Path) -> None:
    """One colour is one split in both, and scenes of none have one name."""
    from decr.config import CcpConfig
    from decr.coverage.many import ccp_scenes
    from decr.coverage.report_files import write_report

    config = CcpConfig(detector="threshold", gsd_m=4.0)
    outcomes = ccp_scenes([str(chips(tmp_path / "set"))], config)
    found: list[Any] = [outcome.result for outcome in outcomes]
    write_report(tmp_path / "r", [*found, replace(found[0], group=None)])
    for file in ("histogram.svg", "report.html"):
        legend = re.findall(r"(train|test|no group) \((\d)\)", (tmp_path / "r" / file).read_text())
        assert legend == [("train", "4"), ("test", "4"), ("no group", "1")]
