"""Where a run computes: its device, its precision, and the processes that share the work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from decr.device import make_cuda_repeatable, pick_device, pick_precision

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Place:
    """One process of a run.

    Attributes
    ----------
    device
        Of this process.
    dtype
        Of the heavy arithmetic; parameters, sums and losses stay float32.
    rank, size
        Number of this process and of all; the one of rank 0 writes files.
    """

    device: torch.device = _CPU
    dtype: torch.dtype = torch.float32
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    @property
    def layout(self) -> torch.memory_format:
        """The memory layout in which training is fastest there.

        Convolutions like channels last. But torch's backward of GroupNorm in that layout is slow in
        bfloat16 on a CPU, so much that whole steps of the compact reference took longer.
        """
        if self.device.type == "cpu" and self.dtype == torch.bfloat16:
            return torch.contiguous_format
        return torch.channels_last

    def rows(self, batch: int) -> range:
        """Which samples of a batch are this process's."""
        return range(batch * self.rank // self.size, batch * (self.rank + 1) // self.size)

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace float32 tensors by their sums over all processes."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process: all of them get the same answer."""
        if self.size == 1:
            return flag
        votes = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(votes)
        return bool(votes.item() > 0)

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()


def processes() -> int:
    """How many processes torchrun started; 1 where it did not, whatever size others tell of."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def leads() -> bool:
    """Whether this is the process that speaks, of those that torchrun started."""
    return processes() == 1 or os.environ["RANK"] == "0"


@contextmanager
def placed(device: str, precision: str) -> Iterator[Place]:
    """The place of this process; joins the others when `torchrun` started several.

    Parameters
    ----------
    device
        "auto", "cpu" or "cuda"; with several processes on CUDA each takes the card of its number.
    precision
        "auto", "float32" or "bfloat16".

    Raises
    ------
    ConfigError
        If CUDA is asked for and absent.
    """
    target = pick_device(device)
    if target.type == "cuda":
        make_cuda_repeatable()
    size = processes()
    if size == 1:
        yield Place(target, pick_precision(precision, target))
        return
    if target.type == "cuda":
        target = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(target)
    dist.init_process_group("nccl" if target.type == "cuda" else "gloo")
    try:
        yield Place(target, pick_precision(precision, target), dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
