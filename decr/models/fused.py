"""GroupNorm, conditioning and SiLU in few passes over the activations.

Convolutions run near the peak of a processor; what lies between them is bound by memory, and the
faster the convolutions (bfloat16 units), the more it weighs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def norm_silu(x: Tensor, norm: nn.GroupNorm, modulation: Tensor | None = None) -> Tensor:
    """Normalise, scale and shift by the time embedding, and apply SiLU.

    Equals ``silu(norm(x) * (1 + scale) + shift)`` but for rounding.

    Parameters
    ----------
    x
        (N, C, H, W), float32 or bfloat16, unbounded; left as it is.
    norm
        GroupNorm over C channels, with weight and bias.
    modulation
        (N, 2C), scale then shift of each channel (Dhariwal & Nichol 2021, Eq. 6); None for none.

    Returns
    -------
    Tensor
        (N, C, H, W), in the memory layout that ``norm`` gives.
    """
    if modulation is None:
        h = norm(x)
    else:
        scale, shift = modulation.chunk(2, dim=1)
        scale = 1.0 + scale
        if len(x) == 1:
            # One sample has one scale and shift per channel, and so have the norm's own weights:
            # a product of C numbers instead of two passes over C * H * W.
            weight, bias = norm.weight * scale[0], norm.bias * scale[0] + shift[0]
            h = F.group_norm(x, norm.num_groups, weight, bias, norm.eps)
        else:
            h = norm(x)
            scale, shift = (part.to(h.dtype)[:, :, None, None] for part in (scale, shift))
            h = torch.addcmul(shift, h, scale)
    # `h` is ours alone. A gradient would need it as it was before SiLU.
    return F.silu(h, inplace=not torch.is_grad_enabled())
