"""Tests of going on after a kill where outputs of several scenes are replaced."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import rasterio

from decr.config import DecloudConfig
from decr.errors import OutputError
from decr.geo.sources import all_here
from decr.pipeline import many, prepare
from decr.pipeline.declouds import DecloudResult, OnReport
from decr.pipeline.finished_outputs import note_of
from decr.pipeline.many import declouds_many, plans_many
from decr.pipeline.report_files import has_report
from tests.pipeline.scenes import cloudy_pixels, write_scene

CONFIG = DecloudConfig(detector="threshold", tile_px=64, overlap_px=16, steps=1)

Made = Callable[..., list[str]]


@pytest.fixture
def scenes(tmp_path: Path) -> list[str]:
    """Of a tile each."""
    return [str(write_scene(tmp_path / f"{n}.tif", cloudy_pixels(60, 60, n))) for n in (1, 2, 3)]


@pytest.fixture
def made(scenes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Replace outputs up to a scene at which an error is raised; names of those that were begun."""

    def call(
        stop: str = "",
        error: BaseException | None = None,
        config: DecloudConfig = CONFIG,
        on_report: OnReport | None = None,
        has_report: Callable[[Path], bool] | None = None,
    ) -> list[str]:
        begun = []
        real = many.declouds

        def declouds(scene: str, *given: object, **more: object) -> object:
            begun.append(Path(scene).name)
            if error is not None and Path(scene).name == stop:
                raise error
            return real(scene, *given, **more)  # type: ignore[arg-type]

        with monkeypatch.context() as patched:
            patched.setattr(many, "declouds", declouds)
            try:
                given = scenes, tmp_path / "out", config
                asked: dict[str, Any] = {"on_report": on_report, "has_report": has_report}
                list(declouds_many(*given, overwrite=True, **asked))
            except KeyboardInterrupt:
                assert isinstance(error, KeyboardInterrupt)
        return begun

    return call


ALL = ["1.tif", "2.tif", "3.tif"]

_BAND = """<VRTRasterBand dataType="UInt16" band="{0}"><Description>{1}</Description>
<SimpleSource><SourceFilename relativeToVRT="0">{{0}}</SourceFilename>
<SourceBand>{0}</SourceBand></SimpleSource></VRTRasterBand>"""
_ROLES = enumerate(("blue", "green", "red", "nir"), start=1)
_VRT = f"""<VRTDataset rasterXSize="60" rasterYSize="60">
{"".join(_BAND.format(*role) for role in _ROLES)}</VRTDataset>"""


def test_a_call_that_replaces_goes_on_after_a_kill(
    made: Made, scenes: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ALL:
        (out / name).write_text("of before")
    assert made("2.tif", KeyboardInterrupt()) == ALL[:2]
    first = (out / "1.tif").stat().st_mtime_ns
    assert note_of(out / "1.tif").exists()
    plans = list(plans_many(scenes, out, CONFIG, overwrite=True))
    assert [one.plan is None for one in plans] == [True, False, False]
    assert made("3.tif", KeyboardInterrupt()) == ALL[1:]
    assert made() == ALL[2:]
    assert (out / "1.tif").stat().st_mtime_ns == first
    assert sorted(file.name for file in out.iterdir()) == ALL
    assert made() == ALL  # it had ended
    assert (out / "1.tif").stat().st_mtime_ns != first


def test_scenes_that_failed_are_done_again_alone(made: Made, tmp_path: Path) -> None:
    assert made("2.tif", OutputError("the disk is full")) == ALL
    assert made() == ["2.tif"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ALL


def test_what_other_inputs_or_options_made_is_replaced(made: Made, tmp_path: Path) -> None:
    error = KeyboardInterrupt()
    assert made("3.tif", error) == ALL
    assert made("3.tif", error) == ["3.tif"]
    assert made("3.tif", error, replace(CONFIG, seed=3)) == ALL
    assert made("3.tif", error) == ALL
    os.utime(tmp_path / "1.tif", (1, 1))
    assert made("3.tif", error) == ["1.tif", "3.tif"]
    (tmp_path / "out" / "2.tif").write_text("another's")
    assert made("3.tif", error) == ["2.tif", "3.tif"]
    (tmp_path / "out" / "2.tif").unlink()
    assert made("3.tif", error) == ["2.tif", "3.tif"]
    for name in ALL[:2]:
        note_of(tmp_path / "out" / name).write_text("torn")
    assert made() == ALL


def test_what_another_model_would_make_is_replaced(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = prepare.restorer_of
    assert made("3.tif", KeyboardInterrupt()) == ALL
    monkeypatch.setattr(
        prepare, "restorer_of", lambda choice: replace(real(choice), settings={"by": "0.4"})
    )
    assert made() == ALL


def test_nodata_that_was_told_beside_a_scene_since_is_looked_at(made: Made, tmp_path: Path) -> None:
    assert made("3.tif", KeyboardInterrupt()) == ALL
    (tmp_path / "1.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><NoDataValue>1900</NoDataValue></PAMRasterBand>'
        "</PAMDataset>"
    )
    assert made() == ["1.tif", "3.tif"]


def test_options_that_decide_no_byte_leave_what_is_finished(made: Made) -> None:
    assert made("3.tif", KeyboardInterrupt()) == ALL
    assert made("3.tif", KeyboardInterrupt(), replace(CONFIG, batch=2)) == ALL[2:]
    assert made(config=replace(CONFIG, device="cpu")) == ALL[2:]


def test_a_report_that_was_not_asked_for_before_is_made(
    made: Made, scenes: list[str], tmp_path: Path
) -> None:
    reports, other, out = (tmp_path / name for name in ("reports", "other", "out"))

    def asked(folder: Path) -> dict[str, Any]:
        def report(result: DecloudResult, _: object) -> None:
            for kind in ("json", "html"):
                (folder / f"{Path(result.out).stem}.{kind}").write_text("")

        folder.mkdir(exist_ok=True)
        return {"on_report": report, "has_report": partial(has_report, folder)}

    killed = KeyboardInterrupt()
    assert made("3.tif", killed) == ALL
    there = partial(has_report, reports)
    plans = list(plans_many(scenes, out, CONFIG, overwrite=True, has_report=there))
    assert None not in [one.plan for one in plans]
    assert made("3.tif", killed, **asked(reports)) == ALL
    assert made("3.tif", killed) == ALL[2:]
    assert made("3.tif", killed, **asked(reports)) == ALL[2:]
    (reports / "1.html").unlink()
    assert made("3.tif", killed, **asked(reports)) == ["1.tif", "3.tif"]
    os.utime(reports / "2.json", ns=(0, 0))  # of another output by that name
    assert made("3.tif", killed, **asked(reports)) == ["2.tif", "3.tif"]
    assert made(**asked(other)) == ALL


def test_what_lies_elsewhere_is_not_noted(scenes: list[str], tmp_path: Path) -> None:
    with rasterio.MemoryFile(Path(scenes[0]).read_bytes()) as elsewhere:
        virtual = tmp_path / "virtual.vrt"
        virtual.write_text(_VRT.format(elsewhere.name))
        out = tmp_path / "out"
        given = [elsewhere.name, str(virtual), scenes[1], str(tmp_path / "gone.tif")]
        outcomes = list(declouds_many(given, out, CONFIG, overwrite=True))
    assert [one.error is None for one in outcomes] == [True, True, True, False]
    assert [file.name for file in out.glob(".*")] == [note_of(out / "2.tif").name]


def test_archives_and_virtual_rasters_of_files_here_are_here(
    scenes: list[str], tmp_path: Path
) -> None:
    virtual, archive = tmp_path / "virtual.vrt", tmp_path / "a.zip"
    virtual.write_text(_VRT.format(scenes[0]))
    with zipfile.ZipFile(archive, "w") as file:
        file.write(scenes[0], "1.tif")
    for name in (scenes[0], str(virtual), f"/vsizip/{archive}/1.tif", f"vrt://{virtual}?bands=1"):
        assert all_here(name)


def test_calls_into_one_folder_keep_each_other_s_notes(scenes: list[str], tmp_path: Path) -> None:
    out, others = tmp_path / "out", [str(tmp_path / "bad.tif")]
    first = declouds_many([*scenes[:2], *others], out, CONFIG, overwrite=True)
    next(first)
    noted = note_of(out / "1.tif").stat()
    (other,) = declouds_many(scenes[2:], out, CONFIG, overwrite=True)
    assert other.error is None
    next(first)
    assert note_of(out / "1.tif").stat().st_ino == noted.st_ino  # each has its own
    list(first)
    assert [note_of(out / name).exists() for name in ALL] == [True, True, False]


def test_a_call_that_replaces_nothing_forgets_what_was_noted(
    made: Made, scenes: list[str], tmp_path: Path
) -> None:
    made("2.tif", KeyboardInterrupt())
    list(declouds_many(scenes, tmp_path / "out", CONFIG))
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ALL
    assert made() == ALL
