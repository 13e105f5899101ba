"""Detectors by name: Cloud-Net as imported, OmniCloudMask, and a user's mask."""

from __future__ import annotations

import sys
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
from decr.config import CcpConfig, DecloudConfig
from decr.errors import ConfigError
from decr.pipeline.declouds import declouds
from decr.pipeline.networks import CLOUDNET_VARIABLE, DetectorChoice, detector_of
from decr.predictor import load_detector
from decr.zoo.imports import import_checkpoint
from tests.coverage.looked_at import found
from tests.golden.common import finish
from tests.golden.vectors import VectorFile, fill_all, params_checksum
from tests.pipeline.scenes import LANDSAT, cloudy_pixels, read, same, write_scene
from tests.zoo import checkpoints

Float32 = NDArray[np.float32]


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
