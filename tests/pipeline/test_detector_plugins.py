"""Detectors of other packages: what they are asked, what they answer, and who is blamed."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import decr.plugins
from decr.cloud.coverage import Coverage
from decr.cloud.detector import Detector
from decr.config import DecloudConfig
from decr.errors import ConfigError
from decr.pipeline.first_pass import plan_scene
from decr.pipeline.networks import DetectorChoice, detector_of
from decr.plugins import DETECTORS, detector_plugin
from tests.coverage.looked_at import found
from tests.pipeline.scenes import LANDSAT, cloudy_pixels, read, write_scene

Float32 = NDArray[np.float32]


def haze(device: str) -> Detector:
    """A detector of another package, which tells thin cloud from thick: by brightness."""

    def probability(views: Float32) -> Float32:
        bright = views[:, 0]
        return np.stack([bright > 0.3, bright > 0.7], axis=1).astype(np.float32)

    return Detector("haze", f"1 {device}", ("red",), 0.5, probability, tells_thin=True)


def shady(device: str) -> Detector:
    """A detector that finds cloud where not even the darkest pixel of a cell is dark."""

    def probability(views: Float32) -> Float32:
        mean, least = views[:, 0], views[:, 1]
        assert (least <= mean).all()
        return np.asarray(least > 0.3, np.float32)

    return Detector("shady", "1", ("red",), 4.0, probability, darkest=True)


def sharp(device: str) -> Detector:
    """Everything is cloud, unless cells are fine: then it is `shady`."""

    def probability(views: Float32) -> Float32:
        assert views.shape[1] == 1
        return np.ones((len(views), *views.shape[2:]), np.float32)

    return Detector("sharp", "1", ("red",), 4.0, probability, fine=(shady(device),))


def nothing(device: str) -> str:
    return "nothing"


def broken(device: str) -> Detector:
    raise OSError("its weights are missing")


def wrong(device: str) -> Detector:
    return Detector("wrong", "1", ("red",), 4.0, lambda views: views)


def unsure(device: str) -> Detector:
    return Detector("unsure", "1", ("red",), 4.0, lambda views: views[:, 0] * np.nan)


def loud(device: str) -> Detector:
    return Detector("loud", "1", ("red",), 4.0, lambda views: views[:, 0] * 0 + 5)


def negative(device: str) -> Detector:
    return Detector("negative", "1", ("red",), 4.0, lambda views: views[:, 0] * 0 - 1)


def clumsy(device: str) -> Detector:
    def probability(views: Float32) -> Float32:
        raise RuntimeError("no memory\nleft")

    return Detector("clumsy", "1", ("red",), 4.0, probability)


def learning(device: str) -> Detector:
    weight = torch.ones(1, requires_grad=True)
    answer: Any = lambda views: torch.from_numpy(views)[:, 0] * weight  # noqa: E731
    return Detector("learning", "1", ("red",), 4.0, answer)


def masked(device: str) -> Detector:
    return Detector("masked", "1", ("red",), 4.0, lambda views: np.ma.masked_less(views[:, 0], 1))


def offer(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    offered = EntryPoints(EntryPoint(name, value, DETECTORS) for name, value in points)
    monkeypatch.setattr(decr.plugins, "entry_points", offered.select)


def test_a_plugin_tells_thin_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, ("haze", f"{__name__}:haze"))
    pixels = np.full((4, 300, 400), 20, "uint8")
    pixels[:, :100] = 120
    pixels[:, 100:150, :200] = 250
    scene = write_scene(tmp_path / "s.tif", pixels)
    got = found(scene, tmp_path / "o", detector="haze", device="cpu")
    assert got.coverage == Coverage(40_000 + 10_000, 120_000, 40_000)
    assert got.facts["detector version"] == "1 cpu"
    assert "thin" in got.facts["definition"]
    mask = read(tmp_path / "o" / "scene_mask.tif")
    np.testing.assert_array_equal(mask[0], pixels[0] > 76)
    np.testing.assert_array_equal(mask[1], pixels[0] == 120)


def test_a_detector_may_see_the_darkest_of_each_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, ("shady", f"{__name__}:shady"))
    pixels = np.full((4, 512, 512), 200, "uint8")
    pixels[:, :256, ::8] = 20  # a shadow in each cell of 8 x 8 pixels, whose means stay bright
    got = found(write_scene(tmp_path / "s.tif", pixels), detector="shady")
    assert got.ccp == 0.5


def test_the_fine_part_sees_fine_scenes_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, ("sharp", f"{__name__}:sharp"))
    pixels = np.full((4, 512, 512), 200, "uint8")
    pixels[:, :256, ::8] = 20
    fine = found(write_scene(tmp_path / "fine.tif", pixels), detector="sharp")
    coarse = found(
        write_scene(tmp_path / "coarse.tif", pixels, transform=LANDSAT), detector="sharp"
    )
    assert (fine.ccp, coarse.ccp) == (0.5, 1.0)


def test_a_plugin_decides_what_declouds_touches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, ("haze", f"{__name__}:haze"))
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(200, 300))
    config = DecloudConfig(detector="haze", dn_range=(0, 2047))
    assert (
        plan_scene(str(scene), config).ccp == found(scene, detector="haze", dn_range=(0, 2047)).ccp
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "the detector 'nothing' of .*:nothing made no Detector"),
        ("broken", "the detector 'broken' of .*:broken failed: OSError: its weights are missing"),
        ("gone", "the detector 'gone' of .*:gone failed: AttributeError"),
        ("wrong", "the detector wrong answered .* wanted"),
        ("unsure", "the detector unsure answered .* finite numbers"),
        ("loud", "the detector loud answered numbers from 5 to 5"),
        ("negative", "the detector negative answered numbers from -1 to -1"),
        ("clumsy", "detector 'clumsy' of .*:clumsy failed: RuntimeError: no memory left"),
        ("learning", "detector 'learning' of .*:learning failed: RuntimeError: .* requires grad"),
        ("masked", "detector 'masked' of .*:masked failed: TypeError: it answered a masked array"),
        ("other", "other: neither a detector's bundle file nor one of compact, threshold"),
        ("treshold", "treshold: neither .* of an installed package; is threshold meant?"),
    ],
)
def test_a_bad_plugin_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    if name not in ("other", "treshold"):
        offer(monkeypatch, (name, f"{__name__}:{name}"))
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(40, 50))
    with pytest.raises(ConfigError, match=message):
        found(scene, tmp_path / "o", detector=name)
    assert list(tmp_path.glob("o/*")) == []


PART = shady("cpu")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"version": 1}, "version must be printable text, not 1; tell its authors"),
        ({"bands": ("r",)}, "bands must be .*, not .'r',.;"),
        ({"ranges": None}, "ranges must be .*, not None"),
        ({"gsd_m": None}, "gsd_m must be metres above 0, not None"),
        ({"gsd_m": float("nan")}, "gsd_m must be metres above 0, not nan"),
        ({"gsd_range_m": None}, r"gsd_range_m must be \(least, most\) metres, not None"),
        ({"gsd_range_m": (5.0, 2.0)}, "gsd_range_m must be"),
        ({"fine": PART}, "fine must be a tuple of Detectors of the same gsd_m and tells_thin, wit"),
        ({"fine": (replace(PART, ice=PART),)}, "fine must be .* without parts"),
        ({"ice": "x"}, "ice must be a Detector of the same gsd_m and tells_thin, wit.* not 'x'"),
        ({"ice": replace(PART, gsd_m=2.0)}, "ice must be"),
        ({"ice": replace(PART, fine=(PART,))}, "ice must be"),
        ({"ice": replace(PART, version=5)}, "version must be"),  # type: ignore[arg-type]
        ({"darkest": 2}, "darkest must be True or False, not 2"),
        ({"tells_thin": "no"}, "tells_thin must be True or False, not 'no'"),
        ({"fine": ("x",)}, "fine must be .*, not .'x',.;"),
        ({"fine": (replace(PART, gsd_m=2.0),)}, "fine must be"),
        ({"fine": (replace(PART, tells_thin=True),)}, "fine must be"),
        ({"fine": (replace(PART, name=5),)}, "name must be printable text, not 5"),  # type: ignore[arg-type]
    ],
)
def test_what_a_plugin_makes_is_checked_before_any_work(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], says: str
) -> None:
    made = replace(shady("cpu"), **fields)
    monkeypatch.setattr(f"{__name__}.shady", lambda device: made)
    offer(monkeypatch, ("shady", f"{__name__}:shady"))
    with pytest.raises(ConfigError, match=rf"^the detector 'shady' of .*:shady: its {says}"):
        detector_of(DetectorChoice("shady", "cpu"))


def test_what_looks_at_reflectance_is_guarded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made = replace(shady("cpu"), ice=clumsy("cpu"))
    monkeypatch.setattr(f"{__name__}.shady", lambda device: made)
    offer(monkeypatch, ("shady", f"{__name__}:shady"))
    ice = detector_of(DetectorChoice("shady", "cpu")).for_reflectance(["red"])
    with pytest.raises(ConfigError, match=r"'shady' of .* failed: RuntimeError: no memory"):
        ice.probability(np.zeros((1, 1, 8, 8), np.float32))


def test_a_detector_that_two_packages_offer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, ("haze", "one:make"), ("haze", "two:make"))
    with pytest.raises(ConfigError, match="two packages offer a detector 'haze': one:make and two"):
        detector_plugin("haze")
