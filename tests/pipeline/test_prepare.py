"""What is settled before any pixel is restored: which detector, and what range it is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decr.config import DecloudConfig
from decr.errors import BundleError, ConfigError
from decr.pipeline.declouds import declouds
from decr.pipeline.prepare import prepare
from decr.zoo.bundle import save_bundle
from tests.pipeline.scenes import cloudy_pixels, same, write_scene
from tests.tiny import DETECTOR, tiny_card, tiny_networks


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
    assert prepared.detector_radiometry == prepared.radiometry
    result = declouds(scene, tmp_path / "o.tif", DecloudConfig(detector=str(path)), restorer=same())
    assert result.changed_px == 0


def test_a_detector_sees_the_range_its_card_declares(scene: Path, tmp_path: Path) -> None:
    path = detector_bundle(tmp_path / "mine.safetensors", {"uint16": (0.0, 65535.0)})
    prepared = prepare(str(scene), DecloudConfig(detector=str(path)), same())
    assert prepared.detector_radiometry.high == (65535.0,) * 4
    assert prepared.radiometry.high[0] < 4096
    # What the user says holds for both.
    given = DecloudConfig(detector=str(path), dn_range=(0.0, 2047.0))
    assert prepare(str(scene), given, same()).detector_radiometry.high == (2047.0,) * 4


def test_the_detectors_range_decides_what_it_finds(scene: Path, tmp_path: Path) -> None:
    plain = detector_bundle(tmp_path / "a.safetensors", {})
    wide = detector_bundle(tmp_path / "b.safetensors", {"uint16": (0.0, 65535.0)})
    shown = []
    for path in (plain, wide):
        prepared = prepare(str(scene), DecloudConfig(detector=str(path)), same())
        shown.append(prepared.detector_radiometry.encode(np.full((4, 1, 1), 1900.0)))
    assert shown[0].mean() > 0.5
    assert shown[1].mean() < -0.9


def test_a_detector_that_is_none(scene: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.*neither.*bundle file"):
        prepare(str(scene), DecloudConfig(detector="nowhere"), same())
    with pytest.raises(BundleError):
        prepare(str(scene), DecloudConfig(detector=str(scene)), same())
