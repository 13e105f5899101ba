"""What plug-ins print goes to standard error: standard output holds the result alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import decr.plugins
from cli.main import main
from decr.cloud.detector import Detector
from decr.plugins import DETECTORS, MODELS
from decr.predictor import Restorer
from tests.evaluation.test_tiles import pairs_of
from tests.pipeline.scenes import cloudy_pixels, write_scene

Float32 = NDArray[np.float32]


def chatty_detector(device: str) -> Detector:
    def probability(views: Float32) -> Float32:
        print("looking")
        return np.asarray(views[:, 0] > 0.5, np.float32)

    print("made")
    return Detector("chatty", "1", ("red",), 4.0, probability)


def chatty_model(seed: int, device: str) -> Restorer:
    def restore(tiles: Float32, corners: Sequence[tuple[int, int]]) -> Float32:
        print("restoring")
        return tiles

    print("made")
    return Restorer("chatty", "1", ("red", "green", "blue"), None, {}, {}, restore)


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = EntryPoints(
        [
            EntryPoint("chatty", f"{__name__}:chatty_detector", DETECTORS),
            EntryPoint("chatty", f"{__name__}:chatty_model", MODELS),
        ]
    )
    monkeypatch.setattr(decr.plugins, "entry_points", offered.select)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene.tif", cloudy_pixels(300, 300))


PLAIN = ("--json", "-q", "--range", "0,2047", "--detector", "chatty")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("ccp", ()),
        ("plan", ("--model", "chatty")),
        ("declouds", ("--model", "chatty", "-o", "out.tif")),
        ("declouds", ("--model", "chatty", "-o", "out.tif", "--dry-run")),
        ("declouds", ("--model", "chatty", "-o", "outs/")),
        ("declouds", ("--model", "chatty", "-o", "outs/", "--dry-run")),
    ],
)
def test_json_of_a_scene_is_whole(
    scene: Path, monkeypatch: pytest.MonkeyPatch, command: str, options: tuple[str, ...]
) -> None:
    monkeypatch.chdir(scene.parent)
    done = CliRunner().invoke(main, [command, str(scene), *PLAIN, *options])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)
    assert "looking\n" in done.stderr


def test_json_of_an_evaluation_is_whole(tmp_path: Path) -> None:
    source = pairs_of(tmp_path / "set", [(64, 64)] * 2)
    given = ["evaluate", "--data", str(source.data), "--split", "all", "--gsd", "0.5", "--no-lpips"]
    done = CliRunner().invoke(main, [*given, "--model", "chatty", "--json", "-q"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)
    assert "restoring\n" in done.stderr
