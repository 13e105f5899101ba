"""Seconds per 256 px tile and step of CNP + WA at the paper's size: ours beside a plain version.

    python -m tests.benchmarks.networks [--steps 10] [--runs 3] [--side 256] [--out FILE]

The plain version is the published formulation, written again: attention with its whole matrix of
weights, softmax in float32, contiguous layout, nothing fused. Both have the same random weights and
are timed in turn in one process. Ours runs in float32 and, where the processor has units for it (or
with --bfloat16), in bfloat16. Beside the ratio stands how far a sample of some DDIM steps is from
the plain version's, in grey levels of 255.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from decr.diffusion.fusion import FusedDenoiser
from decr.diffusion.samplers import ddim
from decr.diffusion.schedule import NoiseSchedule
from decr.models.registry import create
from decr.models.unet import AttentionBlock
from decr.predictor import has_bfloat16_units
from tests.tiny import randomised

Networks = tuple[nn.Module, nn.Module]


class PlainAttention(nn.Module):
    """The published attention: scores of all pairs of pixels, held in memory."""

    def __init__(self, ours: AttentionBlock) -> None:
        super().__init__()
        self.heads, self.norm = ours.heads, ours.norm
        self.qkv, self.proj_out = ours.qkv, ours.proj_out

    def forward(self, x: Tensor) -> Tensor:
        n, c, rows, cols = x.shape
        flat = x.reshape(n, c, rows * cols)
        qkv = self.qkv(self.norm(flat)).reshape(n * self.heads, 3 * c // self.heads, rows * cols)
        q, k, v = qkv.chunk(3, dim=1)
        scale = 1 / math.sqrt(math.sqrt(c // self.heads))
        scores = torch.einsum("bct,bcs->bts", q * scale, k * scale)
        share = torch.softmax(scores.float(), dim=-1).type(scores.dtype)
        h = torch.einsum("bts,bcs->bct", share, v).reshape(n, c, rows * cols)
        return (flat + self.proj_out(h)).reshape(n, c, rows, cols)


def with_plain_attention(network: nn.Module) -> nn.Module:
    """Replace every attention of a network."""
    for name, child in list(network.named_children()):
        if isinstance(child, AttentionBlock):
            setattr(network, name, PlainAttention(child))
        else:
            with_plain_attention(child)
    return network


def networks(bands: int, layout: torch.memory_format) -> Networks:
    """CNP and WA of the published size; the same weights at every call."""
    built = []
    for seed, name in enumerate(("cnp", "wa")):
        torch.manual_seed(seed)
        built.append(randomised(create(name, bands), seed, 0.01).eval().to(memory_format=layout))
    return built[0], built[1]


@torch.inference_mode()
def sample(pair: Networks, cloudy: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """DDIM from seeded noise; the cloudy image stands in for the reference's output."""
    schedule = NoiseSchedule.linear()
    noise = torch.randn(cloudy.shape, generator=torch.Generator().manual_seed(0))
    heavy = torch.autocast("cpu", dtype) if dtype != torch.float32 else nullcontext()
    with heavy:
        denoise = FusedDenoiser(*pair, schedule, cloudy, cloudy, 0.3)
        return ddim(denoise, noise, schedule.respaced(steps))


def main() -> None:
    """Time, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--bands", type=int, default=4)
    parser.add_argument("--bfloat16", action="store_true", help="also without units for it")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    shape = (1, options.bands, options.side, options.side)
    cloudy = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    packed = cloudy.contiguous(memory_format=torch.channels_last)
    plain = networks(options.bands, torch.contiguous_format)
    plain = (with_plain_attention(plain[0]), with_plain_attention(plain[1]))
    ours = networks(options.bands, torch.channels_last)
    has_units = has_bfloat16_units(torch.device("cpu"))
    versions: dict[str, Callable[[int], Tensor]] = {
        "plain float32": lambda steps: sample(plain, cloudy, steps, torch.float32),
        "ours float32": lambda steps: sample(ours, packed, steps, torch.float32),
    }
    if has_units or options.bfloat16:
        versions["ours bfloat16"] = lambda steps: sample(ours, packed, steps, torch.bfloat16)
    seconds: dict[str, list[float]] = {name: [] for name in versions}
    images = {name: run(options.steps) for name, run in versions.items()}  # also warms up
    for _ in range(options.runs):
        for name, run in versions.items():
            began = time.perf_counter()
            run(1)
            seconds[name].append(time.perf_counter() - began)
    base = statistics.median(seconds["plain float32"])
    rows = []
    for name, times in seconds.items():
        grey = (images[name] - images["plain float32"]).abs() * 127.5
        median = statistics.median(times)
        row = {
            "version": name,
            "seconds_per_step": median,
            "times_as_fast": base / median,
            "mean_grey": float(grey.mean()),
            "max_grey": float(grey.max()),
        }
        rows.append(row)
        print(
            f"{name:14} {median:8.2f} s per step  {base / median:5.2f} x  "
            f"{options.steps}-step sample: mean {row['mean_grey']:.4f} "
            f"max {row['max_grey']:.3f} grey levels"
        )
    if "ours bfloat16" not in versions:
        print("bfloat16 left out: this processor has no units for it (--bfloat16 runs it anyway)")
    if options.out:
        head = {"cpu": platform.processor(), "threads": torch.get_num_threads(), "shape": shape}
        options.out.write_text(json.dumps(head | {"rows": rows}, indent=1))


if __name__ == "__main__":
    main()
