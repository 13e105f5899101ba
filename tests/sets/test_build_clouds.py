"""Clouds of the images of a set are looked for once, and only where a set can be built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rasterio
from affine import Affine

from decr.coverage.ccp import SceneCcp, scene_ccp
from decr.coverage.sources import Source
from decr.dataset.acquisitions import PairRow, open_pairs
from decr.dataset.build_set import check_exports
from decr.errors import ConfigError, DatasetError, DecrWarning, SceneError
from decr.sets.build import build_set
from tests.dataset.two_dates import BANDS, SIZE, TwoDates, write
from tests.sets.built import OPTIONS, QUICK, build, ccp, contents


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images whose clouds were looked for."""
    names: list[str] = []

    def noted(source: Source, *args: Any, **more: Any) -> SceneCcp:
        names.append(source.name)
        return scene_ccp(source, *args, **more)

    monkeypatch.setattr("decr.sets.build_measure.scene_ccp", noted)
    return names


def test_another_split_does_not_look_for_clouds_anew(
    few: TwoDates, looked_at: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "set"
    with pytest.raises(DatasetError, match="give a smaller --buffer"):
        build(few, out, replace(QUICK, buffer_m=1e4))
    assert looked_at == ["cloudy", "clear"]
    # Other chips, then another split: clouds of neither, and the bytes of a run of its own.
    with pytest.raises(DatasetError, match="give a smaller --buffer"):
        build(few, out, replace(QUICK, size_px=SIZE // 2, buffer_m=1e4))
    build(few, out, replace(QUICK, seed=3))
    assert looked_at == ["cloudy", "clear"]
    assert not (tmp_path / "set.decr-work").exists()
    build(few, tmp_path / "alone", replace(QUICK, seed=3))
    assert contents(out) == contents(tmp_path / "alone")


def test_clouds_of_an_image_that_changed_are_looked_for_anew(
    few: TwoDates, looked_at: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    clear = folder / "clear.tif"
    clear.write_bytes(few.clear.read_bytes())
    far, own = replace(QUICK, buffer_m=1e4), replace(few, clear=clear)
    for _ in range(2):
        with pytest.raises(DatasetError, match="give a smaller --buffer"):
            build(own, tmp_path / "set", far)
    assert looked_at == ["cloudy", "clear"]
    with rasterio.open(clear, "r+") as file:
        file.write(file.read(1) + 1, 1)
    build(own, tmp_path / "set", QUICK)
    assert looked_at == ["cloudy", "clear", "clear"]


@pytest.mark.parametrize("step", ["chips", "writing"])
@pytest.mark.parametrize("which", ["cloudy", "clear"])
def test_an_image_that_is_replaced_while_the_set_is_built_is_told(
    few: TwoDates, tmp_path: Path, which: str, step: str
) -> None:
    path, other = tmp_path / f"{which}.tif", tmp_path / "other.tif"
    for copy in (path, other):
        copy.write_bytes(getattr(few, which).read_bytes())
    own = replace(few, **{which: path})

    def late(stage: str, done: int, total: int) -> None:
        if stage == step and other.exists():
            other.replace(path)

    with pytest.raises(SceneError, match="it was changed since"):
        build_set(
            [PairRow(own.cloudy, own.clear)], tmp_path / "set", QUICK, ccp(own), on_progress=late
        )
    assert not (tmp_path / "set").exists()


def test_what_cannot_be_is_told_before_clouds_are_looked_for(
    dates: TwoDates, looked_at: list[str], tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=r"no room for a chip of 100000 px: .* smaller chips"):
        build(dates, tmp_path / "a", replace(QUICK, size_px=100_000))
    far = tmp_path / "clear.tif"
    far.write_bytes(dates.clear.read_bytes())
    with rasterio.open(far, "r+") as file:
        file.transform = Affine.translation(50_000, 0) @ file.transform
    with pytest.raises(DatasetError, match="low overlap"):
        build(replace(dates, clear=far), tmp_path / "b")
    assert looked_at == []


def test_the_published_layout_needs_near_infrared_of_all_or_of_none(
    dates: TwoDates, looked_at: list[str], tmp_path: Path
) -> None:
    with rasterio.open(dates.clear) as file:
        path = write(
            tmp_path / "rgb.tif", file.read()[:3], BANDS[:3], TIFFTAG_DATETIME="2024:05:14 03:05:00"
        )
    rows = [PairRow(dates.cloudy, dates.clear), PairRow(dates.cloudy, path)]
    with (
        pytest.warns(DecrWarning, match="give a pair of bands"),
        pytest.raises(ConfigError, match="cloudy_1 has near infrared and cloudy_2 has not; "),
    ):
        build_set(rows, tmp_path / "set", OPTIONS, ccp(dates))
    assert looked_at == []
    check_exports(open_pairs(rows), replace(OPTIONS, exports=("rice",)))
