"""What commands tell of work that goes well: reports, plans, and which mask it was."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import rasterio

from tests.cli.invoked import run
from tests.pipeline.scenes import write_scene


def test_a_report_tells_seams_stages_and_provenance(small: Path, tmp_path: Path) -> None:
    fast = ["--steps", "1", "--tile", "64", "--overlap", "16", "--full"]
    out = tmp_path / "o.tif"
    result = run("declouds", small, "-o", out, "--report", tmp_path / "reports", *fast)
    assert result.exit_code == 0, result.output
    assert "seams: score " in result.stdout
    report = json.loads((tmp_path / "reports" / "o.json").read_text())
    assert report["seams"]["tone_rms"] < report["seams"]["tone_rms_before"]
    stages = ["preparing", "survey", "ground", "restore", "write", "report"]
    assert list(report["stages_s"]) == stages
    assert report["seconds"] == pytest.approx(sum(report["stages_s"].values()), abs=0.01)
    assert report["tags"]["MODEL"] == "embedded-rgbn"
    assert f"{100 * report['ccp_after']:.1f} % after" in result.stdout
    page = tmp_path / "reports" / "o.html"
    assert str(page) in result.stdout
    assert f">{report['ccp_before']:.3f}<" in page.read_text()


def test_reports_of_several_scenes_get_a_page_that_leads_to_them(
    small: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.tif"
    other.write_bytes(small.read_bytes())
    fast = ["--steps", "1", "--tile", "64", "--overlap", "16", "-q"]
    arguments = (small, other, tmp_path / "no.tif", "-o", tmp_path / "out", "--report")
    result = run("declouds", *arguments, tmp_path / "reports", *fast)
    assert result.exit_code == 1  # one scene is not there
    names = {path.name for path in (tmp_path / "reports").iterdir()}
    assert names == {"small.html", "small.json", "other.html", "other.json", "index.html"}
    assert "2 of 3 scenes have a page" in (tmp_path / "reports" / "index.html").read_text()


def test_a_report_that_cannot_be_written_is_refused_before_any_work(
    scene: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "o.tif"
    for more in (), ("--dry-run",):
        result = run("declouds", scene, "-o", out, "--report", tmp_path / "file" / "in", *more)
        assert result.exit_code == 1
        assert "in: cannot write there" in result.stderr
    assert not out.exists()
    assert not (tmp_path / "o.tif.decr-work").exists()
    plan = run("declouds", scene, "-o", out, "--report", tmp_path / "r", "--dry-run", "-q")
    assert plan.exit_code == 0
    assert not (tmp_path / "r").exists()


def test_a_mask_in_an_archive_is_named_as_gdal_does(small: Path, tmp_path: Path) -> None:
    """Two slashes in a row are part of such a name."""
    mask = write_scene(tmp_path / "m.tif", np.ones((1, 120, 160), "uint8"), names=None)
    with ZipFile(tmp_path / "m.zip", "w") as packed:
        packed.write(mask, "m.tif")
    name = f"/vsizip/{tmp_path / 'm.zip'}/m.tif"
    assert "//" in name
    for option in (("--cloud-mask", name), ("--detector", f"file:{name}")):
        result = run("plan", small, *option, "--json")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["ccp"] == 1


def test_a_small_margin_is_a_cell_and_none_is_none(scene: Path) -> None:
    found = {}
    for margin in (0, 0.1, 1, 8):
        options = ("--detector", "threshold", "--margin", margin, "--json", "-q")
        printed = json.loads(run("ccp", scene, *options).stdout)
        found[margin] = printed["scenes"][0]["cloudy_px"]
    assert found[0] < found[0.1] == found[1] < found[8]


def test_the_version_of_a_mask_is_its_own(small: Path, tmp_path: Path) -> None:
    mask = write_scene(tmp_path / "m.tif", np.ones((1, 120, 160), "uint8"), names=None)
    other = write_scene(tmp_path / "n.tif", np.ones((1, 120, 160), "uint16"), names=None)
    versions = set()
    for n, path in enumerate((mask, other)):
        out = tmp_path / f"o{n}.tif"
        quick = ("--steps", 1, "--tile", 64, "--overlap", 16, "-q")
        assert run("declouds", small, "-o", out, "--cloud-mask", path, *quick).exit_code == 0
        with rasterio.open(out) as file:
            tags = file.tags(ns="DECR")
        assert tags["DETECTOR"] == "file"
        versions.add(tags["DETECTOR_VERSION"])
    assert {len(version) for version in versions} == {64}
    assert len(versions) == 2


def test_a_dry_run_prints_json_if_asked(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.tif"
    found = run("declouds", scene, "-o", out, "--dry-run", "--json", "-q")
    plan = json.loads(found.stdout)
    assert plan["scene"] == str(scene)
    assert plan["restore"] + plan["copy"] + plan["skip"] > 0
    assert not out.exists()
