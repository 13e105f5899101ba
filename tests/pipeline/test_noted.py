"""Tests of going on after a kill where outputs of several scenes are replaced."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from decr.config import DecloudConfig
from decr.errors import OutputError
from decr.pipeline import many
from decr.pipeline.many import declouds_many, plans_many
from decr.pipeline.noted import FILE
from tests.pipeline.scenes import cloudy_pixels, write_scene

CONFIG = DecloudConfig(detector="threshold", tile_px=64, overlap_px=16, steps=1)

Made = Callable[..., list[str]]


@pytest.fixture
def scenes(tmp_path: Path) -> list[str]:
    return [str(write_scene(tmp_path / f"{n}.tif", cloudy_pixels(90, 120, n))) for n in (1, 2, 3)]


@pytest.fixture
def made(scenes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Replace outputs up to a scene at which an error is raised; names of those that were begun."""

    def call(
        stop: str = "", error: BaseException | None = None, config: DecloudConfig = CONFIG
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
                list(declouds_many(scenes, tmp_path / "out", config, overwrite=True))
            except KeyboardInterrupt:
                assert isinstance(error, KeyboardInterrupt)
        return begun

    return call


ALL = ["1.tif", "2.tif", "3.tif"]


def test_a_call_that_replaces_goes_on_after_a_kill(
    made: Made, scenes: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ALL:
        (out / name).write_text("of before")
    assert made("2.tif", KeyboardInterrupt()) == ALL[:2]
    first = (out / "1.tif").stat().st_mtime_ns
    assert (out / FILE).exists()
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
    assert not (tmp_path / "out" / FILE).exists()


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
    (tmp_path / "out" / FILE).write_text("torn")
    assert made() == ALL


def test_a_call_that_replaces_nothing_forgets_what_was_noted(
    made: Made, scenes: list[str], tmp_path: Path
) -> None:
    made("2.tif", KeyboardInterrupt())
    list(declouds_many(scenes, tmp_path / "out", CONFIG))
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ALL
    assert made() == ALL
