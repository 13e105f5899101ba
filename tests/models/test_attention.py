"""Tests of attention in pieces: it is the attention of torch, rounded as bfloat16 is."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from decr.models.attention import attend


def drawn(n: int, heads: int, tokens: int, d: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values as the networks hand them over: views of one tensor."""
    generator = torch.Generator().manual_seed(tokens + d)
    whole = torch.randn((n, tokens, heads, 3, d), generator=generator).transpose(1, 2)
    q, k, v = whole.unbind(3)
    return q, k, v


@settings(deadline=None, max_examples=10)
@given(
    n=st.integers(1, 2),
    heads=st.integers(1, 3),
    tokens=st.integers(1024, 1500),
    d=st.sampled_from([32, 48]),
)
def test_attention_in_pieces_is_attention_within_bfloat16(
    n: int, heads: int, tokens: int, d: int
) -> None:
    parts = [part.bfloat16() for part in drawn(n, heads, tokens, d)]
    with torch.inference_mode():
        got = attend(*parts)
        exact = F.scaled_dot_product_attention(*(part.double() for part in parts))
    assert got.dtype == torch.bfloat16
    assert got.shape == exact.shape
    # Values are about 1, their means 1 / sqrt(tokens); bfloat16 keeps 8 bits.
    assert float((got.double() - exact).abs().mean()) < 0.01 * float(exact.abs().mean())


def test_large_scores_do_not_overflow() -> None:
    q, k, v = (part.bfloat16() for part in drawn(1, 1, 1024, 32))
    with torch.inference_mode():
        got = attend(q * 100, k * 100, v)
    assert bool(torch.isfinite(got).all())
    # Of such scores one is far above the others: each mean is one of the values.
    assert float(got.abs().max()) <= float(v.abs().max())


@pytest.mark.parametrize(
    ("tokens", "d", "dtype"),
    [(64, 32, torch.bfloat16), (1024, 16, torch.bfloat16), (1024, 32, torch.float32)],
)
def test_what_pieces_do_not_speed_up_is_left_to_torch(
    tokens: int, d: int, dtype: torch.dtype
) -> None:
    parts = [part.to(dtype) for part in drawn(1, 2, tokens, d)]
    with torch.inference_mode():
        assert torch.equal(attend(*parts), F.scaled_dot_product_attention(*parts))


def test_gradients_flow_in_bfloat16() -> None:
    parts = [part.bfloat16().requires_grad_() for part in drawn(1, 1, 1024, 32)]
    attend(*parts).float().square().sum().backward()
    assert all(part.grad is not None and float(part.grad.abs().sum()) > 0 for part in parts)
