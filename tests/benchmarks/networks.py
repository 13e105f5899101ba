"""Seconds per 256 px tile and step of CNP + WA at the paper's size: ours beside a plain version.

    python -m tests.benchmarks.networks [--size 256] [--steps 10] [--runs 3] [--bf16] [--compile]
        [--device cuda]

The plain version is the published formulation, written again in tests/models/plain_unet.py:
attention with its whole matrix of weights, contiguous layout, nothing fused, float32. All versions
have the same random weights and are timed in turn in one process. Ours runs in float32 and, where
the processor has units for it (or with --bf16), in bfloat16; with --compile also through
torch.compile, which takes minutes. Ratios are medians over the rounds: of the time that passed, and
of the time this process computed, which other work on the machine disturbs less. Beside them stands
how far a sample of --steps DDIM steps is from the plain version's, in grey levels of 255.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from decr.device import has_bfloat16_units, heavy_in, make_cuda_repeatable, pick_device
from decr.diffusion.fusion import FusedDenoiser
from decr.diffusion.samplers import ddim
from decr.diffusion.schedule import NoiseSchedule
from decr.models.registry import create
from tests.models.plain_unet import PlainUNet
from tests.tiny import randomised

Networks = list[nn.Module]
Version = Callable[[int], Tensor]
"""Steps to the sample they give."""

PLAIN = "plain float32"
BFLOAT16 = "ours bfloat16"


def networks(bands: int, layout: torch.memory_format = torch.channels_last) -> Networks:
    """CNP and WA of the published size; the same weights at every call."""
    built = []
    for seed, name in enumerate(("cnp", "wa")):
        torch.manual_seed(seed)
        built.append(randomised(create(name, bands), seed, 0.01).eval().to(memory_format=layout))
    return built


def plain_networks(bands: int) -> Networks:
    """The same as published: contiguous, unfused."""
    built = networks(bands, torch.contiguous_format)
    for network in built:
        network.unet = PlainUNet(network.unet)  # type: ignore[arg-type]
    return built


@torch.inference_mode()
def sample(pair: Networks, cloudy: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """DDIM from seeded noise; the cloudy image stands in for the reference's output."""
    schedule, device = NoiseSchedule.linear(), cloudy.device
    noise = torch.randn(cloudy.shape, generator=torch.Generator().manual_seed(0)).to(device)
    with heavy_in(dtype, device):
        denoise = FusedDenoiser(pair[0], pair[1], schedule, cloudy, cloudy, 0.3)
        return ddim(denoise, noise, schedule.respaced(steps)).cpu()


def versions(
    bands: int, size: int, bf16: bool, compiled: bool, device: torch.device
) -> dict[str, Version]:
    """What is to be timed, by name."""
    generator = torch.Generator().manual_seed(1)
    cloudy = (torch.rand((1, bands, size, size), generator=generator) * 2 - 1).to(device)
    packed = cloudy.contiguous(memory_format=torch.channels_last)
    plain, ours = plain_networks(bands), networks(bands)
    for network in (*plain, *ours):
        network.to(device)
    found: dict[str, Version] = {
        PLAIN: lambda steps: sample(plain, cloudy, steps, torch.float32),
        "ours float32": lambda steps: sample(ours, packed, steps, torch.float32),
    }
    if bf16:
        found[BFLOAT16] = lambda steps: sample(ours, packed, steps, torch.bfloat16)
    if compiled:
        fast = networks(bands)
        for network in fast:
            network.to(device).compile(dynamic=False)
        kind = torch.bfloat16 if bf16 else torch.float32
        found["ours compiled"] = lambda steps: sample(fast, packed, steps, kind)
    return found


def timed(run: Version, steps: int) -> tuple[float, float]:
    """Seconds that passed, and seconds that this process computed."""
    passed, computed = time.perf_counter(), time.process_time()
    run(steps)
    return time.perf_counter() - passed, time.process_time() - computed


def ratio(plain: list[float], ours: list[float]) -> float:
    """Median over the rounds of how many times as fast ours is."""
    return statistics.median(p / o for p, o in zip(plain, ours, strict=True))


def measure(found: dict[str, Version], steps: int, runs: int) -> list[dict[str, float | str]]:
    """One row per version."""
    first = {name: timed(run, 1)[0] for name, run in found.items()}  # warms up, and compiles
    images = {name: run(steps) for name, run in found.items()}
    passed: dict[str, list[float]] = {name: [] for name in found}
    computed: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(runs):
        for name, run in found.items():
            seconds = timed(run, 1)
            passed[name].append(seconds[0])
            computed[name].append(seconds[1])
    rows: list[dict[str, float | str]] = []
    for name in found:
        grey = (images[name] - images[PLAIN]).abs() * 127.5
        rows.append(
            {
                "version": name,
                "seconds_first": first[name],
                "seconds_per_step": statistics.median(passed[name]),
                "cpu_seconds_per_step": statistics.median(computed[name]),
                "times_as_fast": ratio(passed[PLAIN], passed[name]),
                "times_as_fast_cpu": ratio(computed[PLAIN], computed[name]),
                "mean_grey": float(grey.mean()),
                "max_grey": float(grey.max()),
            }
        )
    return rows


def main() -> None:
    """Time, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="side of the tile, px")
    parser.add_argument("--steps", type=int, default=10, help="of the sample that is compared")
    parser.add_argument("--runs", type=int, default=3, help="rounds of timing")
    parser.add_argument("--bands", type=int, default=4)
    parser.add_argument("--bf16", action="store_true", help="bfloat16 also without units for it")
    parser.add_argument("--compile", action="store_true", help="also compiled; takes minutes")
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args()
    device = pick_device(options.device)
    if device.type == "cuda":
        make_cuda_repeatable()
    bf16 = options.bf16 or has_bfloat16_units(device)
    found = versions(options.bands, options.size, bf16, options.compile, device)
    rows = measure(found, options.steps, options.runs)
    for row in rows:
        print(
            f"{row['version']:14} {row['seconds_per_step']:9.4f} s per step "
            f"({row['cpu_seconds_per_step']:.2f} computing; first {row['seconds_first']:.1f})  "
            f"{row['times_as_fast']:.2f} x ({row['times_as_fast_cpu']:.2f} x computing)  "
            f"{options.steps}-step sample: mean {row['mean_grey']:.5f} "
            f"max {row['max_grey']:.5f} grey levels"
        )
    if not bf16:
        print("ours bfloat16  left out: this processor has no units for it (--bf16 runs it anyway)")
    if options.out:
        head = {
            "cpu": platform.processor(),
            "threads": torch.get_num_threads(),
            "size": options.size,
            "steps": options.steps,
        }
        options.out.write_text(json.dumps(head | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
