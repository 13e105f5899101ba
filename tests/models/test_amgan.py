"""AMGAN-CR: dead tensors, the mask, any image size."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decr.models.amgan import AMGAN
from tests.models.published import without_gradient


def small(bands: int = 4) -> AMGAN:
    torch.manual_seed(0)
    return AMGAN(bands, width=8).eval()


def test_gradients_reach_exactly_the_live_parameters() -> None:
    torch.manual_seed(0)
    net = AMGAN(3).train()
    image, mask = net.with_attention(torch.rand(1, 3, 24, 24))
    (image.square().mean() + mask.square().mean()).backward()
    dead = {key for key, p in net.named_parameters() if p.grad is None}
    assert dead == {f"res_block6.group1.conv{k}.weight" for k in (1, 2, 3)}
    assert without_gradient(net) == dead


def test_last_block_has_no_effect() -> None:
    net = small()
    y = torch.rand(1, 4, 16, 16)
    with torch.no_grad():
        before = net.with_attention(y)
        for parameter in net.res_block6.parameters():
            parameter.fill_(7.0)
        after = net.with_attention(y)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


def test_the_mask_may_be_any_number() -> None:
    net = small()
    with torch.no_grad():
        net.get_parameter("det_conv_mask.0.bias").fill_(-3.0)
        _, mask = net.with_attention(torch.rand(1, 4, 16, 16))
    assert float(mask.max()) < -2.0


@settings(max_examples=12, deadline=None)
@given(rows=st.integers(1, 41), cols=st.integers(1, 41))
def test_images_of_any_size_get_an_image_and_a_mask_of_that_size(rows: int, cols: int) -> None:
    net = small()
    y = torch.rand(1, 4, rows, cols)
    with torch.no_grad():
        out, (image, mask) = net(y), net.with_attention(y)
    assert out.shape == image.shape == y.shape
    assert mask.shape == (1, 1, rows, cols)
    assert torch.equal(out, image.clamp(0, 1))
    assert mask.isfinite().all()
