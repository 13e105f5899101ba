"""`decr ccp`: what it prints and writes agrees, and says how coverage is defined."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result

from cli.main import main
from tests.pipeline.scenes import cloudy_pixels, read, write_scene

DEFINITION = "CCP = cloudy valid pixels / valid pixels; cloudy = probability at or above 0.5"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["ccp", *map(str, arguments), "-q"])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene.tif", cloudy_pixels(600, 700))


@pytest.fixture
def aoi(tmp_path: Path) -> Path:
    ring = [[500000, 3999900], [500000, 4000000], [500100, 4000000], [500100, 3999900]]
    far = [[x + 9000, y] for x, y in ring]
    crs = {"type": "name", "properties": {"name": "EPSG:32650"}}
    features = [
        {"type": "Feature", "properties": {"name": name},
         "geometry": {"type": "Polygon", "coordinates": [[*r, r[0]]]}}
        for name, r in (("near", ring), ("far", far))
    ]  # fmt: skip
    path = tmp_path / "aoi.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return path


def test_features_that_touch_no_scene_are_told_once(scene: Path, aoi: Path, tmp_path: Path) -> None:
    plain = ("--detector", "threshold", "--aoi", aoi)
    other = write_scene(tmp_path / "other.tif", cloudy_pixels(600, 700))
    assert "does not touch" not in run(scene, other, *plain).stderr
    document = json.loads(aoi.read_text())
    del document["crs"]
    aoi.write_text(json.dumps(document))
    result = run(scene, other, *plain, "-o", tmp_path / "report")
    assert result.exit_code == 0
    (said,) = [line for line in result.stderr.splitlines() if "does not touch" in line]
    assert (
        "scene (and 1 more): the area in aoi.geojson does not touch the scene; area x 500000"
        in said
    )
    assert said.endswith("GeoJSON has longitude first")
    told = json.loads((tmp_path / "report" / "ccp.json").read_text())
    assert "does not touch" in told["facts"]["features missed"]
    assert str(tmp_path) not in told["facts"]["features missed"]


def test_files_agree_with_each_other(scene: Path, aoi: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    result = run(scene, "-o", out, "--detector", "threshold", "--aoi", aoi, "--tile", 256)
    assert result.exit_code == 0, result.output
    told = json.loads((out / "ccp.json").read_text())
    (one,) = told["scenes"]
    assert told["definition"].startswith(DEFINITION)
    assert told["polarity"].startswith("1 = all cloud")
    assert told["denominator"].startswith("valid pixels")
    assert one["ccp"] == one["cloudy_px"] / one["valid_px"]
    assert f"{100 * one['ccp']:.2f} %" in result.output
    assert DEFINITION in result.output
    (row,) = rows(out / "ccp.csv")
    assert (row["scene"], int(row["cloudy_px"])) == ("scene", one["cloudy_px"])
    assert row["thin_px"] == ""
    near, far = rows(out / "features.csv")
    assert (near["name"], int(near["valid_px"])) == ("near", 200 * 200)
    assert (far["name"], int(far["valid_px"]), far["ccp"]) == ("far", 0, "")
    for line in (row, near, far):
        assert line["definition"] == told["definition"]
        assert line["polarity"] == told["polarity"]
        assert line["denominator"] == told["denominator"]
    mask = read(out / "scene_mask.tif")
    assert int((mask == 1).sum()) == one["cloudy_px"]
    for name in ("mask", "probability"):
        with rasterio.open(out / f"scene_{name}.tif") as file:
            tags = file.tags(ns="DECR")
        assert tags["DEFINITION"] == told["definition"]
        assert tags["POLARITY"] == told["polarity"]
        assert tags["DENOMINATOR"] == told["denominator"]
    assert not list(out.glob("*.part"))
    assert not list(out.glob("decr-*"))


def test_tiles_are_geoparquet_and_sum_to_the_scene(scene: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    shapely = pytest.importorskip("shapely")
    out = tmp_path / "report"
    result = run(scene, "-o", out, "--detector", "threshold", "--tile", 256, "--json")
    assert result.exit_code == 0, result.output
    (one,) = json.loads(result.stdout)["scenes"]
    table = parquet.read_table(out / "tiles.parquet")
    assert table.num_rows == 3 * 3
    assert sum(table["cloudy_px"].to_pylist()) == one["cloudy_px"]
    assert sum(table["valid_px"].to_pylist()) == one["valid_px"] == 600 * 700
    assert table.schema.metadata[b"definition"].decode().startswith(DEFINITION)
    union = shapely.union_all(shapely.from_wkb(table["geometry"].to_pylist()))
    with rasterio.open(scene) as file:
        assert union.equals(shapely.box(*file.bounds))


def test_tiles_that_cannot_be_written_are_one_error(scene: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    out = tmp_path / "report"
    (out / "tiles.parquet").mkdir(parents=True)
    result = run(scene, "-o", out, "--detector", "threshold", "--tile", 256)
    assert result.exit_code == 1
    assert "tiles.parquet: cannot write the report there (Is a directory)" in result.stderr
    assert not list(out.glob(".*.part"))


def test_without_pyarrow_the_rest_is_written(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run(scene, "-o", tmp_path / "r", "--detector", "threshold")
    assert result.exit_code == 0, result.output
    assert "pip install 'decr[geoparquet]'" in result.stderr
    assert (tmp_path / "r" / "ccp.csv").exists()
    assert not (tmp_path / "r" / "tiles.parquet").exists()


def test_what_only_an_earlier_report_had_goes_and_files_of_others_stay(
    scene: Path, aoi: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    plain = (scene, "-o", out, "--detector", "threshold")
    assert run(*plain, "--aoi", aoi, "--feather", 5).exit_code == 0
    assert (out / "features.csv").exists()
    assert (out / "scene_weight.tif").exists()
    assert run(*plain).exit_code == 0
    assert {f.name for f in out.glob("*.tif")} == {"scene_mask.tif", "scene_probability.tif"}
    assert not (out / "features.csv").exists()
    write_scene(out / "scene_weight.tif", cloudy_pixels(9, 9))
    (out / "features.csv").write_text("mine\n")
    assert run(*plain).exit_code == 0
    assert (out / "features.csv").read_text() == "mine\n"
    assert read(out / "scene_weight.tif").shape == (4, 9, 9)


@pytest.mark.parametrize(
    "name",
    ["ccp.json", "ccp.csv", "features.csv", "tiles.parquet", "histogram.svg", "histogram.png",
     "report.html"],
)  # fmt: skip
def test_files_of_others_are_not_replaced(
    scene: Path, aoi: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "report"
    out.mkdir()
    (out / name).write_text("{}")
    plain = (scene, "-o", out, "--detector", "threshold", "--aoi", aoi)
    refused = run(*plain)
    assert refused.exit_code == 1
    assert f"{name}: exists already and is no report of this decr" in refused.stderr
    assert {file.name: file.read_text() for file in out.iterdir()} == {name: "{}"}
    (out / name).unlink()
    assert run(*plain).exit_code == run(*plain).exit_code == 0  # its own it replaces


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("no.tif",), 1, "no.tif"),
        (("scene.tif", "--threshold", "0"), 2, "threshold"),
        (("scene.tif", "--tile", "99999999999999999999"), 2, "less than 2 billion"),
        (("scene.tif", "--cloudy", "1,x", "--detector", "file:m.tif"), 2, "1,x"),
        (("scene.tif", "--detector", "file:m.tif"), 1, "m.tif"),
        (("scene.tif", "--detector", "no_such"), 1, "no_such"),
        (("scene.tif", "--aoi", "no.geojson"), 1, "no.geojson"),
        (("scene.tif", "-o", "scene.tif/x"), 1, "scene.tif"),
    ],
)
def test_errors_are_one_line(
    scene: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(scene.parent)
    before = sorted(scene.parent.iterdir())
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert sorted(scene.parent.iterdir()) == before


def test_a_users_mask_is_never_replaced(scene: Path) -> None:
    mask = write_scene(scene.parent / "scene_mask.tif", np.ones((1, 600, 700), "uint8"), names=None)
    before = mask.read_bytes()
    for detector, says in ((f"file:{mask}", "read by this very run"), ("threshold", "not made by")):
        result = run(scene, "-o", scene.parent, "--detector", detector)
        assert result.exit_code == 1
        assert says in result.stderr
        assert mask.read_bytes() == before
    mask.unlink()
    assert run(scene, "-o", scene.parent, "--detector", "threshold").exit_code == 0
    made = mask.read_bytes()  # by decr, and perhaps by hand since
    assert run(scene, "-o", scene.parent, "--detector", f"file:{mask}").exit_code == 1
    assert mask.read_bytes() == made


def test_the_page_and_the_histogram_are_written(scene: Path, tmp_path: Path) -> None:
    result = run(scene, "-o", tmp_path / "r", "--detector", "threshold")
    assert result.exit_code == 0, result.output
    assert "<svg" in (tmp_path / "r" / "histogram.svg").read_text()
    assert (tmp_path / "r" / "histogram.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "r" / "report.html").read_text()
    assert DEFINITION in page
    assert "scene" in page


@pytest.mark.parametrize("nodata", [0, 255])
def test_a_mask_whose_cloud_is_nodata_is_told(scene: Path, tmp_path: Path, nodata: int) -> None:
    numbers = np.zeros((1, 600, 700), "uint8")
    numbers[0, :300] = 255
    mask = write_scene(tmp_path / "m.tif", numbers, names=None, nodata=nodata)
    result = run(scene, "--detector", f"file:{mask}")
    assert result.exit_code == 0, result.output
    assert ("255 is its nodata number" in result.stderr) == (nodata == 255)
    numbers[:] = 0  # it is clear, and says so everywhere
    clear = write_scene(tmp_path / "c.tif", numbers, names=None, nodata=nodata)
    result = run(scene, "--detector", f"file:{clear}")
    assert result.exit_code == 0
    assert "nodata number" not in result.stderr


def test_an_image_given_as_a_mask_is_told(scene: Path, tmp_path: Path) -> None:
    classes = np.tile(np.arange(600, dtype="uint8")[:, None] % 32, (1, 1, 700))
    mask = write_scene(tmp_path / "m.tif", classes, names=None)
    for given, told in ((scene, True), (mask, False)):
        result = run(scene, "--detector", f"file:{given}")
        assert result.exit_code == 0, result.output
        assert (f"{given}: looks like an image or probabilities, with" in result.stderr) == told
    assert not run(scene, "--detector", f"file:{scene}", "--cloudy", 250).stderr


def test_fractions_in_a_mask_are_told(scene: Path, tmp_path: Path) -> None:
    share = np.zeros((1, 600, 700), "float32")
    share[0, :300] = 1
    share[0, 300:] = np.nan
    whole = write_scene(tmp_path / "w.tif", share, names=None)
    share[0, 0, 0] = 0.25
    broken = write_scene(tmp_path / "f.tif", share, names=None)
    scaled = tmp_path / "out" / "scene_probability.tif"
    assert run(scene, "-o", scaled.parent, "--detector", "threshold").exit_code == 0
    for mask, told in ((whole, False), (broken, True), (scaled, True)):
        result = run(scene, "--detector", f"file:{mask}")
        assert result.exit_code == 0, result.output
        assert (f"{mask}: holds fractions" in result.stderr) == told
    assert "fractions" not in run(scene, "--detector", f"file:{scaled}", "--cloudy", 250).stderr


def test_what_an_earlier_report_left_is_no_scene(scene: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.tif", "b.tif"):
        (folder / name).write_bytes(scene.read_bytes())
    for what in (folder, folder / "a.tif"):
        done = run(what, "-o", folder / "report", "--detector", "threshold", "-q")
        assert done.exit_code == 0, done.output
    assert (folder / "report" / "b_mask.tif").exists()
    found = run(folder, "--detector", "threshold", "--json", "-q")
    assert [s["name"] for s in json.loads(found.stdout)["scenes"]] == ["a", "b"]
