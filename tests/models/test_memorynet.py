"""MemoryNet: shared names, halves, any image size, gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decr.models.memorynet import MemoryNet, _join_halves, _stack_halves
from tests.models.published import without_gradient


def small(bands: int = 4) -> MemoryNet:
    torch.manual_seed(0)
    return MemoryNet(bands, width=8, growth=4, extra=4, blocks=1).eval()


def test_one_prelu_has_55_names() -> None:
    state = MemoryNet(3).state_dict(keep_vars=True)
    scalars = [value for value in state.values() if value.numel() == 1]
    assert len(scalars) == 55
    assert len({id(value) for value in scalars}) == 1


@settings(max_examples=12, deadline=None)
@given(rows=st.integers(1, 41), cols=st.integers(1, 41))
def test_images_of_any_size_come_back_in_it_from_all_stages(rows: int, cols: int) -> None:
    net = small()
    y = torch.rand(1, 4, rows, cols)
    with torch.no_grad():
        out, stages = net(y), net.stages(y)
    assert out.shape == y.shape
    assert [stage.shape for stage in stages] == [y.shape] * 3
    assert torch.equal(out, stages[0].clamp(0, 1))
    assert out.isfinite().all()


def test_padding_changes_nothing_where_sides_are_multiples_of_8() -> None:
    net = small()
    y = torch.rand(1, 4, 24, 40)
    with torch.no_grad():
        assert torch.equal(net.stages(y)[0], net._stages(y)[0])


@pytest.mark.parametrize("dim", [2, 3])
def test_halves_join_to_what_was_cut(dim: int) -> None:
    x = torch.rand(3, 2, 8, 6)
    halves = _stack_halves(x, dim)
    assert torch.equal(halves[:3], x.narrow(dim, 0, x.shape[dim] // 2))
    assert torch.equal(_join_halves(halves, dim), x)


def test_first_stage_sees_quarters_only() -> None:
    """A change in one quarter reaches neither column half's features nor the other half's image."""
    net = small()
    y = torch.rand(1, 4, 32, 32)
    changed = y.clone()
    changed[..., :16, :] += 0.5
    with torch.no_grad():
        first, first_changed = net.stages(y)[2], net.stages(changed)[2]
    assert torch.equal(first[..., 16:, :], first_changed[..., 16:, :])
    assert not torch.equal(first[..., :16, :], first_changed[..., :16, :])


def test_gradients_reach_every_parameter() -> None:
    net = small(3).train()
    images = net.stages(torch.rand(2, 3, 32, 32))
    torch.stack([image.square().mean() for image in images]).sum().backward()
    assert {key for key, p in net.named_parameters() if p.grad is None} == set()
    # A bottleneck this narrow may be wholly below zero, where ReLU passes no gradient.
    assert {key for key in without_gradient(net) if ".CA.conv_du." not in key} == set()
