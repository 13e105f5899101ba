"""Dask clusters as engines: worker processes of this machine, or a scheduler's."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from decr.device import default_blocks, device_count, pick_device
from decr.errors import ClusterError, ConfigError
from decr.geo.names import absolute_name
from decr.lanes import available_lanes
from decr.pipeline.engine import Engine, Tell, closed, local_engine
from decr.pipeline.fetching import Fetching
from decr.pipeline.memory import share_heap
from decr.pipeline.remote import Remote, asked, dask_explained, on_worker
from decr.pipeline.words import warn

_CONNECT_S = 20
"""How long a scheduler is waited for that does not answer."""


@contextmanager
def open_engine(
    workers: int = 1, scheduler: str | None = None, device: str = "auto"
) -> Iterator[Engine]:
    """The engine that the user asked for.

    Parameters
    ----------
    workers
        Processes of this machine; one is this process itself. They share its cores, or have a
        CUDA device each, for which dask-cuda must be installed. Each imports the script that asks
        for them, which must do so under ``if __name__ == "__main__":``.
    scheduler
        Address of a running Dask scheduler, such as ``tcp://host:8786``. Its workers need the
        same decr, and read scenes and model files by the same paths; this process writes. A worker
        restores as many tiles at a time as it has Dask threads.

    Raises
    ------
    ConfigError
        If both are asked for, or dask-cuda is missing.
    ClusterError
        If the scheduler cannot be reached or has no workers, or processes do not start.
    """
    if scheduler is not None and workers != 1:
        raise ConfigError("the scheduler's workers are used: drop the number of workers")
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, not {workers}")
    if scheduler is not None:
        with _connected(scheduler) as engine:
            yield engine
    elif workers == 1:
        with local_engine(default_blocks(pick_device(device))) as engine:
            try:
                yield engine
            except KeyboardInterrupt:
                # Before the engine is left, which may take a while.
                warn("interrupted: stops after the tiles at hand")
                raise
    else:
        with _local_cluster(workers, device) as engine:
            yield engine


@contextmanager
def _local_cluster(workers: int, device: str) -> Iterator[Engine]:
    distributed: Any = import_module("distributed")
    make = distributed.LocalCluster
    options: dict[str, Any] = {
        "n_workers": workers,
        "threads_per_worker": 2,  # one computes a block, the other reads the next
        "dashboard_address": "127.0.0.1:0",
        "silence_logs": logging.CRITICAL,
    }
    lanes = max(1, available_lanes() // workers)
    if pick_device(device).type == "cuda":
        there = device_count()
        if workers > there:
            raise ConfigError(
                f"{workers} workers on CUDA devices, but there are {there}: each takes one; use at "
                f"most {there} workers, or --device cpu"
            )
        try:
            make = import_module("dask_cuda").LocalCUDACluster
        except ImportError as error:
            raise ConfigError(
                f"{workers} workers on CUDA devices need dask-cuda: pip install 'decr[cuda]', or "
                f"use one worker"
            ) from error
        lanes = 1
    else:
        # Memory is bounded by the plan; Dask would stop workers by the machine's share instead.
        options |= {"processes": True, "memory_limit": 0, "host": "127.0.0.1"}
    name = f"{workers} processes of this machine"
    try:
        cluster = make(**options)
    except (RuntimeError, OSError) as error:
        raise ClusterError(
            f"{name} did not start ({error}); use fewer workers. A script of yours is run by each "
            f'once more: have it start them under `if __name__ == "__main__":` only'
        ) from error
    with cluster, distributed.Client(cluster) as client:
        with dask_explained(name, client):
            client.register_plugin(_ready_worker())
        with _engine(client, workers, lanes, name) as engine:
            yield engine


def _ready_worker() -> Any:
    """Makes each worker ready, also one that takes a lost one's place.

    It keeps the pages of its heap: Dask has glibc give every freed array back to the system. What
    plug-ins print in it leaves standard output to the results.
    """
    distributed: Any = import_module("distributed")

    class ReadyWorker(distributed.WorkerPlugin):  # type: ignore[misc]
        name = "decr-ready-worker"

        def setup(self, worker: object) -> None:
            share_heap()
            sys.stdout = sys.stderr

    return ReadyWorker()


@contextmanager
def _connected(address: str) -> Iterator[Engine]:
    distributed: Any = import_module("distributed")
    try:
        # In a thread, since notebooks have a loop of their own that runs.
        with ThreadPoolExecutor(1) as probing:
            probing.submit(asyncio.run, _greeted(address)).result()
        client = distributed.Client(address, timeout=_CONNECT_S)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"{address}: no Dask scheduler answers there ({error}); start one with `dask "
            f"scheduler`, or check the address"
        ) from error
    with _silenced(), client:
        threads = asked(client, address, "ncores")
        if not threads:
            raise ClusterError(
                f"{address}: this Dask scheduler has no workers; start some with `dask worker "
                f"{address}`, or give an adaptive cluster a minimum of at least one"
            )
        lanes = min(threads.values())
        name = f"{len(threads)} Dask workers of {address}"
        with _engine(client, len(threads), lanes, name) as engine:
            yield replace(engine, elsewhere=True)


async def _greeted(address: str) -> None:
    """Connect and leave: Dask's own client waits for ever where nobody greets it.

    Raises
    ------
    OSError
        If nobody does.
    """
    connect = import_module("distributed.comm").connect
    secrets = import_module("distributed").Security().get_connection_args("client")
    comm = await asyncio.wait_for(connect(address, timeout=_CONNECT_S, **secrets), _CONNECT_S)
    await comm.close()


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep Dask from printing what is raised as well; these handlers serve all its loggers."""

    def critical(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.CRITICAL

    handlers = list(logging.getLogger("distributed").handlers)
    for handler in handlers:
        handler.addFilter(critical)  # this call's own: others may come and go meanwhile
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(critical)


@contextmanager
def _engine(client: Any, workers: int, lanes: int, name: str) -> Iterator[Engine]:
    under_way: list[Remote] = []
    left = False

    def send(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Remote:
        if left:
            raise closed()
        begin = partial(client.submit, on_worker, function, arguments, pure=False)
        return Remote(begin, name, client, under_way, Fetching(client))

    def submit(function: Callable[[Any, Tell], Any], task: Any, tell: Tell) -> Remote:
        return send(function, (_in_any_folder(task), _unheard))

    def ask(function: Callable[..., Any], *arguments: Any) -> Any:
        return send(function, arguments).result()

    dashboard = client.dashboard_link if find_spec("bokeh") is not None else None
    try:
        yield Engine(
            submit, 3 * workers, travels=True, lanes=lanes, ask=ask, name=name, dashboard=dashboard
        )
    finally:
        left = True


def _in_any_folder(task: Any) -> Any:
    """A task whose scene and mask have names that hold whatever folder a worker was started in."""
    named = {what: getattr(task, what, None) for what in ("scene", "mask")}
    absolute = {
        what: replace(raster, path=absolute_name(str(raster.path)))
        for what, raster in named.items()
        if raster is not None
    }
    return replace(task, **absolute)


def _unheard(count: int) -> None:
    """Workers tell nobody of single tiles; blocks are counted where they are written."""
