"""Tests of the files of an evaluation: they say everything, and what was not measured."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from decr.errors import DecrWarning
from decr.evaluation.evaluate import MASK, evaluate
from decr.evaluation.files import as_csv, as_json, write_evaluation
from decr.evaluation.metrics import psnr
from decr.evaluation.perceptual import BACKBONE_SHA256
from decr.evaluation.summary import described
from tests.evaluation.test_evaluate import config, texture
from tests.tiny import tiny_bundle


@pytest.mark.usefixtures("fake_lpips")
def test_rows_and_files_say_everything(data: Path, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path, 3)
    seen = []
    found = evaluate(config(data, str(bundle), "none"), lambda *told: seen.append(told))
    assert seen[-1] == ("evaluate", 3, 3)
    assert [(r.model, r.image) for r in found.rows] == [
        (model, image) for model in ("tiny", "no change") for image in ("0", "1", "2")
    ]
    untouched = found.rows[3]
    with Image.open(data / "cloudy" / "0.png") as a, Image.open(data / "clear" / "0.png") as b:
        wanted = psnr(np.array(a).transpose(2, 0, 1), np.array(b).transpose(2, 0, 1), 255.0)
    assert untouched.scores["psnr"] == pytest.approx(wanted, abs=1e-5)
    # Beyond a rim of one pixel nothing was changed.
    assert untouched.scores["clear_mae"] < 0.01 < untouched.scores["cloudy_mae"]
    assert 0.1 < untouched.changed_share < 0.25
    assert untouched.seconds == 0.0 < found.rows[0].seconds
    written = write_evaluation(tmp_path / "out", found)
    assert [p.suffix for p in written] == [".json", ".csv", ".txt", ".parquet"]
    values = json.loads(written[0].read_text())
    assert values["protocol"] == "standard"
    assert values["lpips"]["backbone_sha256"] == BACKBONE_SHA256
    assert values["models"]["tiny"]["steps"] == "3"
    assert len(values["models"]["tiny"]["sha256"]) == 64
    assert set(values["versions"]) >= {"decr", "torch", "lpips"}
    assert values["means"]["no change"]["psnr"]["count"] == 3
    assert values["comparisons"][0]["first"] == "tiny"
    lines = written[1].read_text().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    assert any(BACKBONE_SHA256 in line for line in comments)
    assert any(line.startswith("# protocol: standard") for line in comments)
    table = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert len(table) == 6
    assert float(table[3]["psnr"]) == pytest.approx(wanted, abs=1e-4)
    text = written[2].read_text()
    assert "too few images to rank models (3)" in text
    head = text[: text.index("all pixels")]
    assert "white 255; PSNR in dB, MAE as share of white, SAM in degrees" in head
    assert "brackets: 95 % bootstrap intervals over images (10000 draws, seed 0)" in head
    assert MASK in head
    sha256 = values["models"]["tiny"]["sha256"]
    assert f"tiny: sha256 {sha256[:12]}, steps 3, prior_floor 0.4, seed 0, " in head
    assert ", device cpu, in tiles of 256 px that share 64\n" in head
    assert f"LPIPS: AlexNet (ImageNet), sha256 {BACKBONE_SHA256[:12]}\n" in head
    assert f"decr {values['versions']['decr']}, python " in head
    import pyarrow.parquet

    stored = pyarrow.parquet.read_table(written[3])
    assert stored.num_rows == 6
    assert json.loads(stored.schema.metadata[b"decr"])["protocol"] == "standard"


def test_names_that_break_lines_break_none_of_the_tables(data: Path) -> None:
    for side in ("cloudy", "clear"):
        for name, copy in (("0", "a\nb"), ("1", "c\td")):
            (data / side / f"{copy}.png").write_bytes((data / side / f"{name}.png").read_bytes())
    found = evaluate(replace(config(data, "none"), lpips=False))
    said = [line for line in described(found).splitlines() if "the same image" in line]
    assert said == [
        "warning: a b is the same image as 0",
        "warning: c d is the same image as 1",
    ]


def test_a_white_for_each_pair_is_told_as_a_range(data: Path) -> None:
    found = evaluate(replace(config(data, "none"), lpips=False))
    many = replace(found, facts={**found.facts, "white": [180.0, 199.5, 255.0]})
    assert "white 180 to 255; PSNR" in described(many)


def test_names_with_a_comment_sign_are_read_back(data: Path) -> None:
    for side in ("cloudy", "clear"):
        (data / side / "0.png").rename(data / side / "a#b.png")
    found = evaluate(replace(config(data, "none"), lpips=False))
    lines = [line for line in as_csv(found).splitlines() if not line.startswith("# ")]
    rows = list(csv.DictReader(lines))
    assert [row["image"] for row in rows] == list(found.images)
    assert any("#" in image for image in found.images)
    # Readers that cut comments off leave quoted text alone.
    assert all('"' in line for line in lines if "#" in line)


def test_perfect_images_are_infinite_in_csv_and_null_in_json(data: Path) -> None:
    for image in (data / "clear").iterdir():
        (data / "cloudy" / image.name).write_bytes(image.read_bytes())
    found = evaluate(replace(config(data, "none"), lpips=False, protocol="de-paper"))
    assert ",inf," in as_csv(found)
    assert json.loads(json.dumps(as_json(found), allow_nan=False))["rows"][0]["psnr"] is None
    assert found.rows[0].scores["cloudy_psnr"] is None


def test_what_was_not_measured_is_told_by_every_file(tmp_path: Path) -> None:
    import pyarrow.parquet
    import rasterio

    for name, invalid in (("whole", np.s_[:0]), ("one", np.s_[40, 30]), ("none", np.s_[:])):
        for side in ("cloudy", "clear"):
            image = texture(len(side)).astype(np.uint8)
            image[invalid] = 0
            path = tmp_path / "set" / side / f"{name}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            with rasterio.open(
                path, "w", driver="GTiff", width=64, height=64, count=3, dtype="uint8", nodata=0
            ) as file:
                file.write(image.transpose(2, 0, 1))
    with pytest.warns(DecrWarning, match="cut to a rectangle"):
        found = evaluate(replace(config(tmp_path / "set", "none"), lpips=False))
    assert found.images == ("one", "whole")
    written = {p.suffix: p for p in write_evaluation(tmp_path / "out", found)}
    values = json.loads(written[".json"].read_text())
    cut = [{"image": "one", "stored_px": [64, 64], "used_px": [40, 64]}]
    assert (values["cut"], values["passed_over"]) == (cut, ["none"])
    comments = written[".csv"].read_text()
    assert f"# cut: {json.dumps(cut)}\n" in comments
    assert '# passed_over: ["none"]\n' in comments
    text = written[".txt"].read_text()
    assert "without invalid pixels is measured: one (40 x 64 of 64 x 64 px)" in text
    assert "of valid pixels: none" in text
    stored = pyarrow.parquet.read_schema(written[".parquet"])
    assert json.loads(stored.metadata[b"decr"])["cut"] == cut
