"""Attention of all pixels to all, in bfloat16 on a CPU cut into pieces that stay in its cache."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS = 256
"""Queries at a time: their weights of 4096 keys take 2 MB."""
_FEWEST = 1024
"""Tokens from which on pieces pay."""
_NARROWEST = 32
"""Channels of a head from which on they do: below, softmax takes most of the time."""


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Mean values, weighted by ``softmax(q k^T / sqrt(d))``.

    Torch's own kernel multiplies bfloat16 on a CPU no faster than float32. Its matrix product does,
    so there the weights are made piece by piece, in bfloat16, where no gradient is asked for.

    Parameters
    ----------
    q, k, v
        (N, heads, tokens, d), float32 or bfloat16, unbounded.

    Returns
    -------
    Tensor
        (N, heads, tokens, d), of the dtype of ``q``.
    """
    n, heads, tokens, d = q.shape
    rough = q.device.type == "cpu" and q.dtype == torch.bfloat16
    # A compiler would unroll the pieces, and take minutes more.
    whole = torch.is_grad_enabled() or torch.compiler.is_compiling()
    if not rough or whole or tokens < _FEWEST or d < _NARROWEST:
        return F.scaled_dot_product_attention(q, k, v)
    q, out = q * d**-0.5, torch.empty_like(q)
    for sample in range(n):
        for head in range(heads):
            keys, values = k[sample, head].t(), v[sample, head]
            for first in range(0, tokens, _ROWS):
                rows = slice(first, first + _ROWS)
                weights = torch.softmax(q[sample, head, rows] @ keys, dim=-1)
                torch.mm(weights, values, out=out[sample, head, rows])
    return out
