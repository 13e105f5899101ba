"""Models of other packages: found by name, used like ours, and blamed by name when they fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest
import rasterio

import decr.plugins
from decr.config import DecloudConfig
from decr.errors import ConfigError
from decr.evaluation.subjects import Sampling, in_order, subjects_of
from decr.pipeline.declouds import declouds
from decr.plugins import MODELS, model_plugin
from decr.predictor import Restorer
from tests.pipeline.scenes import cloudy_pixels, write_scene


def darker(seed: int, device: str) -> Restorer:
    """A model of another package: everything a little darker."""

    def restore(tiles: np.ndarray, corners: Sequence[tuple[int, int]]) -> np.ndarray:
        return np.asarray(tiles - 0.25, np.float32)

    bands = ("red", "green", "blue", "nir")
    return Restorer("darker", f"1 {seed} {device}", bands, None, {}, {}, restore)


def no_model(seed: int, device: str) -> str:
    return "nothing"


def broken(seed: int, device: str) -> Restorer:
    raise OSError("its weights are missing")


def answers(name: str, restore: Callable[[np.ndarray], np.ndarray]) -> Restorer:
    bands = ("red", "green", "blue", "nir")
    return Restorer(name, "1", bands, None, {}, {}, lambda tiles, corners: restore(tiles))


def unsure(seed: int, device: str) -> Restorer:
    return answers("unsure", lambda tiles: tiles * np.float32("nan"))


def flat(seed: int, device: str) -> Restorer:
    return answers("flat", lambda tiles: tiles[:, :1])


def low(seed: int, device: str) -> Restorer:
    return answers("low", lambda tiles: tiles[:, :, :-1])


def loud(seed: int, device: str) -> Restorer:
    return answers("loud", lambda tiles: tiles * 0 + 100)


def clumsy(seed: int, device: str) -> Restorer:
    def restore(tiles: np.ndarray) -> np.ndarray:
        raise RuntimeError("no memory\nleft")

    return answers("clumsy", restore)


def offer(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    """Let installed packages offer models (name, "module:function")."""
    offered = EntryPoints(EntryPoint(name, value, MODELS) for name, value in points)
    monkeypatch.setattr(decr.plugins, "entry_points", offered.select)


def test_a_plugin_restores_a_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, ("darker", f"{__name__}:darker"))
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(100, 130))
    config = DecloudConfig(model="darker", full=True, dn_range=(0, 2000), detector="threshold")
    result = declouds(scene, tmp_path / "o.tif", config)
    assert result.changed_px > 0
    with rasterio.open(scene) as before, rasterio.open(tmp_path / "o.tif") as after:
        old, new = before.read().astype(int), after.read().astype(int)
        assert after.tags(ns="DECR")["MODEL"] == "darker"
    inside = (old > 250) & (old < 2000)
    assert np.abs((old - new)[inside] - 250).max() <= 1


def evaluated(name: str) -> np.ndarray:
    """What a model makes of an image as `decr evaluate` sees it."""
    model = subjects_of([name], True, Sampling())[0]
    return in_order(model, np.zeros((4, 256, 256), np.float32), model.bands)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_model", "the model 'no_model' of .*:no_model made no Restorer"),
        ("broken", "the model 'broken' of .*:broken failed: OSError: its weights are missing"),
        ("gone", "the model 'gone' of .*:gone failed: AttributeError"),
        ("unsure", "the model unsure answered numbers from nan to nan"),
        ("flat", r"the model flat answered \(1, 1, 256, 256\), wanted \(1, 4, 256, 256\)"),
        ("low", r"the model low answered \(1, 4, 255, 256\), wanted"),
        ("loud", "the model loud answered numbers from 100 to 100"),
        ("clumsy", "model 'clumsy' of .*:clumsy failed: RuntimeError: no memory left"),
    ],
)
def test_a_bad_plugin_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    offer(monkeypatch, (name, f"{__name__}:{name}"))
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(40, 50))
    config = DecloudConfig(model=name, detector="threshold", full=True)
    with pytest.raises(ConfigError, match=message):
        declouds(scene, tmp_path / "o.tif", config)
    assert not (tmp_path / "o.tif").exists()
    with pytest.raises(ConfigError, match=message):
        evaluated(name)


def test_two_owners_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, ("darker", "one:make"), ("darker", "two:make"))
    with pytest.raises(ConfigError, match="two packages offer a model 'darker': one:make and two"):
        model_plugin("darker")
    assert model_plugin("lighter") is None
