"""Reports of cloud coverage: what page, tiles and terminal say of scenes that differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from decr.config import CcpConfig
from decr.coverage.ccp import SceneCcp, looking, scene_ccp
from decr.coverage.report_files import as_json, report_values, tiles_parquet
from decr.coverage.sources import Source
from decr.coverage.text import described
from decr.pipeline.engine import local_engine
from decr.report.page import ccp_page
from tests.pipeline.scenes import cloudy_pixels, write_scene


@pytest.fixture
def scene(tmp_path: Path) -> SceneCcp:
    path = write_scene(tmp_path / "scene.tif", cloudy_pixels(64, 64))
    with local_engine() as engine:
        look = looking(CcpConfig(detector="threshold"), engine)
        return scene_ccp(Source("scene", str(path)), look, None)


def looked_at(scene: SceneCcp, *detectors: str) -> list[SceneCcp]:
    """The scene as often as there are detectors, each seen by one of them."""
    return [
        replace(scene, name=f"s{n}", facts={**scene.facts, "detector": detector})
        for n, detector in enumerate(detectors)
    ]


def test_page_and_tiles_name_all_detectors_that_looked(scene: SceneCcp) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    scenes = looked_at(scene, "fine", "coarse", "fine")
    values = report_values(scenes, "title")
    assert values.facts["Detector"] == "fine; coarse"
    assert "fine; coarse" in ccp_page(values)
    metadata = parquet.read_schema(pyarrow.BufferReader(tiles_parquet(scenes))).metadata
    assert metadata[b"detector"] == b"fine; coarse"
    assert metadata[b"threshold"] == scene.facts["threshold"].encode()
    told = as_json(scenes)
    assert "detector" not in told["facts"]  # programs find it at each scene
    assert [one["facts"]["detector"] for one in told["scenes"]] == ["fine", "coarse", "fine"]


@pytest.mark.parametrize(("count", "said"), [(4, "d0; d1; d2; d3"), (5, "several")])
def test_many_detectors_are_several(scene: SceneCcp, count: int, said: str) -> None:
    scenes = looked_at(scene, *(f"d{n}" for n in range(count)))
    assert report_values(scenes, "title").facts["Detector"] == said


def test_what_some_scenes_alone_say_is_not_said_of_all(scene: SceneCcp) -> None:
    other = replace(scene, facts={**scene.facts, "features missed": "why"})
    assert "Features missed" in report_values([other], "title").facts
    for scenes in ([scene, other], [other, scene]):
        assert "Features missed" not in report_values(scenes, "title").facts


def test_a_line_end_in_a_name_splits_no_row_in_the_terminal(scene: SceneCcp) -> None:
    text = described([replace(scene, name="line\nbreak")])
    (row,) = (line for line in text.splitlines() if "line break" in line)
    assert row.split()[-2:] == [f"{scene.coverage.cloudy_px:,}", f"{scene.coverage.valid_px:,}"]
