"""What is settled before any pixel is restored: which detector, and what range it is shown."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.shutil import copy as gdal_copy

from decr.config import CcpConfig, DecloudConfig
from decr.coverage.ccp import looking, scene_ccp
from decr.coverage.sources import Source
from decr.errors import BundleError, ConfigError, SceneError
from decr.pipeline import prepare as prepare_module
from decr.pipeline.declouds import declouds
from decr.pipeline.engine import local_engine
from decr.pipeline.prepare import prepare
from decr.radiometry import for_detector
from decr.zoo.bundle import save_bundle
from tests.pipeline.scenes import cloudy_pixels, same, write_scene
from tests.tiny import DETECTOR, tiny_bundle, tiny_card, tiny_networks


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene.tif", cloudy_pixels(300, 300))


def detector_bundle(path: Path, ranges: dict[str, tuple[float, float]]) -> Path:
    card = replace(tiny_card(DETECTOR, 4), name="mine", gsd_m=1.0, ranges=ranges)
    save_bundle(path, card, tiny_networks(DETECTOR, 4))
    return path


def test_a_detector_may_come_from_a_file(scene: Path, tmp_path: Path) -> None:
    path = detector_bundle(tmp_path / "mine.safetensors", {})
    prepared = prepare(str(scene), DecloudConfig(detector=str(path)), same())
    assert prepared.detector.name == "mine"
    assert prepared.detector_radiometry == for_detector(prepared.composer.radiometry, "uint16")
    assert prepared.detector_radiometry.low < prepared.composer.radiometry.low
    result = declouds(scene, tmp_path / "o.tif", DecloudConfig(detector=str(path)), restorer=same())
    assert result.changed_px == 0


def test_a_detector_sees_the_range_its_card_declares(scene: Path, tmp_path: Path) -> None:
    path = detector_bundle(tmp_path / "mine.safetensors", {"uint16": (0.0, 65535.0)})
    prepared = prepare(str(scene), DecloudConfig(detector=str(path)), same())
    assert prepared.detector_radiometry.high == (65535.0,) * 4
    assert prepared.composer.radiometry.high[0] < 4096
    # What the user says holds for both.
    given = DecloudConfig(detector=str(path), dn_range=(0.0, 2047.0))
    assert prepare(str(scene), given, same()).detector_radiometry.high == (2047.0,) * 4


def test_reflectance_is_shown_to_a_detector_as_it_is(tmp_path: Path) -> None:
    pixels = (cloudy_pixels(300, 300) / 4000).astype(np.float32)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    prepared = prepare(str(scene), DecloudConfig(detector="threshold"), same())
    assert (prepared.detector_radiometry.low[0], prepared.detector_radiometry.high[0]) == (0, 1)
    # What restores it sees the scene's own range, as before.
    assert prepared.composer.radiometry.source == "estimated"
    assert prepared.composer.radiometry.high[0] < 0.6
    with local_engine() as engine:
        found = scene_ccp(Source("s", str(scene)), looking(CcpConfig(detector="threshold"), engine))
    assert found.facts["DN range"] == "0 to 1 (reflectance)"


def test_the_detectors_range_decides_what_it_finds(scene: Path, tmp_path: Path) -> None:
    plain = detector_bundle(tmp_path / "a.safetensors", {})
    wide = detector_bundle(tmp_path / "b.safetensors", {"uint16": (0.0, 65535.0)})
    shown = []
    for path in (plain, wide):
        prepared = prepare(str(scene), DecloudConfig(detector=str(path)), same())
        shown.append(prepared.detector_radiometry.encode(np.full((4, 1, 1), 1900.0)))
    assert shown[0].mean() > 0.5
    assert shown[1].mean() < -0.9


def test_what_is_no_detector_is_refused(scene: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.*neither.*bundle file"):
        prepare(str(scene), DecloudConfig(detector="nowhere"), same())
    with pytest.raises(BundleError):
        prepare(str(scene), DecloudConfig(detector=str(scene)), same())


@pytest.mark.parametrize(("name", "is_told"), [("s.png", True), ("s.tif", False)])
def test_large_scenes_that_are_decoded_from_the_top_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_told: bool
) -> None:
    monkeypatch.setattr(prepare_module, "_MANY_PX", 300 * 300)
    pixels, names = cloudy_pixels(300, 300)[:3], ("red", "green", "blue")
    plain = write_scene(tmp_path / "plain.tif", pixels, names=names)
    gdal_copy(plain, tmp_path / name, driver="PNG" if is_told else "GTiff")
    config = DecloudConfig(detector="threshold", bands="r,g,b")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        prepare(str(tmp_path / name), config, same(names))
    assert any("decoded from its top" in str(one.message) for one in told) is is_told


@pytest.mark.parametrize("tiled", [False, True])
def test_wide_scenes_in_rows_are_told(tmp_path: Path, tiled: bool) -> None:
    blocks = {"tiled": True, "blockxsize": 256, "blockysize": 256} if tiled else {}
    pixels = np.tile(cloudy_pixels(64, 600), (1, 1, 30))
    path = write_scene(tmp_path / "wide.tif", pixels, **blocks)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        prepare(str(path), DecloudConfig(detector="threshold"), same())
    assert any("stored in rows of 18000 px" in str(one.message) for one in told) is not tiled


def test_pixels_of_no_size_are_one_error(tmp_path: Path) -> None:
    flat = write_scene(
        tmp_path / "flat.tif", cloudy_pixels(64, 64), transform=Affine(0, 0, 5, 0, 0, 7)
    )
    with pytest.raises(SceneError, match="pixels have no size"):
        prepare(str(flat), DecloudConfig(detector="threshold"), replace(same(), gsd_m=0.5))
    tiny = Affine(1e-9, 0, 5e5, 0, -1e-9, 4e6)
    small = write_scene(tmp_path / "small.tif", cloudy_pixels(64, 64), transform=tiny)
    config = DecloudConfig(detector="threshold", gsd="model")
    with pytest.raises(ConfigError, match="less than one pixel of the model"):
        prepare(str(small), config, replace(same(), gsd_m=0.5))


@pytest.mark.parametrize(("steps", "floor", "told"), [(1, 0.3, 1), (2, 0.3, 0), (1, 1.0, 0)])
def test_a_single_step_which_leaves_noise_is_told(
    scene: Path, tmp_path: Path, steps: int, floor: float, told: int
) -> None:
    model = tiny_bundle(tmp_path, 4)
    config = DecloudConfig(detector="threshold", model=model, steps=steps, prior_floor=floor)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prepare(str(scene), config)
    assert len([w for w in caught if "leaves noise where it restores" in str(w.message)]) == told
