"""MSDA-CR and its discriminator: any image size, dead tensors, gradients."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decr.models.msda import MSDA, MSDADiscriminator
from tests.models.published import without_gradient

UNUSED = re.compile(
    r"(.+\.)?(rt_residual_dense_layers\..*|conv_1x1_c\..*|conv_[ar]\..*|offset_conv[12]\..*)"
    r"|.+\.coefficient"
)


def small(bands: int = 4) -> MSDA:
    torch.manual_seed(0)
    return MSDA(bands, width=8, growth=4).eval()


@settings(max_examples=10, deadline=None)
@given(rows=st.integers(5, 51), cols=st.integers(5, 51))
def test_images_of_any_size_from_5_px_come_back_in_it(rows: int, cols: int) -> None:
    y = torch.rand(1, 4, rows, cols)
    with torch.no_grad():
        out = small()(y)
    assert out.shape == y.shape
    assert ((out > 0) & (out < 1)).all()


def test_gradients_reach_exactly_the_live_parameters() -> None:
    net = MSDA(3).train()
    net(torch.rand(1, 3, 24, 24)).square().mean().backward()
    dead = {key for key, p in net.named_parameters() if p.grad is None}
    assert dead == {key for key, _ in net.named_parameters() if UNUSED.fullmatch(key)}
    # The published network's count of what has no influence.
    assert len(dead) == 289
    assert sum(net.get_parameter(key).numel() for key in dead) == 1_004_249


def test_gradients_of_a_live_parameter_are_not_all_zero() -> None:
    net = MSDA(3).train()
    net(torch.rand(1, 3, 40, 40)).square().mean().backward()
    silent = {key for key in without_gradient(net) if not UNUSED.fullmatch(key)}
    # A normalised input has mean zero, so only what is constant over the image may cancel out.
    assert not {key for key in silent if key.endswith("weight")}


@pytest.mark.parametrize(("rows", "cols"), [(64, 64), (65, 128)])
def test_the_discriminator_has_32_scores_per_square_of_64_px_and_learns(
    rows: int, cols: int
) -> None:
    torch.manual_seed(0)
    net = MSDADiscriminator(4, width=8)
    score = net(torch.rand(2, 4, rows, cols))
    assert score.shape == (2, 32 * -(-rows // 64) * -(-cols // 64))
    score.mean().backward()
    # The attention is faded in from zero, so at first only its gate learns.
    assert {key for key in without_gradient(net) if not key.startswith("att.")} == set()


def test_discriminator_stands_still_in_eval_mode() -> None:
    torch.manual_seed(0)
    net = MSDADiscriminator(3, width=8).eval()
    x = torch.rand(1, 3, 64, 64)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.no_grad():
        assert torch.equal(net(x), net(x))
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
