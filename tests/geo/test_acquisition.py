"""When a scene was taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio

from decr.errors import ConfigError, SceneError
from decr.geo.acquisition import acquired, given_date, parsed_date
from tests.geo.scene_files import coded, write


def scene(folder: Path, **tags: str) -> Path:
    path = write(folder / "scene.tif", coded(4, 8, 8))
    with rasterio.open(path, "r+") as file:
        file.update_tags(**tags)
    return path


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2024:05:03 10:20:30", "2024-05-03T10:20:30+00:00"),
        ("2024-05-03T10:20:30.123456Z", "2024-05-03T10:20:30+00:00"),
        ("2024-05-03T10:20:30+08:00", "2024-05-03T02:20:30+00:00"),
        ("20240503", "2024-05-03T00:00:00+00:00"),
        ('"2024-05-03 10:20:30";', "2024-05-03T10:20:30+00:00"),
    ],
)
def test_dates_of_many_forms_are_read_as_utc(text: str, iso: str) -> None:
    found = parsed_date(text)
    assert found is not None
    assert found.isoformat() == iso


@pytest.mark.parametrize("text", ["", "soon", "2024-13-03", "2024-05-03T25:00:00", "12", "0000"])
def test_other_text_is_no_date(text: str) -> None:
    assert parsed_date(text) is None


def test_tags_of_acquisition_come_before_xml_and_that_before_the_file_s_own(tmp_path: Path) -> None:
    path = scene(tmp_path, TIFFTAG_DATETIME="2024:06:01 00:00:00")
    assert acquired(str(path)).source == "tag TIFFTAG_DATETIME"
    (tmp_path / "scene.xml").write_text(
        '<a xmlns="urn:x"><ReceiveTime>2024-05-09 01:00:00</ReceiveTime>'
        "<Imaging_Time>2024-05-04 03:00:00</Imaging_Time></a>"
    )
    found = acquired(str(path))
    assert (found.source, found.when.day) == ("imagingtime in scene.xml", 4)
    path = scene(tmp_path, ACQUISITION_DATETIME="2024-05-03T03:00:00Z")
    assert acquired(str(path)).when.day == 3


def test_a_scene_that_says_no_date_has_none(tmp_path: Path) -> None:
    assert acquired(str(scene(tmp_path))) is None


@pytest.mark.parametrize(
    "text", ["<a", '<!DOCTYPE a [<!ENTITY b "bbb">]><a><StartTime>&b;</StartTime></a>']
)
def test_damaged_and_hostile_metadata_is_one_error(tmp_path: Path, text: str) -> None:
    path = scene(tmp_path)
    (tmp_path / "scene.xml").write_text(text)
    with pytest.raises(SceneError, match=r"scene\.xml"):
        acquired(str(path))


def test_a_stated_date_must_be_one() -> None:
    assert given_date("2024-05-03").source == "given"
    with pytest.raises(ConfigError, match="no date"):
        given_date("yesterday")
