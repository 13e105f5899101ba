"""The perceptual term: layers, bands, gradients, and files that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decr.errors import BundleError
from decr.training.published import objective
from decr.training.published_perceptual import load_perceptual

EARLY = ((0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128))
CHANNELS = (*EARLY, (10, 128, 256), (12, 256, 256), (14, 256, 256))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random numbers in VGG16's shapes, and a tensor that is not needed."""
    torch.manual_seed(0)
    state = {"classifier.0.weight": torch.zeros(1)}
    for index, cin, cout in CHANNELS:
        deviation = (2 / (9 * cin)) ** 0.5
        state[f"features.{index}.weight"] = deviation * torch.randn(cout, cin, 3, 3)
        state[f"features.{index}.bias"] = 0.1 * torch.randn(cout)
    path = tmp_path_factory.mktemp("vgg16") / "vgg16.pth"
    torch.save(state, path)
    return path


def images(bands: int, seed: int) -> Tensor:
    return torch.rand(2, bands, 16, 20, generator=torch.Generator().manual_seed(seed))


def published(weights: Path, a: Tensor, b: Tensor) -> float:
    """The distance by torchvision's own VGG16."""
    vgg = pytest.importorskip("torchvision.models.vgg")
    layers: nn.Sequential = vgg.make_layers(vgg.cfgs["D"])[:16]
    state = torch.load(weights, weights_only=True)
    kept = {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}
    layers.load_state_dict(kept)
    parts = []
    with torch.no_grad():
        for index, layer in enumerate(layers):
            a, b = layer(a.clone()), layer(b.clone())
            if index in (3, 8, 15):
                parts.append(float(F.mse_loss(a, b)))
    return sum(parts) / 3


def test_three_bands_are_compared_as_published(weights: Path) -> None:
    a, b = images(3, 0), images(3, 1)
    distance = load_perceptual(weights)
    assert float(distance(a, b)) == pytest.approx(published(weights, a, b), rel=1e-4)
    assert float(distance(a, a)) == 0


def test_four_bands_are_compared_one_by_one(weights: Path) -> None:
    a, b = images(4, 0), images(4, 1)
    distance = load_perceptual(weights)
    alone = [
        float(distance(a[:, [k] * 3], b[:, [k] * 3]))  # one band in the place of all three
        for k in range(4)
    ]
    assert float(distance(a, b)) == pytest.approx(sum(alone) / 4, rel=1e-4)


def test_gradients_reach_every_band_and_only_the_made_image(weights: Path) -> None:
    a, b = images(4, 0).requires_grad_(), images(4, 1).requires_grad_()
    load_perceptual(weights)(a, b).backward()  # type: ignore[no-untyped-call]
    assert a.grad is not None
    assert (a.grad.abs().amax(dim=(0, 2, 3)) > 0).all()
    assert b.grad is None


class Shift(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.5


class Indifferent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.new_full((len(x), 7), 2.0)


def test_the_term_enters_the_loss_of_msda(weights: Path) -> None:
    clear = images(3, 0)
    loss = objective("msda", weights).generator(Shift(), Indifferent(), clear, clear)
    term = float(load_perceptual(weights)(clear + 0.5, clear))
    assert term > 0.01
    assert float(loss) == pytest.approx(1.2 * 0.125 + 0.04 * term - 0.05 * 2.0, rel=1e-4)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere\.pth.*vgg16-397923af"):
        load_perceptual(tmp_path / "nowhere.pth")


def test_a_file_that_lacks_a_layer_or_has_another_shape_is_refused(
    weights: Path, tmp_path: Path
) -> None:
    state = torch.load(weights, weights_only=True)
    torch.save(state | {"features.7.bias": torch.zeros(3)}, tmp_path / "shape.pth")
    del state["features.14.weight"]
    torch.save(state, tmp_path / "lacking.pth")
    (tmp_path / "noise.pth").write_bytes(b"no weights")
    with pytest.raises(BundleError, match=r"lacking\.pth.*features\.14\.weight"):
        load_perceptual(tmp_path / "lacking.pth")
    for name, says in (("shape.pth", "cannot read VGG16"), ("noise.pth", "text, not weights")):
        with pytest.raises(BundleError, match=rf"{name}: {says}.*vgg16-397923af\.pth"):
            load_perceptual(tmp_path / name)
