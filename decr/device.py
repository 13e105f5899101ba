"""Where networks compute: the device, its precision, and how a CUDA device is kept busy."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from queue import LifoQueue
from typing import Any

import torch
from torch import Tensor

from decr.errors import ConfigError
from decr.lanes import available_lanes

Run = Callable[..., Tensor]
"""Some tensors on a device to one."""

_CUDA_LANES = 2
"""Batches under way on a CUDA device: one computes while the other is copied."""
_CUDA_BLOCKS = 6
"""Blocks that can keep pace with it; each takes a core and some memory."""
_LANES_PER_BLOCK = 16
"""So many tiles side by side keep one core busy with cutting and summing them."""


def pick_device(device: str) -> torch.device:
    """The torch device for "auto", "cpu", "cuda" or "cuda:N".

    Raises
    ------
    ConfigError
        If CUDA is asked for and absent, or the name is no device's.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("device 'cuda' was asked for, but torch sees no CUDA device here")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {device!r}; use auto, cpu or cuda") from error


def ready_device(device: str) -> torch.device:
    """As `pick_device`; of CUDA the one that "cuda" means now, by number, made repeatable."""
    target = pick_device(device)
    if target.type != "cuda":
        return target
    make_cuda_repeatable()
    return torch.device("cuda", torch.cuda.current_device()) if target.index is None else target


def device_count() -> int:
    """CUDA devices that this process can see."""
    return int(torch.cuda.device_count())


def device_name(device: torch.device) -> str:
    """What people call a device: the card's name, or its kind."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def has_bfloat16_units(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 there: AVX512-BF16 or AMX, any recent CUDA card."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def pick_precision(precision: str, device: torch.device) -> torch.dtype:
    """The type of the heavy arithmetic for "auto", "float32" or "bfloat16".

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise ConfigError(f"unknown precision {precision!r}; use auto, float32 or bfloat16")
    if precision == "auto":
        return torch.bfloat16 if has_bfloat16_units(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def heavy_in(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[Any]:
    """Heavy arithmetic of a device in a type, inside a with statement."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def resolved(device: str, precision: str) -> tuple[str, str]:
    """What "auto" means in this process: names of the device and of the precision."""
    target = pick_device(device)
    return str(target), str(pick_precision(precision, target)).removeprefix("torch.")


def micro_batch(device: torch.device) -> int:
    """Tiles per network call, fixed per kind of device.

    Convolution kernels may round differently for different batch shapes, so the shape is pinned
    and the last batch padded: results do not depend on how tiles were grouped.
    """
    return 8 if device.type == "cuda" else 1


def default_lanes(device: torch.device) -> int:
    """Network calls at a time: one per core, or enough that a CUDA device never waits."""
    return available_lanes() if device.type == "cpu" else _CUDA_LANES


def default_blocks(device: torch.device) -> int:
    """Blocks of a scene that one process restores at a time.

    One core cuts, sums and writes the tiles of a block while the networks compute others. It
    falls behind where they are fast: on a CUDA device, and on a CPU of many cores.
    """
    if device.type == "cuda":
        return max(1, min(_CUDA_BLOCKS, len(os.sched_getaffinity(0)) // 2))
    return 1 + (available_lanes() - 1) // _LANES_PER_BLOCK


def make_cuda_repeatable() -> None:
    """Make this process's CUDA arithmetic repeatable, and float32 where float32 is said.

    Torch would use TF32 in convolutions, with 10 bits of mantissa, and may pick other kernels from
    one call to the next.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


class Recorded:
    """A function of tensors of one shape, replayed on a CUDA device from recordings.

    Small networks consist of thousands of kernels that take less time to run than to start.
    A CUDA graph starts them all at once. Each lane needs a recording of its own, since inputs and
    output of one lie in fixed places.

    Parameters
    ----------
    run
        Gives the same kernels for all inputs of one shape.
    lanes
        Calls at a time.
    """

    def __init__(self, run: Run, device: torch.device, lanes: int) -> None:
        self._run, self._device, self._lanes = run, device, lanes
        self._recording = threading.Lock()
        self._recordings: dict[tuple[torch.Size, ...], LifoQueue[_Recording]] = {}

    @torch.inference_mode()
    def __call__(self, *inputs: Tensor) -> Tensor:
        """The function's result for tensors of the CPU, on the CPU."""
        shapes = tuple(value.shape for value in inputs)
        with self._recording:
            if shapes not in self._recordings:
                free: LifoQueue[_Recording] = LifoQueue()
                for _ in range(self._lanes):
                    free.put(_Recording(self._run, inputs, self._device))
                self._recordings[shapes] = free
        free = self._recordings[shapes]
        recording = free.get()
        try:
            return recording.replay(inputs)
        finally:
            free.put(recording)


class _Recording:
    """One CUDA graph, the places of its inputs and output, and the stream it runs on."""

    def __init__(self, run: Run, like: tuple[Tensor, ...], device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._inputs = [torch.zeros_like(value, device=device) for value in like]
        torch.cuda.synchronize(device)
        with torch.cuda.stream(self._stream):
            for _ in range(2):  # libraries choose kernels and take memory at the first calls
                run(*self._inputs)
        self._stream.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            self._output = run(*self._inputs)
        torch.cuda.synchronize(device)

    def replay(self, inputs: tuple[Tensor, ...]) -> Tensor:
        with torch.cuda.stream(self._stream):
            for place, value in zip(self._inputs, inputs, strict=True):
                # From pinned memory the device copies while the CPU goes on.
                place.copy_(value.pin_memory(), non_blocking=True)
            self._graph.replay()
            return self._output.cpu()
