"""Models of other packages: found by name, used like ours, and blamed by name when they fail."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

import decr.plugins
from decr.config import DecloudConfig
from decr.errors import BundleError, ConfigError
from decr.evaluation.subjects import Sampling, restored_by, subjects_of
from decr.offered import offered_restorer
from decr.pipeline.declouds import declouds
from decr.pipeline.first_pass import plan_scene
from decr.pipeline.networks import in_any_folder
from decr.pipeline.prepare import prepare
from decr.plugins import MODELS, model_plugin
from decr.predictor import Restorer
from decr.zoo.embedded import find_bundle
from tests.pipeline.scenes import cloudy_pixels, write_scene


def darker(seed: int, device: str) -> Restorer:
    """A model of another package: everything a little darker."""

    def restore(tiles: np.ndarray, corners: Sequence[tuple[int, int]]) -> np.ndarray:
        return np.asarray(tiles - 0.25, np.float32)

    bands = ("red", "green", "blue", "nir")
    settings = {"model": "other", "version": "9", "strength": "0.25"}
    return Restorer("darker", f"1 {seed} {device}", bands, None, {}, settings, restore)


def no_model(seed: int, device: str) -> str:
    return "nothing"


def broken(seed: int, device: str) -> Restorer:
    raise OSError("its weights are missing")


def answers(name: str, restore: Callable[[np.ndarray], Any]) -> Restorer:
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


def learning(seed: int, device: str) -> Restorer:
    weight = torch.ones(1, requires_grad=True)
    return answers("learning", lambda tiles: torch.from_numpy(tiles) * weight)


def leaving(seed: int, device: str) -> Restorer:
    def restore(tiles: np.ndarray) -> np.ndarray:
        sys.exit(3)

    return answers("leaving", restore)


def gone_at_once(seed: int, device: str) -> Restorer:
    sys.exit("no CUDA\nhere")


def mute(seed: int, device: str) -> Restorer:
    return answers("mute", lambda tiles: None)


def ragged(seed: int, device: str) -> Restorer:
    return answers("ragged", lambda tiles: [tiles[0], tiles[0, :1]])


def unreal(seed: int, device: str) -> Restorer:
    return answers("unreal", lambda tiles: tiles.astype(np.complex64))


def masked(seed: int, device: str) -> Restorer:
    return answers("masked", lambda tiles: np.ma.masked_less(tiles, 0))


def cancelled(seed: int, device: str) -> Restorer:
    raise asyncio.CancelledError("by its own loop")


def offer(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    """Let installed packages offer models (name, "module:function")."""
    offered = EntryPoints(EntryPoint(name, value, MODELS) for name, value in points)
    monkeypatch.setattr(decr.plugins, "entry_points", offered.select)


@pytest.mark.parametrize(
    ("listed", "summary", "name"),
    [
        (b"[console_scripts]\nfoo\n", b"", "broken"),
        (b"[decr.models]\nm\xff = a:b\n", b"", "broken"),
        (b"[decr.models]\nm\xff = a:b\n", b"Summary: \xff\n", r"\(not found\)"),
    ],
)
def test_a_broken_list_of_another_package_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bytes, summary: bytes, name: str
) -> None:
    package = tmp_path / "broken-1.0.dist-info"
    package.mkdir()
    described = b"Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n"
    (package / "METADATA").write_bytes(described + summary)
    (package / "entry_points.txt").write_bytes(listed)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=rf"installed package {name} is damaged \(\w+Error: "):
        model_plugin("darker")


def test_a_plugin_restores_a_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, ("darker", f"{__name__}:darker"))
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(100, 130))
    config = DecloudConfig(model="darker", full=True, dn_range=(0, 2000), detector="threshold")
    result = declouds(scene, tmp_path / "o.tif", config)
    assert result.changed_px > 0
    with rasterio.open(scene) as before, rasterio.open(tmp_path / "o.tif") as after:
        old, new = before.read().astype(int), after.read().astype(int)
        tags = after.tags(ns="DECR")
    assert (tags["MODEL"], tags["VERSION"]) == ("darker", decr.__version__)
    assert tags["STRENGTH"] == "0.25"
    inside = (old > 250) & (old < 2000)
    assert np.abs((old - new)[inside] - 250).max() <= 1


def evaluated(name: str) -> np.ndarray:
    """What a model makes of an image as `decr evaluate` sees it."""
    model = subjects_of([name], True, Sampling())[0]
    return restored_by(model, np.zeros((4, 256, 256), np.float32), model.bands)


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
        ("learning", "model 'learning' of .*:learning failed: RuntimeError: .* requires grad"),
        ("leaving", "model 'leaving' of .*:leaving failed: SystemExit: 3"),
        ("gone_at_once", "model 'gone_at_once' of .* failed: SystemExit: no CUDA here"),
        ("cancelled", "model 'cancelled' of .* failed: CancelledError: by its own loop"),
        ("masked", "model 'masked' of .*: TypeError: it answered a masked array, wanted a number"),
        ("mute", "model 'mute' of .*: TypeError: it answered object, wanted real numbers"),
        ("ragged", "model 'ragged' of .*:ragged failed: ValueError: "),
        ("unreal", "model 'unreal' of .*: TypeError: it answered complex64, wanted real numbers"),
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
    with pytest.raises(ConfigError, match=message):
        plan_scene(str(scene), config)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": 5}, "name must be printable text, not 5; tell its authors"),
        ({"name": "a\udcff"}, r"name must be printable text, not 'a\\udcff'"),
        ({"version": None}, "version must be printable text, not None"),
        ({"version": "1\n2"}, r"version must be printable text, not '1\\n2'"),
        ({"bands": "red"}, r"bands must be some of blue, .*, not 'red'"),
        ({"bands": ()}, r"bands must be .* not \(\)"),
        ({"bands": ("r", "g")}, "bands must be .* each once, not .'r', 'g'.;"),
        ({"bands": ("red", "red")}, "bands must be .* each once"),
        ({"ranges": {"uint16": 2047}}, r"ranges must be .*, not \{'uint16': 2047\}"),
        ({"ranges": {"uint16": (0, 0)}}, "ranges must be a mapping"),
        ({"gsd_m": 0}, "gsd_m must be metres above 0, or None, not 0"),
        ({"gsd_m": "0.5"}, "gsd_m must be metres above 0, or None, not '0.5'"),
        ({"gsd_m": float("nan")}, "gsd_m must be"),
        (
            {"settings": None},
            "settings must be a mapping of texts to texts, all printable, not Non",
        ),
        ({"settings": {"a": "\udcff"}}, "settings must be .* all printable, not .'a'"),
        ({"settings": {"steps": 4}}, r"settings must be .*, not \{'steps': 4\}"),
        ({"settings": {"w": np.eye(90)}}, r"settings must be .* not \{'w': array.*; tell its auth"),
        ({"side_by_side": 0}, "side_by_side must be a whole number from 1 up, not 0"),
        ({"side_by_side": 2.0}, "side_by_side must be a whole number from 1 up, not 2.0"),
        ({"errors": "x"}, "errors must be an ErrorTable, or None, not 'x'"),
    ],
)
def test_what_a_plugin_makes_is_checked_before_any_work(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], says: str
) -> None:
    made = replace(darker(0, "cpu"), **fields)
    monkeypatch.setattr(f"{__name__}.darker", lambda seed, device: made)
    point = EntryPoint("darker", f"{__name__}:darker", MODELS)
    with pytest.raises(ConfigError, match=rf"^the model 'darker' of .*:darker: its {says}") as no:
        offered_restorer(point, 0, "cpu")
    assert "\n" not in str(no.value)


def test_fields_that_cannot_even_be_looked_at_are_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = replace(darker(0, "cpu"), gsd_m=10**400)
    monkeypatch.setattr(f"{__name__}.darker", lambda seed, device: made)
    point = EntryPoint("darker", f"{__name__}:darker", MODELS)
    with pytest.raises(ConfigError, match=r"^the model 'darker' of .* failed: OverflowError: "):
        offered_restorer(point, 0, "cpu")


def test_masks_of_a_restorer_in_memory_are_not_dropped(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(40, 50))
    config = DecloudConfig(detector="threshold", full=True)
    with pytest.raises(ConfigError, match="the model masked answered a masked array"):
        declouds(scene, tmp_path / "o.tif", config, restorer=masked(0, "cpu"))


def test_what_a_plugin_says_in_another_form_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    ranges: Any = {"uint16": [0, np.int64(2047)], "uint8": np.array([0, 255])}
    fields: dict[str, Any] = {"bands": ["red"], "ranges": ranges, "side_by_side": np.int64(2)}
    made = replace(darker(0, "cpu"), **fields)
    monkeypatch.setattr(f"{__name__}.darker", lambda seed, device: made)
    found = offered_restorer(EntryPoint("darker", f"{__name__}:darker", MODELS), 0, "cpu")
    assert (found.bands, found.side_by_side) == (("red",), 2)
    assert found.ranges == {"uint16": (0.0, 2047.0), "uint8": (0.0, 255.0)}


def test_weights_of_a_plugin_are_arrays_or_it_is_blamed() -> None:
    tiles = np.zeros((1, 4, 8, 8), np.float32)

    def weighed(answer: Any) -> tuple[np.ndarray, np.ndarray]:
        model = replace(darker(0, "cpu"), restore_weighed=lambda tiles, corners: answer)
        point = EntryPoint("pair", "pair:make", MODELS)
        point.__dict__["load"] = lambda: lambda seed, device: model
        restored = offered_restorer(point, 0, "cpu").restore_weighed
        assert restored is not None
        return restored(tiles, [(0, 0)])

    clear, weights = weighed((torch.from_numpy(tiles), np.ones((1, 8, 8))))
    assert (clear.dtype, weights.dtype) == (np.float32, np.float32)
    with pytest.raises(ConfigError, match="model 'pair' of pair:make failed: ValueError: not enou"):
        weighed(tiles)


def test_a_plugin_is_no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, ("darker", "one:make"))
    with pytest.raises(BundleError, match=r"darker: a model of an installed package \(one:make\)"):
        find_bundle("darker", scene_has_nir=True)


def test_names_of_our_models_stay_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("embedded", "embedded-rgb")
    offer(monkeypatch, *((name, f"{__name__}:no_model") for name in names))
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(40, 50)[:3], names=("b", "g", "r"))
    for name in names:
        config = DecloudConfig(model=name, detector="threshold", steps=1)
        prepared = prepare(str(scene), config)
        assert prepared.restorer.name == "embedded-rgb"
        assert subjects_of([name], False, Sampling())[0].name == "embedded-rgb"


def test_names_of_ours_travel_whoever_else_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("embedded", "embedded-rgb", "threshold"):
        offer(monkeypatch, (name, "one:make"), (name, "two:make"))
        assert in_any_folder(name, model_plugin) == name


def test_two_owners_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, ("darker", "one:make"), ("darker", "two:make"))
    with pytest.raises(ConfigError, match="two packages offer a model 'darker': one:make and two"):
        model_plugin("darker")
    assert model_plugin("lighter") is None
