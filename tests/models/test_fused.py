"""Tests of the fused passes: they equal the published formulation, in values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from decr.models.fused import norm_silu
from decr.models.registry import create
from tests.models.plain_unet import PlainUNet
from tests.tiny import randomised

SIZE = {"width": 8, "multipliers": [1, 2, 2], "blocks": 1, "attention_factors": [2], "heads": 2}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def norm_of(groups: int, channels: int) -> nn.GroupNorm:
    norm = nn.GroupNorm(groups, channels)
    randomised(norm, seed=5, scale=0.5)
    return norm


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(1, 3),
    per_group=st.integers(2, 4),
    groups=st.integers(1, 4),
    rows=st.integers(1, 5),
    cols=st.integers(1, 5),
    modulated=st.booleans(),
    packed=st.booleans(),
    graded=st.booleans(),
)
def test_the_fused_form_is_norm_modulation_and_silu(
    n: int,
    per_group: int,
    groups: int,
    rows: int,
    cols: int,
    modulated: bool,
    packed: bool,
    graded: bool,
) -> None:
    channels = per_group * groups
    x = 3 * normal(n, channels, rows, cols) + 1
    if packed:
        x = x.contiguous(memory_format=torch.channels_last)
    given_x, norm = x.clone(), norm_of(groups, channels)
    modulation = normal(n, 2 * channels, seed=1) if modulated else None
    with torch.set_grad_enabled(graded):
        got = norm_silu(x, norm, modulation)
        wanted = norm(x)
        if modulation is not None:
            scale, shift = modulation[:, :, None, None].chunk(2, dim=1)
            wanted = wanted * (1 + scale) + shift
        torch.testing.assert_close(got, F.silu(wanted), rtol=1e-4, atol=1e-5)
    assert torch.equal(x, given_x)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("name", ["cnp", "wa", "compact"])
def test_networks_and_their_gradients_are_those_of_the_plain_formulation(name: str, n: int) -> None:
    results = []
    for plain in (False, True):
        torch.manual_seed(0)
        unet = randomised(create(name, 4, SIZE), scale=0.2).unet
        network = PlainUNet(unet) if plain else unet  # type: ignore[arg-type]
        x = normal(n, unet.size.in_channels, 16, 24).requires_grad_()  # type: ignore[union-attr]
        t = None if name == "compact" else torch.tensor([400, 30][:n])
        out = network(x, t)  # type: ignore[operator]
        (out * normal(*out.shape, seed=9)).sum().backward()
        slopes = [x.grad, *(p.grad for p in unet.parameters())]  # type: ignore[union-attr]
        results.append((out.detach(), slopes))
    (ours, our_slopes), (plain_out, plain_slopes) = results
    assert float(plain_out.std()) > 0.01
    torch.testing.assert_close(ours, plain_out, rtol=1e-4, atol=1e-5)
    for ours_one, plain_one in zip(our_slopes, plain_slopes, strict=True):
        torch.testing.assert_close(ours_one, plain_one, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["cnp", "wa"])
def test_without_gradients_the_same_values_come_in_place(name: str) -> None:
    torch.manual_seed(0)
    network = randomised(create(name, 4, SIZE), scale=0.2).eval()
    network.to(memory_format=torch.channels_last)
    images = [normal(1, 4, 16, 24, seed=seed) for seed in range(2 if name == "cnp" else 3)]
    given_images = [image.clone() for image in images]
    t = torch.tensor([400])
    graded = network(images[0], t, *images[1:])
    with torch.inference_mode():
        free = network(images[0], t, *images[1:])
    torch.testing.assert_close(free, graded, rtol=1e-5, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(images, given_images, strict=True))


def test_bfloat16_maps_stay_so_and_are_normalised_in_float32() -> None:
    norm = norm_of(4, 8)
    x = 100 + normal(1, 8, 16, 16)  # where bfloat16 sums would lose the variance
    modulation = 0.1 * normal(1, 16, seed=1)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        rough = norm_silu(x.bfloat16(), norm, modulation.bfloat16())
    with torch.inference_mode():
        exact = norm_silu(x.bfloat16().float(), norm, modulation)
    assert rough.dtype == torch.bfloat16
    assert float((rough.float() - exact).abs().mean()) < 0.01
