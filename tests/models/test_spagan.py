"""SpA-GAN: the four-direction unit, dead tensors, any image size, first weights."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decr.models.spagan import SpAGAN, _FourDirections
from tests.models.published import without_gradient

DEAD = re.compile(r"SAM1\.(attention_layer\..+|conv_in\..+)")


def small(bands: int = 4) -> SpAGAN:
    torch.manual_seed(0)
    return SpAGAN(bands, width=8).eval()


def test_the_four_directions_are_those_worked_out_by_hand() -> None:
    """Each border that has no neighbour is the input as it is, negative numbers included."""
    net = _FourDirections(1)
    scales = {"up": (1.0, 0.0), "right": (2.0, 1.0), "down": (-1.0, 0.0), "left": (0.5, -1.0)}
    with torch.no_grad():
        for name, (scale, bias) in scales.items():
            net.get_parameter(f"{name}_weight.weight").fill_(scale)
            net.get_parameter(f"{name}_weight.bias").fill_(bias)
        out = net(torch.tensor([[[[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]]]]))
    up = [[1.0, -2.0, 3.0], [0.0, 3.0, 0.0]]
    right = [[0.0, 5.0, 3.0], [7.0, 0.0, -6.0]]
    down = [[5.0, 0.0, 9.0], [-4.0, 5.0, -6.0]]
    left = [[1.0, 0.0, 1.0], [-4.0, 2.0, 0.0]]
    assert out.tolist() == [[up, right, down, left]]


def test_channels_of_the_four_directions_do_not_mix() -> None:
    net = _FourDirections(2)
    x = torch.rand(1, 2, 3, 3)
    changed = x.clone()
    changed[:, 1] += 1.0
    with torch.no_grad():
        out, out_changed = net(x), net(changed)
    assert torch.equal(out[:, 0::2], out_changed[:, 0::2])
    assert not torch.equal(out[:, 1::2], out_changed[:, 1::2])


def test_gradients_reach_exactly_the_live_parameters() -> None:
    torch.manual_seed(0)
    net = SpAGAN(3).train()
    image, attention = net.with_attention(torch.rand(1, 3, 24, 24))
    (image.square().mean() + attention.mean()).backward()
    dead = {key for key, p in net.named_parameters() if p.grad is None}
    assert dead == {key for key, _ in net.named_parameters() if DEAD.fullmatch(key)}
    assert without_gradient(net) == dead
    assert len(dead) == 7
    assert sum(net.get_parameter(key).numel() for key in dead) == 16_228


def test_direction_attention_has_no_effect() -> None:
    net = small()
    y = torch.rand(1, 4, 16, 16)
    with torch.no_grad():
        before = net.with_attention(y)
        for key, parameter in net.named_parameters():
            if DEAD.fullmatch(key):
                parameter.fill_(7.0)
        after = net.with_attention(y)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


@settings(max_examples=12, deadline=None)
@given(rows=st.integers(1, 41), cols=st.integers(1, 41))
def test_images_of_any_size_get_an_image_and_attention_of_that_size(rows: int, cols: int) -> None:
    net = small()
    y = torch.rand(1, 4, rows, cols)
    with torch.no_grad():
        out, (image, attention) = net(y), net.with_attention(y)
    assert out.shape == image.shape == y.shape
    assert attention.shape == (1, 1, rows, cols)
    assert torch.equal(out, image.clamp(0, 1))
    assert ((attention > 0) & (attention < 1)).all()


def test_starts_with_small_weights() -> None:
    torch.manual_seed(0)
    net = SpAGAN(3)
    weights = torch.cat([p.detach().flatten() for p in net.parameters() if p.ndim == 4])
    assert float(weights.mean()) == pytest.approx(0.0, abs=5e-4)
    assert float(weights.std()) == pytest.approx(0.02, rel=0.02)
