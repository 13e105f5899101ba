"""Padding an image to sides that a network can halve, and nothing else."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Extend an image at the bottom and right until both sides are multiples of ``multiple``.

    (N, C, H, W) to (N, C, H', W'), with ``x`` at the top left: crop a result with
    ``[..., :H, :W]``. It is mirrored, or where it is too small for a mirror, edge pixels are
    repeated; where nothing is missing it is ``x`` itself.

    Examples
    --------
    >>> import torch
    >>> tuple(pad_to_multiple(torch.zeros(1, 3, 45, 51), 8).shape)
    (1, 3, 48, 56)
    """
    rows, cols = x.shape[-2:]
    down, right = -rows % multiple, -cols % multiple
    if not down and not right:
        return x
    # A mirror keeps texture going, but cannot show more pixels than there are.
    mode = "reflect" if down < rows and right < cols else "replicate"
    return F.pad(x, (0, right, 0, down), mode=mode)


def repeat_edges_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """As `pad_to_multiple`, but edge pixels are always repeated.

    For the compact reference alone, whose embedded weights were trained so.
    """
    down, right = (-side % multiple for side in x.shape[-2:])
    return F.pad(x, (0, right, 0, down), mode="replicate") if down or right else x
