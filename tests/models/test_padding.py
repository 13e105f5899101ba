"""Padding to a multiple."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from decr.models.padding import pad_to_multiple, repeat_edges_to_multiple

sides = st.integers(1, 70)


@given(rows=sides, cols=sides, multiple=st.sampled_from([1, 4, 8, 32]))
def test_sides_become_the_next_multiple_and_the_image_stays(
    rows: int, cols: int, multiple: int
) -> None:
    x = torch.arange(rows * cols, dtype=torch.float32).reshape(1, 1, rows, cols)
    padded = pad_to_multiple(x, multiple)
    assert torch.equal(padded[..., :rows, :cols], x)
    for before, after in zip(x.shape[-2:], padded.shape[-2:], strict=True):
        assert after % multiple == 0
        assert 0 <= after - before < multiple
    assert set(padded.unique().tolist()) <= set(x.unique().tolist())


def test_nothing_is_copied_where_nothing_is_missing() -> None:
    x = torch.zeros(1, 1, 32, 64)
    assert pad_to_multiple(x, 32) is x
    assert repeat_edges_to_multiple(x, 32) is x


@given(rows=sides, cols=sides, multiple=st.sampled_from([1, 4, 8, 32]))
def test_repeated_edges_are_those_of_the_image(rows: int, cols: int, multiple: int) -> None:
    x = torch.arange(rows * cols, dtype=torch.float32).reshape(1, 1, rows, cols)
    padded = repeat_edges_to_multiple(x, multiple)
    down, right = padded.shape[-2:]
    assert (down, right) == (-(-rows // multiple) * multiple, -(-cols // multiple) * multiple)
    nearest = [torch.arange(n).clamp(max=side - 1) for n, side in ((down, rows), (right, cols))]
    assert torch.equal(padded, x[..., nearest[0], :][..., nearest[1]])
