"""Tests of LPIPS: the backbone is found, verified and used; nothing is downloaded."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from decr.errors import BundleError, DatasetError
from decr.evaluation.perceptual import (
    BACKBONE_VARIABLE,
    TORCHVISION_NAME,
    Lpips,
    find_backbone,
    load_lpips,
    lpips_of,
    read_backbone,
)

LAYERS = (0, 3, 6, 8, 10)
SHAPES = ((64, 3, 11, 11), (192, 64, 5, 5), (384, 192, 3, 3), (256, 384, 3, 3), (256, 256, 3, 3))


@pytest.fixture(scope="module")
def weights(shared: Path) -> Path:
    path = shared / "data" / "weights" / "lpips_alexnet.npz"
    if not path.is_file():
        pytest.skip(f"LPIPS' backbone absent: no file {path}")
    return path


@pytest.fixture(scope="module")
def network(weights: Path) -> Lpips:
    return load_lpips(weights)


def torchvision_state(weights: Path) -> dict[str, Tensor]:
    """The same numbers as torchvision would hold them, with a classifier that nobody reads."""
    with np.load(weights) as archive:
        state = {
            f"features.{layer}.{leaf}": torch.from_numpy(archive[f"conv{i}.{leaf}"])
            for i, layer in enumerate(LAYERS)
            for leaf in ("weight", "bias")
        }
    return state | {"classifier.6.bias": torch.zeros(1000)}


def wrong_arrays() -> dict[str, NDArray[np.float32]]:
    """A backbone of the right shapes and the wrong numbers."""
    arrays = {f"conv{i}.weight": np.zeros(shape, np.float32) for i, shape in enumerate(SHAPES)}
    return arrays | {f"conv{i}.bias": np.zeros(s[0], np.float32) for i, s in enumerate(SHAPES)}


def images(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand((count, 3, 64, 72), generator=generator) * 2 - 1
    b = (a + 0.2 * torch.randn(a.shape, generator=generator)).clamp(-1, 1)
    return a, b


def test_distances_equal_the_package_with_weights_loaded_by_hand(
    weights: Path, network: Lpips
) -> None:
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    with np.load(weights) as archive:
        for i, layer in enumerate(LAYERS):
            convolution = getattr(getattr(oracle.net, f"slice{i + 1}"), str(layer))
            convolution.weight.data = torch.from_numpy(archive[f"conv{i}.weight"])
            convolution.bias.data = torch.from_numpy(archive[f"conv{i}.bias"])
    a, b = images(2)
    with torch.no_grad():
        wanted = oracle(a, b).reshape(-1)
    got = network(a, b)
    assert got.shape == (2,)
    torch.testing.assert_close(got, wanted, atol=1e-6, rtol=0)
    assert bool((got > 0).all())


def test_equal_images_are_at_zero_and_order_does_not_matter(network: Lpips) -> None:
    a, b = images(2)
    assert network(a, a).tolist() == [0.0, 0.0]
    torch.testing.assert_close(network(a, b), network(b, a))
    assert lpips_of(a[0].numpy(), a[0].numpy(), network) == 0.0


def test_four_bands_are_the_mean_of_replicated_bands(network: Lpips) -> None:
    a, b = (x.reshape(-1, 64, 72)[:4] for x in images(2))
    bands = [
        float(network(x.expand(1, 3, -1, -1), y.expand(1, 3, -1, -1)))
        for x, y in zip(a, b, strict=True)
    ]
    assert lpips_of(a.numpy(), b.numpy(), network) == pytest.approx(np.mean(bands), abs=1e-6)


def test_the_published_way_takes_bytes_as_they_are(network: Lpips) -> None:
    a, b = ((x[0] + 1).mul(127.5).to(torch.uint8) for x in images(1))
    wanted = float(network(a[None].float(), b[None].float()))
    assert lpips_of(a.numpy(), b.numpy(), network) == pytest.approx(wanted, abs=1e-7)
    assert wanted < lpips_of(*((x.numpy() / 127.5 - 1) for x in (a, b)), network)


def test_loading_is_silent_and_leaves_randomness_alone(
    weights: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    before = torch.get_rng_state()
    loaded = load_lpips(weights)
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")
    assert [str(w.message) for w in recwarn] == []
    assert not any(p.requires_grad for p in loaded.network.parameters())
    assert not loaded.network.training


def test_torchvisions_file_gives_the_same(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / TORCHVISION_NAME
    torch.save(torchvision_state(weights), path)
    wanted, got = read_backbone(weights), read_backbone(path)
    assert list(got) == list(wanted)
    assert all(np.array_equal(got[key], wanted[key]) for key in wanted)


def test_one_changed_number_is_noticed(weights: Path, tmp_path: Path) -> None:
    state = torchvision_state(weights)
    state["features.10.bias"][0] += 1e-6
    path = tmp_path / TORCHVISION_NAME
    torch.save(state, path)
    with pytest.raises(BundleError, match="not the ImageNet AlexNet's"):
        load_lpips(path)


def test_other_shapes_are_noticed(weights: Path, tmp_path: Path) -> None:
    state = torchvision_state(weights)
    state["features.0.weight"] = state["features.0.weight"].reshape(64, -1)
    path = tmp_path / TORCHVISION_NAME
    torch.save(state, path)
    with pytest.raises(BundleError, match="other shapes"):
        load_lpips(path)


def test_images_that_cannot_be_compared_are_refused(network: Lpips) -> None:
    a, _ = images(1)
    for x, y in ((a, a[:, :2]), (a[:, :2], a[:, :2]), (a[0], a[0]), (a[..., :30], a[..., :30])):
        with pytest.raises(DatasetError, match="cannot be compared"):
            network(x, y)
    assert network(a[..., :31, :31], a[..., :31, :31]).tolist() == [0.0]
    with pytest.raises(DatasetError, match="NaN"):
        network(a, a * torch.nan)
    with pytest.raises(DatasetError, match="cannot be compared"):
        lpips_of(a[0].numpy(), a[0, 0].numpy(), network)


def write_text(path: Path) -> None:
    path.write_text("<html>404</html>\nnot found")


def write_list(path: Path) -> None:
    torch.save([1, 2], path)


def write_other_network(path: Path) -> None:
    torch.save({"layer1.weight": torch.zeros(2)}, path)


def write_code(path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), path)


def write_zeros(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **wrong_arrays())


def write_half(path: Path) -> None:
    write_zeros(path)
    path.write_bytes(path.read_bytes()[:1000])


def write_words(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **(wrong_arrays() | {"conv0.bias": np.array(["a"])}))


@pytest.mark.parametrize(
    ("write", "name", "message"),
    [
        (write_text, "a.pth", "a web page, not weights: the download failed"),
        (write_text, "a.npz", "not a readable .npz of arrays; give torchvision's alexnet"),
        (write_list, "a.pth", r"holds list, not the state_dict\(\)"),
        (write_code, "a.pth", "asks to run code .* get the file from its authors again"),
        (write_other_network, "a.pth", r"lacks the tensor 'features\.0\.weight'"),
        (write_zeros, "a.npz", "not the ImageNet AlexNet's"),
        (write_half, "a.npz", "not a readable .npz of arrays"),
        (write_words, "a.npz", r"lacks the tensor 'features\.0\.bias'"),
    ],
)
def test_wrong_files_are_refused_in_one_line(
    tmp_path: Path, write: Callable[[Path], None], name: str, message: str
) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(BundleError, match=message) as caught:
        load_lpips(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_the_backbone_is_looked_for_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, named = tmp_path / "given.npz", tmp_path / "named.npz"
    cached = tmp_path / "hub" / "checkpoints" / TORCHVISION_NAME
    cached.parent.mkdir(parents=True)
    monkeypatch.delenv(BACKBONE_VARIABLE, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(BundleError) as caught:
        find_backbone()
    for part in (TORCHVISION_NAME, str(cached), BACKBONE_VARIABLE):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    cached.touch()
    assert find_backbone() == cached
    monkeypatch.setenv(BACKBONE_VARIABLE, str(named))
    with pytest.raises(BundleError, match=f"named.npz: no such file; {BACKBONE_VARIABLE}"):
        find_backbone()
    named.touch()
    assert find_backbone() == named
    with pytest.raises(BundleError, match=r"given.npz: no such file; the path given"):
        find_backbone(given)
    given.touch()
    assert find_backbone(given) == given


def test_a_package_with_other_heads_is_refused(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lpips

    original = lpips.LPIPS

    def changed(**options: Any) -> Any:
        network = original(**options)
        network.lin0.model[-1].weight.data *= 2
        return network

    monkeypatch.setattr(lpips, "LPIPS", changed)
    with pytest.raises(BundleError, match="linear layers other than"):
        load_lpips(weights)
