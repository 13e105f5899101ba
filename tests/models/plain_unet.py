"""The U-Net as published, step by step and with nothing fused: what ours must equal, and outrun."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decr.models.unet import AttentionBlock, Downsample, ResBlock, UNet, Upsample, time_embedding


def plain_norm(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    return F.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)


def plain_block(block: ResBlock, x: Tensor, embedding: Tensor | None) -> Tensor:
    """A residual block; scale and shift, or the sum, over the whole map."""
    h = block.in_layers[2](F.silu(plain_norm(block.in_layers[0], x)))
    if embedding is None:
        h = plain_norm(block.out_layers[0], h)
    else:
        e = block.emb_layers[1](F.silu(embedding)).type(h.dtype)[..., None, None]
        if block.scale_shift:
            scale, shift = e.chunk(2, dim=1)
            h = plain_norm(block.out_layers[0], h) * (1 + scale) + shift
        else:
            h = plain_norm(block.out_layers[0], h + e)
    h = block.out_layers[3](F.silu(h))
    return block.skip_connection(x) + h


def plain_attention(block: AttentionBlock, x: Tensor) -> Tensor:
    """Attention whose scores of all pairs of pixels lie in memory; softmax in float32."""
    n, c, rows, cols = x.shape
    flat = x.reshape(n, c, rows * cols)
    qkv = F.conv1d(plain_norm(block.norm, flat), block.qkv.weight, block.qkv.bias)
    q, k, v = qkv.reshape(n * block.heads, 3 * c // block.heads, -1).chunk(3, dim=1)
    scale = (c // block.heads) ** -0.25
    scores = torch.einsum("bct,bcs->bts", q * scale, k * scale)
    share = torch.softmax(scores.float(), dim=-1).type(scores.dtype)
    h = torch.einsum("bts,bcs->bct", share, v).reshape(n, c, rows * cols)
    h = F.conv1d(h, block.proj_out.weight, block.proj_out.bias)
    return (flat + h).reshape(n, c, rows, cols)


def plain_stage(stage: nn.Module, x: Tensor, embedding: Tensor | None) -> Tensor:
    for module in stage.children():
        if isinstance(module, ResBlock):
            x = plain_block(module, x, embedding)
        elif isinstance(module, AttentionBlock):
            x = plain_attention(module, x)
        elif isinstance(module, Upsample):
            x = module.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        elif isinstance(module, Downsample):
            x = module.op(x)
        else:
            x = module(x)
    return x


class PlainUNet(nn.Module):
    """Takes the place of a :class:`UNet` and uses its weights."""

    def __init__(self, ours: UNet) -> None:
        super().__init__()
        self.ours = ours

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        ours, embedding = self.ours, None
        if ours.size.timed:
            assert t is not None
            embedding = ours.time_embed(time_embedding(t, ours.size.width))
        skips = []
        for stage in ours.input_blocks:
            x = plain_stage(stage, x, embedding)
            skips.append(x)
        x = plain_stage(ours.middle_block, x, embedding)
        for stage in ours.output_blocks:
            x = plain_stage(stage, torch.cat([x, skips.pop()], dim=1), embedding)
        return ours.out[2](F.silu(plain_norm(ours.out[0], x)))
