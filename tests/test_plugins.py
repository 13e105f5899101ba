"""Models of other packages: found by name, used like ours, and blamed by name when they fail."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest
import rasterio

import decr.plugins
from decr.config import DecloudConfig
from decr.errors import ConfigError
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_model", "the model 'no_model' of .*:no_model made no Restorer"),
        ("broken", "the model 'broken' of .*:broken failed: OSError: its weights are missing"),
        ("gone", "the model 'gone' of .*:gone failed: AttributeError"),
    ],
)
def test_a_bad_plugin_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    offer(monkeypatch, (name, f"{__name__}:{name}"))
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(40, 50))
    with pytest.raises(ConfigError, match=message):
        declouds(scene, tmp_path / "o.tif", DecloudConfig(model=name, detector="threshold"))
    assert not (tmp_path / "o.tif").exists()


def test_two_owners_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, ("darker", "one:make"), ("darker", "two:make"))
    with pytest.raises(ConfigError, match="two packages offer a model 'darker': one:make and two"):
        model_plugin("darker")
    assert model_plugin("lighter") is None
