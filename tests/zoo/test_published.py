"""Tests of recognising published checkpoints: the right network, strictly, or the key at fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_model
from torch import Tensor, nn

from decr.errors import BundleError
from decr.models.registry import create
from decr.zoo import published as module
from decr.zoo.published import NETWORKS, read_published
from tests.models.published import published_shapes
from tests.zoo import checkpoints
from tests.zoo.checkpoints import de_checkpoint, keras_arrays, network, published

WRITERS = [checkpoints.torch_zip, checkpoints.torch_legacy, checkpoints.safetensors]


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.make_sizes_small(monkeypatch)


def small_network(name: str, bands: int, seed: int = 0) -> nn.Module:
    return network(name, bands, checkpoints.SMALL[name], seed)


def saved(folder: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, folder / "weights.pth")
    return folder / "weights.pth"


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_keys_and_shapes_are_the_published_ones(shared: Path, name: str, bands: int) -> None:
    prefix = checkpoints.PREFIXES.get(name, "")
    ours = module._published_shapes(name, bands)
    assert {prefix + key: shape for key, shape in ours.items()} == published_shapes(
        shared, f"{name}_{bands}band"
    )


@pytest.mark.parametrize(
    ("name", "bands"),
    [("memorynet", 4), ("msda", 3), ("spagan", 3), ("spagan", 4), ("amgan", 3), ("amgan", 4)],
)
def test_files_made_from_the_published_lists(
    shared: Path, tmp_path: Path, name: str, bands: int
) -> None:
    shapes = published_shapes(shared, f"{name}_{bands}band")
    generator = torch.Generator().manual_seed(bands)
    state = {
        # One PReLU has 55 names in MemoryNet.
        key: torch.full(shape, 0.25) if shape == (1,) else torch.randn(shape, generator=generator)
        for key, shape in shapes.items()
    }
    got = read_published(saved(tmp_path, state))
    assert got.bands == bands
    assert list(got.networks) == [name]
    for key, value in published(name, got.networks[name]).items():
        assert torch.equal(value, state[key])


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize(
    ("name", "bands", "write"),
    [
        *(("spagan", bands, write) for bands in (3, 4) for write in WRITERS),
        *((name, bands, WRITERS[0]) for name in ("amgan", "memorynet") for bands in (3, 4)),
        ("msda", 4, WRITERS[1]),
    ],
)
def test_what_is_read_computes_the_same(
    tmp_path: Path, name: str, bands: int, write: Callable[[Path, dict[str, Tensor]], None]
) -> None:
    net, path = small_network(name, bands), tmp_path / "weights.pt"
    write(path, {f"module.{key}": value for key, value in published(name, net).items()})
    got = read_published(path)
    assert (list(got.parts), got.bands) == (["reference"], bands)
    assert not got.parts["reference"].training
    image = torch.rand(1, bands, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(got.parts["reference"](image), net(image))


def test_a_cloud_net_of_published_size(tmp_path: Path) -> None:
    net = network("cloudnet", 4)
    checkpoints.h5_weights(tmp_path / "cloudnet.h5", keras_arrays(net), first=0)
    got = read_published(tmp_path / "cloudnet.h5")
    assert (list(got.parts), got.bands) == (["detector"], 4)
    image = torch.rand(1, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(got.parts["detector"](image), net(image))


def test_a_cvae_of_published_size_is_read_whole(tmp_path: Path) -> None:
    net = network("cvae", 4)
    got = read_published(saved(tmp_path, published("cvae", net)))
    assert (list(got.networks), got.bands) == (["cvae"], 4)
    mine = got.networks["cvae"].state_dict()
    assert all(torch.equal(mine[key], value) for key, value in net.state_dict().items())


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize("name", ["cnp", "wa"])
def test_a_half_of_de_alone_is_read_by_its_name(tmp_path: Path, name: str) -> None:
    net = small_network(name, 4)
    path = saved(tmp_path, published(name, net))
    assert list(read_published(path, name).networks) == [name]
    if name == "wa":
        assert list(read_published(path).networks) == ["wa"]


def test_prefixes_may_be_missing(tmp_path: Path) -> None:
    net = network("spagan", 3)
    for prefix in ("", "gen."):
        path = saved(tmp_path, {prefix + key: value for key, value in net.state_dict().items()})
        assert list(read_published(path).networks) == ["spagan"]


@pytest.mark.parametrize("name", ["amgan", "spagan"])
def test_what_counting_operations_left_is_no_weight(tmp_path: Path, name: str) -> None:
    state = published(name, network(name, 3))
    layers = {key.rpartition(".")[0] for key in state}
    counts = {f"{layer}.total_{what}" for layer in layers for what in ("ops", "params")}
    left = dict.fromkeys(["total_ops", "total_params", *counts], torch.zeros(1).double())
    got = published(name, read_published(saved(tmp_path, state | left)).networks[name])
    assert all(torch.equal(got[key], value) for key, value in state.items())
    with pytest.raises(BundleError, match="of no published network"):
        read_published(saved(tmp_path, left))
    path = saved(tmp_path, {**state, "gen.gen.total_ops": torch.zeros(2)})
    with pytest.raises(BundleError, match=r"has unknown tensor '.*total_ops'"):
        read_published(path)


@pytest.mark.usefixtures("small_sizes")
def test_names_that_save_model_left_out_come_back(tmp_path: Path) -> None:
    net, path = small_network("memorynet", 3), tmp_path / "m.safetensors"
    save_model(net, str(path))
    with safe_open(str(path), framework="pt") as file:
        assert len(list(file.keys())) < len(net.state_dict())
    got = read_published(path).networks["memorynet"].state_dict()
    assert all(torch.equal(got[key], value) for key, value in net.state_dict().items())


def test_weights_of_half_and_double_precision(tmp_path: Path) -> None:
    state = published("spagan", network("spagan", 3))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        path = saved(tmp_path, {key: value.to(dtype) for key, value in state.items()})
        got = published("spagan", read_published(path).networks["spagan"])
        for key, value in state.items():
            assert torch.equal(got[key], value.to(dtype).float())


def lacking(state: dict[str, Tensor]) -> None:
    del state["gen.gen.conv_out.0.weight"]


def unknown(state: dict[str, Tensor]) -> None:
    state["gen.gen.conv_extra.weight"] = torch.ones(2)


def beside(state: dict[str, Tensor]) -> None:
    state["dis.dis.c0_0.c.weight"] = torch.ones(2)


def twice(state: dict[str, Tensor]) -> None:
    state["conv_out.0.weight"] = torch.ones(3, 32, 3, 3)


def wrong_shape(state: dict[str, Tensor]) -> None:
    state["gen.gen.conv_out.0.weight"] = torch.ones(3, 32, 1, 1)


def whole_numbers(state: dict[str, Tensor]) -> None:
    state["gen.gen.conv_out.0.weight"] = torch.ones(3, 32, 3, 3, dtype=torch.int64)


def five_bands(state: dict[str, Tensor]) -> None:
    state["gen.gen.conv_in.0.weight"] = torch.ones(32, 5, 3, 3)


def narrow(state: dict[str, Tensor]) -> None:
    state |= published("spagan", network("spagan", 3, {"width": 16}))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lacking, r"lacks tensor 'gen\.gen\.conv_out\.0\.weight' \(1 in all\)"),
        (unknown, r"has unknown tensor 'gen\.gen\.conv_extra\.weight' \(1 in all\)"),
        (beside, r"has unknown tensor 'dis\.dis\.c0_0\.c\.weight' \(1 in all\)"),
        (twice, r"has unknown tensor '.*conv_out\.0\.weight' \(1 in all\)"),
        (wrong_shape, r"conv_out\.0\.weight' is .* \(3, 32, 1, 1\), .* floats of \(3, 32, 3, 3\)"),
        (whole_numbers, r"'gen\.gen\.conv_out\.0\.weight' is torch\.int64"),
        (five_bands, r"SpA-GAN generator for 5 bands .* take 3 or 4"),
        (narrow, "only the published sizes can be imported"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, damage: Callable[[dict[str, Tensor]], None], says: str
) -> None:
    state = published("spagan", network("spagan", 3))
    damage(state)
    path = saved(tmp_path, state)
    for as_name in (None, "spagan"):
        with pytest.raises(BundleError, match=says) as caught:
            read_published(path, as_name)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("small_sizes")
def test_keras_arrays_that_do_not_fit_are_named_as_keras_does(tmp_path: Path) -> None:
    arrays = keras_arrays(small_network("cloudnet", 4))
    arrays["conv2d_3/kernel"] = arrays["conv2d_3/kernel"][:1]
    checkpoints.h5_model(tmp_path / "c.h5", arrays)
    with pytest.raises(
        BundleError, match=r"'conv2d_3/kernel' is .* \(1, 3, 4, 4\), .*\(3, 3, 4, 4\)"
    ):
        read_published(tmp_path / "c.h5")
    del arrays["conv2d_3/kernel"]
    checkpoints.h5_model(tmp_path / "c.h5", arrays)
    with pytest.raises(BundleError, match="lacks tensor 'conv2d_3/kernel'"):
        read_published(tmp_path / "c.h5")


@pytest.mark.usefixtures("small_sizes")
def test_names_of_one_parameter_must_agree(tmp_path: Path) -> None:
    state = published("memorynet", small_network("memorynet", 3))
    state["shallow_feat2.1.body.1.weight"] = torch.tensor([0.7])
    with pytest.raises(BundleError, match="differs from others that share its parameter"):
        read_published(saved(tmp_path, state), "memorynet")


@pytest.mark.parametrize(
    ("name", "prefix", "says"),
    [
        ("patchgan", "dis.dis.", "SpA-GAN's or AMGAN-CR's discriminator"),
        ("msda_discriminator", "", "MSDA-CR's discriminator"),
    ],
)
@pytest.mark.parametrize("bands", [3, 4])
def test_discriminators_are_refused(
    tmp_path: Path, name: str, prefix: str, says: str, bands: int
) -> None:
    state = {prefix + key: value for key, value in create(name, bands).state_dict().items()}
    with pytest.raises(BundleError, match=f"{says}, .* pass the generator's"):
        read_published(saved(tmp_path, state))


@pytest.mark.usefixtures("small_sizes")
def test_halves_must_have_the_same_bands(tmp_path: Path) -> None:
    state = de_checkpoint(small_network("cnp", 3), small_network("wa", 4))
    with pytest.raises(BundleError, match=r"noise predictor 3, DE weight allocator 4"):
        read_published(saved(tmp_path, state), "de")


def test_a_weight_allocator_beside_another_network(tmp_path: Path) -> None:
    state = {**network("spagan", 3).state_dict(), "sjlnet.out.0.weight": torch.ones(3)}
    with pytest.raises(BundleError, match=r"weight allocator .* beside SpA-GAN generator"):
        read_published(saved(tmp_path, state))


def test_strangers_are_told_what_there_is(tmp_path: Path) -> None:
    path = saved(tmp_path, {"layer.weight": torch.ones(2, 2)})
    with pytest.raises(BundleError, match=r"no published network, first 'layer\.weight'.*spagan"):
        read_published(path)
    with pytest.raises(BundleError, match="taken as MSDA-CR generator, it lacks tensor"):
        read_published(path, "msda")
    with pytest.raises(BundleError, match="--as gpt: no such network; there are de, cnp"):
        read_published(path, "gpt")


def test_a_detector_of_another_kind_is_refused(shared: Path) -> None:
    path = shared / "data" / "weights" / "landsatbiomeRGBI6.hdf5"
    if not path.is_file():
        pytest.skip(f"real data absent: no file {path}")
    with pytest.raises(BundleError, match="of no published network"):
        read_published(path)
