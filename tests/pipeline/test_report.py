"""Tests of what the page of a restoration shows: true to the files, to the survey, and on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio.warp import transform_geom

from decr.config import DecloudConfig
from decr.errors import OutputError
from decr.files import writable_folder
from decr.geo.scene import open_scene
from decr.pipeline.declouds import DecloudResult, declouds
from decr.pipeline.many import Outcome, declouds_many
from decr.pipeline.report_files import (
    INDEX,
    OTHER_INDEX,
    write_index,
    write_report,
)
from decr.pipeline.survey import Survey, survey_scene
from decr.predictor import Restorer
from decr.report.values import RestorationReport
from tests.pipeline.scenes import GRID, RGBN, cloudy_pixels, read, same, write_scene

FAST: dict[str, Any] = {"detector": "threshold", "tile_px": 64, "overlap_px": 16}


def dark() -> Restorer:
    """A model to which every tile is dark ground."""
    return Restorer("dark", "0", RGBN, None, {}, {}, lambda tiles, corners: tiles * 0 - 0.6)


def faint() -> Restorer:
    """A model that restores tiles in the upper 500 rows only."""

    def restore(tiles: NDArray[np.float32], corners: Sequence[tuple[int, int]]) -> Any:
        upper = np.array([row < 500 for row, _ in corners])
        return np.where(upper[:, None, None, None], -0.6, tiles).astype(np.float32)

    return Restorer("faint", "0", RGBN, None, {}, {}, restore)


def reported(
    scene: Path, out: Path, restorer: Restorer, **options: Any
) -> tuple[DecloudResult, RestorationReport]:
    kept: list[tuple[DecloudResult, RestorationReport]] = []
    config = DecloudConfig(**{**FAST, **options})
    returned = declouds(
        scene, out, config, restorer=restorer, on_report=lambda *pair: kept.append(pair)
    )
    ((result, report),) = kept
    assert returned == result
    return result, report


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read by many tests, changed by none."""
    pixels = cloudy_pixels(1100, 300)
    pixels[:, :, :20] = 0
    return write_scene(tmp_path_factory.mktemp("scene") / "scene.tif", pixels, nodata=0)


@pytest.fixture(scope="module")
def darkened(scene: Path) -> tuple[DecloudResult, RestorationReport]:
    """What is told of the scene restored to dark ground."""
    return reported(scene, scene.with_name("out.tif"), dark())


def test_pictures_differ_where_pixels_do_and_nowhere_else(
    scene: Path, darkened: tuple[DecloudResult, RestorationReport]
) -> None:
    result, report = darkened
    out = Path(result.out)
    differ = (read(scene) != read(out)).any(axis=0)
    cells = differ.reshape(550, 2, 150, 2).any(axis=(1, 3))
    shown = (report.before != report.after).any(axis=-1)
    assert report.before.shape == (550, 150, 3)
    assert not shown[~cells].any()
    assert shown[cells].mean() > 0.95
    assert (report.weight[cells] > 0).mean() > 0.99
    assert (report.weight[:, :10] == 0).all()
    assert (report.overlay[:, :10] == 2).all()
    assert result.ccp_after == report.ccp_after
    assert report.name == "out.tif"


def test_weights_are_those_of_the_pixels(scene: Path, tmp_path: Path) -> None:
    seen: list[Any] = []
    from decr.pipeline import declouds as module

    original = module.looked_at

    def looked_at(prepared: Any, change: Any, *rest: Any) -> Any:
        seen.append(change)
        return original(prepared, change, *rest)

    module.looked_at = looked_at
    try:
        _, report = reported(scene, tmp_path / "out.tif", dark())
    finally:
        module.looked_at = original
    (change,) = seen
    exact = change.weights(open_scene(str(scene)).grid.window)
    means = exact.reshape(550, 2, 150, 2).mean(axis=(1, 3))
    # The centre of 2 x 2 pixels lies between them, and weights are linear between cells.
    assert np.abs(change.quicklook(2) - means).max() < 0.02
    assert change.quicklook(1) == pytest.approx(exact, abs=1e-6)
    coarse = change.quicklook(32)
    assert coarse.shape == (35, 10)
    assert coarse[:34, :9] == pytest.approx(exact[15::32, 15::32][:34, :9], abs=0.1)
    valid = report.overlay != 2
    assert report.weight[valid] == pytest.approx(np.rint(255 * means)[valid], abs=6)


def test_strips_do_not_show_in_weights(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from decr.pipeline import change_map

    weights = []
    for cells in (2**22, 200):
        monkeypatch.setattr(change_map, "_STRIP_CELLS", cells)
        weights.append(reported(scene, tmp_path / f"{cells}.tif", dark())[1].weight)
    assert (weights[0] == weights[1]).all()


def test_the_mask_is_that_of_the_survey(scene: Path, tmp_path: Path) -> None:
    result, report = reported(scene, tmp_path / "out.tif", same())
    valid = report.overlay != 2
    share = (report.overlay == 1).sum() / valid.sum()
    assert share == pytest.approx(result.ccp_before, abs=0.01)
    assert 0.05 < result.ccp_before < 0.5


def test_clouds_of_the_output_are_counted_as_those_of_the_scene(
    scene: Path, darkened: tuple[DecloudResult, RestorationReport], tmp_path: Path
) -> None:
    result, _ = reported(scene, tmp_path / "same.tif", same())
    assert result.ccp_after == result.ccp_before > 0
    result, report = darkened
    assert result.ccp_after == report.ccp_after == 0
    # A model that leaves some clouds: what is left is what a second run would find.
    span = (0.0, 2047.0)
    result, _ = reported(scene, tmp_path / "some.tif", faint(), dn_range=span)
    config = DecloudConfig(**FAST, dn_range=span)
    again = declouds(tmp_path / "some.tif", tmp_path / "2.tif", config, restorer=same())
    assert 0 < again.ccp_before == result.ccp_after < result.ccp_before
    assert again.ccp_after is None  # nobody asked


def test_clouds_of_the_output_lie_on_disk_meanwhile(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, lying = list[Survey](), list[str]()

    def surveyed(*of: Any, **how: Any) -> Survey:
        found.append(survey_scene(*of, **how))
        lying.extend(file.name for file in (tmp_path / "out.tif.decr-work").glob("*.npy"))
        return found[-1]

    monkeypatch.setattr("decr.pipeline.report.survey_scene", surveyed)
    reported(scene, tmp_path / "out.tif", same())
    assert isinstance(found[0].stored, np.memmap)
    assert "clouds.npy" in lying
    assert not [name for name in lying if "after" in name]  # a kill leaves nothing
    assert not list(tmp_path.glob("*.decr-work"))


def test_a_mask_says_nothing_of_the_output(scene: Path, tmp_path: Path) -> None:
    mask = write_scene(
        tmp_path / "mask.tif", (read(scene)[:1] == 1900).astype(np.uint8), names=None
    )
    result, report = reported(scene, tmp_path / "out.tif", dark(), cloud_mask=mask)
    assert result.ccp_before > 0
    assert result.ccp_after is None
    assert "mask" in report.facts["CCP after"]


def test_an_area_limits_the_weights(scene: Path, tmp_path: Path) -> None:
    corners = [GRID @ point for point in ((0, 0), (200, 0), (200, 200), (0, 200), (0, 0))]
    area = {"type": "Polygon", "coordinates": [[list(c) for c in corners]]}
    geojson = tmp_path / "aoi.geojson"
    geojson.write_text(json.dumps(transform_geom("EPSG:32650", "EPSG:4326", area, precision=12)))
    _, report = reported(scene, tmp_path / "out.tif", dark(), aoi=geojson)
    assert report.weight[:100, :100].any()
    assert not report.weight[101:].any()
    assert not report.weight[:, 101:].any()
    assert ((report.before != report.after).any(axis=-1) <= (report.weight > 0)).all()


def test_a_coarse_work_grid_has_a_report(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", cloudy_pixels(300, 260))
    coarse = Restorer("dark", "0", RGBN, 1.0, {}, {}, lambda tiles, corners: tiles * 0 - 0.6)
    _, report = reported(path, tmp_path / "out.tif", coarse, gsd="model")
    assert report.facts["Scene pixels per work pixel"] == "2"
    assert report.after.shape == (300, 260, 3)


def test_a_clear_scene_has_a_report(tmp_path: Path) -> None:
    ground = np.random.default_rng(0).integers(200, 900, (4, 200, 200)).astype(np.uint16)
    path = write_scene(tmp_path / "scene.tif", ground)
    result, report = reported(path, tmp_path / "out.tif", dark(), dn_range=(0.0, 2047.0))
    assert result.ccp_before == result.ccp_after == 0
    assert (report.before == report.after).all()
    assert "score" not in report.seams
    assert write_report(tmp_path, result, report).exists()


def test_facts_say_what_was_done_with_what(
    darkened: tuple[DecloudResult, RestorationReport],
) -> None:
    result, report = darkened
    facts = report.facts
    assert facts["CRS"] == "EPSG:32650"
    assert facts["GSD"] == "0.5 m"
    assert facts["Model"] == "dark"
    assert facts["Pixels changed"] == f"{result.changed_px:,}"
    assert facts["Tiles"].startswith(f"{result.restored:,} restored")
    assert list(report.stages_s) == ["preparing", "survey", "ground", "restore", "write", "report"]
    assert facts["Levels drawn to"] == "clear ground nearby, if any"
    assert not [key for key in facts if re.fullmatch(r"[A-Z_]{4,}", key)], "tags without words"


def test_the_report_is_the_last_stage_whose_progress_is_told(scene: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    declouds(
        scene, tmp_path / "o.tif", DecloudConfig(**FAST), restorer=dark(),
        on_progress=lambda *step: told.append(step), on_report=lambda *_: None,
    )  # fmt: skip
    assert [stage for stage, *_ in told][-1] == "report"
    assert told[-1][1] == told[-1][2] > 0


def test_reports_are_written_whole_and_lead_to_each_other(tmp_path: Path) -> None:
    scenes = [
        str(write_scene(tmp_path / f"{name}.tif", cloudy_pixels(200, 200, seed)))
        for seed, name in enumerate(("a", "b <i>"))
    ]
    scenes.append(str(tmp_path / "none.tif"))
    folder, reports = tmp_path / "out", tmp_path / "deep" / "reports"
    writable_folder(reports)
    config = DecloudConfig(**FAST, steps=1)

    def run() -> list[Outcome]:
        return list(
            declouds_many(
                scenes,
                folder,
                config,
                on_report=lambda *pair: write_report(reports, *pair) and None,
            )
        )

    page = write_index(reports, run())
    assert page.name == INDEX
    names = {"a.html", "a.json", "b <i>.html", "b <i>.json", INDEX}
    assert {path.name for path in reports.iterdir()} == names
    first = page.read_text()
    assert "b%20%3Ci%3E.html" in first
    assert "none.tif cannot be opened" in first
    assert "2 of 3 scenes have a page" in first
    # The same call again finds two scenes done; their numbers are still there.
    again = write_index(reports, run()).read_text()
    assert again.count("finished by an earlier call") == 2
    assert re.findall(r'data-v="[\d.]+"', first) == re.findall(r'data-v="[\d.]+"', again)
    kept = json.loads((reports / "a.json").read_text())
    assert kept["ccp_after"] is not None
    assert kept["stages_s"]["report"] > 0


@pytest.mark.parametrize("left", ["", "[1]", '{"seams": 3, "stages_s": "x", "ccp_before": "<b>"}'])
def test_what_is_left_of_an_earlier_report_may_be_broken(tmp_path: Path, left: str) -> None:
    (tmp_path / "a.json").write_text(left)
    page = write_index(tmp_path, [Outcome("a.tif", tmp_path / "a.tif")]).read_text()
    assert "0 of 1 scenes have a page" in page
    assert "<b>" not in page.partition("<tbody>")[2].partition("</tbody>")[0]


def test_a_scene_called_index_keeps_its_page(tmp_path: Path) -> None:
    outcomes = [Outcome("index.tif", tmp_path / "index.tif"), Outcome("b.tif", tmp_path / "b.tif")]
    assert write_index(tmp_path, outcomes).name == OTHER_INDEX


def test_a_folder_that_cannot_be_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file: cannot write there .*another folder"):
        writable_folder(tmp_path / "file")
    with pytest.raises(OutputError, match=r"below: cannot write there"):
        writable_folder(tmp_path / "file" / "below")
    (tmp_path / "index.html").mkdir()
    with pytest.raises(OutputError, match=r"index.html: cannot write"):
        write_index(tmp_path, [])
    assert {path.name for path in tmp_path.iterdir()} == {"file", "index.html"}


def test_making_a_folder_for_reports_leaves_nothing_in_it(tmp_path: Path) -> None:
    writable_folder(tmp_path / "a" / "b")
    writable_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
