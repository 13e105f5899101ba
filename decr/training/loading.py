"""Batches of samples, drawn ahead by a thread or by processes: the same ones either way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from mmap import PAGESIZE
from multiprocessing.connection import wait
from multiprocessing.queues import Queue
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import signal_handling

from decr.dataset.samples import Draw, Sample
from decr.errors import DatasetError, warn
from decr.training.place import Place
from decr.training.settings import TrainConfig
from decr.training.stage_run import Images
from decr.training.stages import Stage

_SHARED = "/dev/shm"
"""Where torch hands over batches from process to process."""
_AHEAD = 2
"""Batches that each process has ready."""
_UNSENT = os.EX_IOERR
"""How a process ends that cannot hand over a batch."""
_UNSENT_TOLD = (
    f"could not hand them over: {_SHARED} is full or too small, or too few files may be open; make "
    f"it larger (docker run --shm-size 2g), raise 'ulimit -n', or run again with --loaders 0 to go "
    f"on from the last checkpoint"
)
_KILLED_TOLD = (
    "was killed, as they are where memory runs out; run again to go on from the last checkpoint, "
    "with fewer --loaders"
)


def number_of(name: str) -> int:
    """A stable number for a name: its first four bytes."""
    return int.from_bytes(name.encode()[:4], "little")


def default_loaders(place: Place) -> int:
    """Processes that keep a place supplied: none beside a CPU, which is the slower part.

    A CUDA device takes samples faster than one core draws them, so there it is the cores of this
    process's share, less one. Processes inherit the imagery and are made by forking; where that
    cannot be done, a thread draws.
    """
    if place.device.type != "cuda" or "fork" not in multiprocessing.get_all_start_methods():
        return 0
    return max(1, len(os.sched_getaffinity(0)) // place.size - 1)


def batch_of(draw: Draw, config: TrainConfig, stage: Stage, step: int, rows: range) -> Images:
    """Some rows of a step's batch: each sample is a function of seed, step and its own number."""
    samples = [
        draw(np.random.default_rng([config.seed, number_of(stage.name), step, index]))
        for index in rows
    ]
    return stacked(samples)


def stacked(samples: Sequence[Sample]) -> Images:
    """Samples as one batch: cloudy and clear images (N, C, H, W), and masks (N, H, W)."""
    cloudy, clear, mask = (
        torch.from_numpy(np.stack([getattr(s, field) for s in samples]))
        for field in ("cloudy", "clear", "cloud_mask")
    )
    return cloudy, clear, mask


class _Steps(Dataset[Images]):
    """The batches that the steps from ``first`` on draw, as torch's loader wants them."""

    def __init__(
        self, draw: Draw, config: TrainConfig, stage: Stage, first: int, rows: range
    ) -> None:
        self.draw, self.config, self.stage, self.rows = draw, config, stage, rows
        self.numbers = range(first // config.turns, -(-config.last // config.turns))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Images:
        return batch_of(self.draw, self.config, self.stage, self.numbers[index], self.rows)


def batches(
    draw: Draw,
    config: TrainConfig,
    stage: Stage,
    first: int,
    rows: range,
    loaders: int,
    sharers: int = 1,
) -> Iterator[Images]:
    """Batches of the steps from ``first`` on, the next ones prepared while one is used.

    One that serves several steps (``config.turns``) comes as often.

    Parameters
    ----------
    loaders
        Processes that draw them, a whole batch each; 0 is a thread of this process. Where there is
        not the room to hand over the batches of so many, they are fewer.
    sharers
        Processes of this machine that do the same.

    Warns
    -----
    DecrWarning
        If loaders are fewer.
    """
    drawn = _drawn(_Steps(draw, config, stage, first, rows), loaders, sharers)
    for step in range(first, config.last):
        if step == first or step % config.turns == 0:
            batch = next(drawn)
        yield batch


@contextmanager
def lost_loaders_told(run_dir: Path) -> Iterator[None]:
    """One clear error where a process that draws was killed, or could not hand over its samples.

    Raises
    ------
    DatasetError
        With what to do.
    """
    try:
        yield
    except ChildProcessError as error:
        raise DatasetError(f"{run_dir}: a process that draws samples {error}") from error


def _drawn(steps: _Steps, loaders: int, sharers: int) -> Iterator[Images]:
    """Each batch once, in order."""
    loaders = _fitting(steps, loaders, sharers) if loaders and len(steps) else 0
    if loaders:
        yield from _drawn_elsewhere(steps, loaders)
        return
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(steps.__getitem__, 0)
        for index in range(len(steps)):
            batch = ahead.result()
            if index + 1 < len(steps):
                ahead = pool.submit(steps.__getitem__, index + 1)
            yield batch


def _fitting(steps: _Steps, loaders: int, sharers: int) -> int:
    """As many of the loaders as there is room for what they have ready and what is in use."""
    if sys.platform != "linux":
        return loaders
    if not os.access(_SHARED, os.W_OK):
        warn(
            f"{_SHARED}: cannot be written, so processes cannot hand over samples: a thread draws "
            f"them; make it writable, or say --loaders 0"
        )
        return 0
    sample = stacked([steps.draw(np.random.default_rng(0))])
    batch = sum(field.nbytes * len(steps.rows) + PAGESIZE for field in sample)
    free, need = _free_bytes(sharers), (_AHEAD * loaders + 1) * batch
    if need <= free:
        return loaders
    fitting = max(0, (free // batch - 1) // _AHEAD)
    warn(
        f"{_SHARED}: has {free / 1e6:.1f} MB free for this process, and --loaders {loaders} needs "
        f"{need / 1e6:.1f} MB for batches: samples are drawn by "
        f"{f'{fitting} of them' if fitting else 'a thread'}; make it larger (docker run "
        f"--shm-size {-(-need * sharers // 2**20)}m), or say --loaders {fitting}"
    )
    return fitting


def _free_bytes(sharers: int) -> int:
    """Room for what one of the processes that do the same hands over; others may have begun."""
    room = os.statvfs(_SHARED)
    return min(room.f_bavail, room.f_blocks // sharers) * room.f_frsize


def _drawn_elsewhere(steps: _Steps, loaders: int) -> Iterator[Images]:
    """The same, by other processes.

    Raises
    ------
    ChildProcessError
        If one of them was killed, or could not hand over a batch; says so. Torch has a RuntimeError
        for that, but it may also be whatever the connection that breaks raises.
    """
    before, handler = set(multiprocessing.active_children()), signal.getsignal(signal.SIGCHLD)
    try:
        batches = iter(
            DataLoader(
                steps,
                batch_size=None,
                num_workers=loaders,
                prefetch_factor=_AHEAD,
                multiprocessing_context="fork",
                worker_init_fn=_begins,
                pin_memory=torch.cuda.is_available(),
            )
        )
        # Torch's handler, set by this loader or another of the process, raises wherever the main
        # thread happens to be.
        of_torch = getattr(handler, "__module__", None) == signal_handling.__name__
        _handle_children(signal.SIG_DFL if of_torch else handler)
        own = set(multiprocessing.active_children()) - before
        try:
            yield from batches
        except (RuntimeError, OSError, EOFError) as error:
            # A connection breaks a moment before its process is known to be gone.
            ended = wait([one.sentinel for one in own], timeout=1.0)
            for one in own:
                if one.sentinel in ended:
                    one.join()  # or its SIGCHLD may come after torch's handler is back
            if ended:
                lost = {one.exitcode for one in own} & {_UNSENT, -signal.SIGBUS}
                raise ChildProcessError(_UNSENT_TOLD if lost else _KILLED_TOLD) from error
            raise
    finally:
        _handle_children(handler)


def _handle_children(handler: Any) -> None:
    """Let a handler have SIGCHLD, where that can be said."""
    if current_thread() is main_thread():
        signal.signal(signal.SIGCHLD, handler)


def _begins(_: int) -> None:
    """Prepare a process that draws.

    Ctrl-C reaches every process of a terminal; the one that trains says when to stop. It does so by
    SIGTERM, which it may itself put off to the end of a step: see `interrupt`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Or a batch that cannot be handed over would be left out, and waited for without end.
    Queue._on_queue_feeder_error = staticmethod(  # type: ignore[attr-defined]
        lambda error, batch: os._exit(_UNSENT)
    )
