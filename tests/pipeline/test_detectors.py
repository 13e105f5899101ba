"""Detectors by name: Cloud-Net as imported, other packages', OmniCloudMask, and a user's mask."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from affine import Affine
from numpy.typing import NDArray

import decr.plugins
from decr.cloud.coverage import Coverage
from decr.cloud.detector import Detector
from decr.config import CcpConfig, DecloudConfig
from decr.coverage.ccp import SceneCcp, looking, scene_ccp
from decr.coverage.sources import Source
from decr.errors import ConfigError
from decr.pipeline.declouds import declouds
from decr.pipeline.engine import local_engine
from decr.pipeline.first_pass import plan_scene
from decr.pipeline.networks import CLOUDNET_VARIABLE, DetectorChoice, detector_of
from decr.plugins import DETECTORS, detector_plugin
from decr.predictor import load_detector
from decr.zoo.imports import import_checkpoint
from tests.golden.common import finish
from tests.golden.vectors import VectorFile, fill_all, params_checksum
from tests.pipeline.scenes import cloudy_pixels, read, same, write_scene
from tests.zoo import checkpoints

Float32 = NDArray[np.float32]
LANDSAT = Affine(30.0, 0, 500_000, 0, -30.0, 4_000_000)


def found(scene: Path, folder: Path | None = None, **options: Any) -> SceneCcp:
    with local_engine() as engine:
        look = looking(CcpConfig(**options), engine)
        return scene_ccp(Source("scene", str(scene)), look, folder)


# Cloud-Net


def test_golden_cloud_net_through_a_keras_file(shared: Path, tmp_path: Path) -> None:
    """The golden vector's weights, written as Keras does, imported, run as a detector."""
    path = shared / "reference" / "golden" / "cloudnet_4b_64x64.npz"
    if not path.is_file():
        pytest.skip(f"real data absent: no file {path}")
    file = VectorFile.read(path)
    net = checkpoints.network("cloudnet", 4)
    shapes = {key: value.shape for key, value in checkpoints.keras_arrays(net).items()}
    arrays = fill_all(shapes, file.meta["seed"], file.meta["gain"])
    checkpoints.h5_weights(tmp_path / "cloudnet.h5", arrays)
    import_checkpoint(tmp_path / "cloudnet.h5", tmp_path / "c.safetensors")
    detector = load_detector(tmp_path / "c.safetensors", "cpu")
    views = np.ascontiguousarray(np.moveaxis(file.inputs()["y"], -1, 1), np.float32)
    probability = detector.probability(views)
    checks = finish(file, params_checksum(arrays), {"prob": probability[..., None]})
    assert checks
    assert [check for check in checks if not check.ok] == []


@pytest.fixture
def cloudnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, torch.nn.Module]:
    """A bundle of a small Cloud-Net, imported from a Keras file, and the network itself."""
    checkpoints.make_sizes_small(monkeypatch)
    net = checkpoints.network("cloudnet", 4, checkpoints.SMALL["cloudnet"])
    checkpoints.h5_model(tmp_path / "cloudnet.h5", checkpoints.keras_arrays(net))
    import_checkpoint(tmp_path / "cloudnet.h5", tmp_path / "c.safetensors")
    return tmp_path / "c.safetensors", net


@pytest.mark.parametrize("by", ["file", "name"])
def test_cloud_net_sees_landsat_numbers_in_its_own_order(
    tmp_path: Path, cloudnet: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    bundle, net = cloudnet
    pixels = np.random.default_rng(0).integers(0, 65536, (4, 256, 256)).astype("uint16")
    scene = write_scene(tmp_path / "s.tif", pixels, transform=LANDSAT)  # blue, green, red, nir
    monkeypatch.setenv(CLOUDNET_VARIABLE, str(bundle))
    got = found(scene, tmp_path / "o", detector=str(bundle) if by == "file" else "cloudnet")
    assert got.facts["cell"] == "1 x 1 pixels"
    assert got.facts["DN range"] == "0 to 65535 (model)"
    view = torch.from_numpy(pixels[[2, 1, 0, 3]].astype(np.float32) / 65535)
    with torch.no_grad():
        wanted = net(view[None])[0, 0].numpy()
    assert wanted.std() > 0.001  # the weights are random, yet not all pixels are alike
    stored = read(tmp_path / "o" / "scene_probability.tif")[0]
    assert np.abs(stored / 250 - wanted).max() <= 0.5 / 250 + 1e-3


def test_cloud_net_without_weights_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CLOUDNET_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=r"decr models import .* DECR_CLOUDNET"):
        detector_of(DetectorChoice("cloudnet", "cpu"))


# Other packages


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


# OmniCloudMask, by a module that answers as its documentation says


def fake(monkeypatch: pytest.MonkeyPatch, classes: int = 4) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def predict_from_array(view: Float32, **options: Any) -> Float32:
        calls.append({"shape": view.shape, **options})
        red = view[0]
        thick, thin = red > 0.7, (red > 0.3) & (red <= 0.7)
        shadow = red < 0.01
        clear = ~(thick | thin | shadow)
        return np.stack([clear, thick, thin, shadow][:classes]).astype(np.float32)

    module = ModuleType("omnicloudmask")
    module.predict_from_array = predict_from_array  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "omnicloudmask", module)
    return calls


def test_omnicloudmask_is_given_three_bands_and_its_thin_cloud_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake(monkeypatch)
    pixels = np.full((4, 256, 256), 20, "uint8")
    pixels[2, :64] = 120  # red: thin
    pixels[2, 64:96] = 250  # thick
    place = Affine(10.0, 0, 500_000, 0, -10.0, 4_000_000)
    scene = write_scene(tmp_path / "s.tif", pixels, transform=place)
    got = found(scene, detector="omnicloudmask", device="cpu")
    assert got.coverage == Coverage(96 * 256, 256 * 256, 64 * 256)
    assert got.facts["detector"] == "omnicloudmask"
    (call,) = calls
    assert call["shape"] == (3, 256, 256)
    assert (call["patch_size"], call["inference_device"]) == (256, "cpu")
    assert call["export_confidence"]
    assert not call["apply_no_data_mask"]


def test_omnicloudmask_of_another_kind_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(monkeypatch, classes=2)
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(256, 256))
    with pytest.raises(ConfigError, match=r"omnicloudmask answered \(2, "):
        found(scene, detector="omnicloudmask", device="cpu")


def test_omnicloudmask_absent_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "omnicloudmask", None)
    with pytest.raises(ConfigError, match=r"pip install 'decr\[omnicloudmask\]'"):
        detector_of(DetectorChoice("omnicloudmask", "cpu"))


# A user's mask


def test_file_and_cloud_mask_are_one_thing_for_declouds(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(300, 400))
    mask = np.zeros((1, 300, 400), "uint8")
    mask[0, 50:90, 100:160] = 7
    path = write_scene(tmp_path / "m.tif", mask, names=None)
    outs = []
    for number, options in enumerate(({"cloud_mask": path}, {"detector": f"file:{path}"})):
        out = tmp_path / f"{number}.tif"
        declouds(scene, out, DecloudConfig(**options), restorer=same())  # type: ignore[arg-type]
        outs.append(out.read_bytes())
    assert outs[0] == outs[1]


def test_two_masks_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match="two cloud masks"):
        DecloudConfig(detector="file:a.tif", cloud_mask=Path("b.tif"))
    assert DecloudConfig(detector="file:a.tif") == DecloudConfig(cloud_mask=Path("a.tif"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detector": "file:"}, "names no mask"),
        ({"cloudy": (1,)}, "of a mask only"),
        ({"detector": "file:m.tif", "fast": True}, "overviews cannot be used"),
        ({"threshold": 0.0}, "threshold"),
        ({"min_object_m2": -1.0}, "min_object_m2"),
        ({"tile_px": 10**20}, "less than 2 billion"),
        ({"margin_m": float("inf")}, "margin_m"),
        ({"tile_px": 0}, "tiles"),
        ({"gsd_m": 0.0}, "GSD"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CcpConfig(**options)


@pytest.mark.parametrize("thin", [(0,), (3,)])
def test_thin_cloud_must_be_cloud(tmp_path: Path, thin: tuple[int, ...]) -> None:
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(40, 50))
    with pytest.raises(ConfigError, match="must be cloudy, too"):
        found(scene, detector=f"file:{scene}", cloudy=(1, 2), thin=thin)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_damaged_mask_is_named(tmp_path: Path, keep: float) -> None:
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(300, 400))
    mask = write_scene(tmp_path / "m.tif", cloudy_pixels(300, 400)[:1], names=None)
    data = mask.read_bytes()
    mask.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(decr.DecrError, match=r"m\.tif"):
        found(scene, detector=f"file:{mask}")
