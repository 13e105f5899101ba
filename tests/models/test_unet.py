"""Tests of the U-Net and its three sizes: published counts, identity at the start, any size."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decr.errors import BundleError
from decr.models.cnp import CNP, cnp_size
from decr.models.reference import CompactReference
from decr.models.registry import NAMES, create
from decr.models.unet import UNet, UNetSize, Upsample, group_norm, time_embedding
from decr.models.wa import WA, wa_size
from tests.models.published import published_shapes, shapes, size, without_gradient
from tests.tiny import randomised

TINY = {"width": 8, "multipliers": [1, 2, 2], "blocks": 1, "attention_factors": [2], "heads": 2}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tiny(name: str, bands: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return create(name, bands, TINY)


def call(name: str, network: nn.Module, bands: int = 4, n: int = 2) -> Tensor:
    x, t = normal(n, bands, 16, 24), torch.arange(n) * 300
    y, prior = normal(n, bands, 16, 24, seed=1), normal(n, bands, 16, 24, seed=2)
    arguments = {"cnp": (x, t, y), "wa": (x, t, y, prior), "compact": (x.sigmoid(),)}[name]
    out: Tensor = network(*arguments)
    return out


@pytest.mark.parametrize("name", ["cnp", "wa", "compact"])
def test_bilinear_networks_have_the_same_weights_and_no_repeated_pixels(name: str) -> None:
    nearest = tiny(name)
    bilinear = create(name, 4, TINY | {"bilinear": True})
    assert shapes(nearest) == shapes(bilinear)
    for network in (nearest, bilinear):
        # An enlargement alone: its convolution passes on what it is given.
        up = next(m for m in network.modules() if isinstance(m, Upsample))
        nn.init.dirac_(up.conv.weight)
        nn.init.zeros_(up.conv.bias)
        x = normal(1, up.conv.in_channels, 6, 6)
        steps = up(x).diff(dim=-1).abs().mean(dim=(0, 1, 2))
        # Between 12 columns there are 11 differences; every other one within a pair of one pixel.
        within, across = steps[::2].mean(), steps[1::2].mean()
        if network is nearest:
            assert within == 0 < across
        else:
            assert within > 0.3 * across
    bilinear.load_state_dict(randomised(nearest).state_dict())
    assert not torch.equal(call(name, nearest), call(name, bilinear))


def test_an_empty_size_is_the_published_one() -> None:
    with torch.device("meta"):
        assert shapes(create("cnp", 3)) == shapes(CNP(cnp_size(3)))
        assert shapes(create("wa", 4, {})) == shapes(WA(wa_size(4)))


def test_a_condition_of_another_size_is_resized_to_the_noisy_image() -> None:
    net = randomised(create("cnp", 3, {"width": 8, "multipliers": [1, 2], "blocks": 1}))
    x, small, t = torch.randn(1, 3, 8, 12), torch.randn(1, 3, 5, 6), torch.tensor([3])
    resized = F.interpolate(small, (8, 12), mode="bilinear", align_corners=False)
    with torch.no_grad():
        assert torch.equal(net(x, t, small), net(x, t, resized))


@pytest.mark.parametrize("name", ["cnp", "wa"])
def test_new_networks_predict_zero(name: str) -> None:
    network = tiny(name)
    assert isinstance(network, CNP | WA)
    assert not call(name, network).any()


@pytest.mark.parametrize("name", ["cnp", "wa", "compact"])
def test_gradients_reach_every_parameter(name: str) -> None:
    network = randomised(tiny(name))
    if name == "compact":
        # The clamp of the forward pass kills some; training goes around it.
        assert isinstance(network, CompactReference)
        out = network.unclamped(normal(2, 4, 16, 24).sigmoid())
    else:
        out = call(name, network)
    (out * normal(*out.shape, seed=9)).sum().backward()  # type: ignore[no-untyped-call]
    assert without_gradient(network) == set()


@pytest.mark.parametrize("name", ["cnp", "wa"])
def test_every_input_and_the_time_change_the_output(name: str) -> None:
    network = randomised(tiny(name), scale=0.3).eval()
    inputs = [normal(1, 4, 16, 16, seed=s) for s in range(2 if name == "cnp" else 3)]
    t = torch.tensor([100])

    def run(images: list[Tensor], t: Tensor) -> Tensor:
        out: Tensor = network(images[0], t, *images[1:])
        return out

    with torch.no_grad():
        before = run(inputs, t)
        assert before.shape == (1, 4, 16, 16)
        assert not torch.equal(run(inputs, t + 500), before)
        for index in range(len(inputs)):
            changed = [x + 0.5 if i == index else x for i, x in enumerate(inputs)]
            assert not torch.equal(run(changed, t), before)


def test_samples_of_a_batch_do_not_mix() -> None:
    network = randomised(tiny("cnp")).eval()
    x, y, t = normal(3, 4, 16, 16), normal(3, 4, 16, 16, seed=1), torch.tensor([0, 500, 980])
    with torch.no_grad():
        together = network(x, t, y)
        for i in range(3):
            alone = network(x[i : i + 1], t[i : i + 1], y[i : i + 1])
            torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "sides", [(1, 1), (1, 37), (2, 3), (3, 2), (15, 16), (16, 16), (17, 31), (33, 9)]
)
def test_the_compact_reference_takes_any_size(sides: tuple[int, int]) -> None:
    network = tiny("compact")
    assert isinstance(network, CompactReference)
    cloudy = torch.rand(2, 4, *sides, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(cloudy), cloudy, rtol=0, atol=0)
        changed = randomised(network, scale=0.3)(cloudy)
    assert changed.shape == cloudy.shape
    assert not torch.equal(changed, cloudy)
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1


def test_the_reference_is_clamped_but_training_is_not() -> None:
    network = randomised(tiny("compact"), scale=0.5)
    assert isinstance(network, CompactReference)
    cloudy = torch.rand(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        free = network.unclamped(cloudy)
        assert float(free.max()) > 1 or float(free.min()) < 0
        assert torch.equal(network(cloudy), free.clamp(0, 1))


def test_the_time_embedding_is_that_worked_out_by_hand() -> None:
    out = time_embedding(torch.tensor([0, 7]), 4)
    assert out.dtype == torch.float32
    second = 10_000.0**-0.5
    wanted = [math.cos(7), math.cos(7 * second), math.sin(7), math.sin(7 * second)]
    torch.testing.assert_close(out[1], torch.tensor(wanted))
    assert out[0].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("channels", "groups"), [(64, 32), (96, 32), (288, 32), (32, 8), (48, 8), (16, 4), (8, 4)]
)
def test_groups_never_hold_a_single_channel(channels: int, groups: int) -> None:
    assert group_norm(channels).num_groups == groups
    assert channels // groups >= 2


def test_untimed_networks_have_no_time_parameters() -> None:
    network = UNet(UNetSize(3, 3, 8, (1, 2), blocks=1, timed=False))
    assert not [name for name, _ in network.named_parameters() if "emb" in name]
    assert network.multiple == 2
    assert network(normal(1, 3, 4, 6)).shape == (1, 3, 4, 6)


@pytest.mark.parametrize("name", NAMES)
def test_every_registered_network_can_be_built(name: str) -> None:
    with torch.device("meta"):
        assert size(create(name, 3)) < size(create(name, 4))


@pytest.mark.parametrize(
    ("name", "wrong", "says"),
    [
        ("unet", {}, "no network is called 'unet'; there are amgan, cloudnet, cnp"),
        ("cnp", {"width": 8}, "multipliers"),
        ("cnp", TINY | {"trilinear": True}, "size has no trilinear"),
        ("cnp", TINY | {"heads": 3}, "3 heads cannot share"),
        ("cnp", TINY | {"heads": 0}, "0 heads"),
        ("cnp", TINY | {"width": 9, "heads": 1}, "must be even"),
        ("cnp", TINY | {"width": 10**9}, r"width must lie in 1\.\.1024"),
        ("wa", TINY | {"blocks": 10**9}, "64 blocks"),
        ("wa", TINY | {"blocks": 0}, r"blocks in 1\.\.16"),
        ("wa", TINY | {"multipliers": [1] * 99}, r"levels in 1\.\.5"),
        ("wa", TINY | {"multipliers": [1, -1]}, "multipliers must lie"),
        ("compact", TINY | {"multipliers": 7}, "not iterable"),
        ("compact", TINY | {"width": 6, "heads": 1}, "cannot be built"),
        ("memorynet", {"blocks": 10**9}, "64 blocks"),
        ("msda", {"colour": 3}, "colour"),
    ],
)
def test_impossible_networks_are_refused(name: str, wrong: dict[str, object], says: str) -> None:
    with pytest.raises(BundleError, match=says):
        create(name, 4, wrong)


@pytest.mark.parametrize("bands", [3, 4])
def test_names_and_shapes_are_the_published_ones(shared: Path, bands: int) -> None:
    published = published_shapes(shared, f"de_{bands}band")
    with torch.device("meta"):
        ours = shapes(CNP(cnp_size(bands)).unet)
        ours |= {f"sjlnet.{k}": v for k, v in shapes(WA(wa_size(bands)).unet).items()}
    assert ours == published
