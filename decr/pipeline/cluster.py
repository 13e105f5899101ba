"""Dask clusters as engines: worker processes of this machine, or a scheduler's."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from decr.device import default_blocks, device_count, pick_device
from decr.errors import ClusterError, ConfigError, DecrError, SchedulerError
from decr.geo.names import absolute_name
from decr.lanes import available_lanes
from decr.pipeline.engine import Engine, Tell, closed, local_engine
from decr.pipeline.fetching import Fetching
from decr.pipeline.memory import share_heap
from decr.pipeline.words import warn

_PATIENCE_S = 20
_LOOKS = 3
"""How often, so many seconds apart, nobody may be at work before they are given up."""
_AGAIN = "then run the same command again: what is finished is kept"
_KILLED = (
    f"as they are where memory runs out, or where a model or detector of another package ends its "
    f"process; take fewer workers or fewer threads of each (decr plan says what one process "
    f"needs), {_AGAIN}"
)


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
        with _explained(name, client):
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
        client = distributed.Client(address, timeout=_PATIENCE_S)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"{address}: no Dask scheduler answers there ({error}); start one with `dask "
            f"scheduler`, or check the address"
        ) from error
    with _silenced(), client:
        threads = _asked(client, address, "ncores")
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
    comm = await asyncio.wait_for(connect(address, timeout=_PATIENCE_S, **secrets), _PATIENCE_S)
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


def _asked(client: Any, where: str, question: str) -> Any:
    """What the scheduler answers; one that is gone or stopped may never do so."""
    try:
        return client.sync(getattr(client.scheduler, question), callback_timeout=_PATIENCE_S)
    except TimeoutError as error:
        raise SchedulerError(
            f"{where}: the scheduler has not answered for {_PATIENCE_S} s; see that it runs, "
            f"{_AGAIN}"
        ) from error


@contextmanager
def _engine(client: Any, workers: int, lanes: int, name: str) -> Iterator[Engine]:
    under_way: list[_Remote] = []
    left = False

    def send(function: Callable[..., Any], arguments: tuple[Any, ...]) -> _Remote:
        if left:
            raise closed()
        begin = partial(client.submit, _on_worker, function, arguments, pure=False)
        return _Remote(begin, name, client, under_way, Fetching(client))

    def submit(function: Callable[[Any, Tell], Any], task: Any, tell: Tell) -> _Remote:
        return send(function, (_in_any_folder(task), _unheard))

    def ask(function: Callable[..., Any], *arguments: Any) -> Any:
        return send(function, arguments).result()

    dashboard = client.dashboard_link if _has_dashboard() else None
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


@contextmanager
def _explained(where: str, client: Any) -> Iterator[None]:
    """Turn Dask's own errors, and those of workers unlike this process, into one of decr's."""
    try:
        yield
    except DecrError:
        raise
    except Exception as error:
        # The client may not have noticed yet what a call of its own has met.
        closed = isinstance(error, import_module("distributed.comm").CommClosedError)
        if closed or client.status != "running":
            raise SchedulerError(
                f"{where}: the connection to the scheduler is lost; start it again, {_AGAIN}"
            ) from error
        if isinstance(error, CancelledError):
            raise ClusterError(
                f"{where}: somebody restarted the cluster or cancelled its tasks; see that nobody "
                f"does, {_AGAIN}"
            ) from error
        if isinstance(error, import_module("distributed").KilledWorker):
            raise ClusterError(
                f"{where}: worker after worker was killed at one task, {_KILLED}"
            ) from error
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ClusterError(
            f"{where} failed ({reason}); see that they run the same decr and libraries, {_AGAIN}"
        ) from error


class _Remote:
    """A task of a Dask cluster, whose errors are decr's.

    Dask leaves a task that was meant for a lost worker to those that are there. Were all lost or
    paused at once, it does not give it to those that come instead: then it is begun anew. As Dask
    would take that for another task, what kills all workers again and again is counted here.
    """

    _future: Any
    _worker: str | None
    _lost = 0

    def __init__(
        self,
        begin: Callable[..., Any],
        where: str,
        client: Any,
        under_way: list[_Remote],
        fetching: Fetching,
    ) -> None:
        self._begin, self._where, self._client, self._under_way = begin, where, client, under_way
        self._fetching = fetching
        with _explained(where, client):
            self._send(list(_asked(client, where, "ncores_running")))
        under_way.append(self)

    def _send(self, running: Sequence[str]) -> None:
        """Begin it on the worker with the fewest of our tasks: Dask fills all threads of one."""
        others = (task for task in self._under_way if task is not self)
        busy = Counter(task._worker for task in others if not task._future.done())
        self._worker = min(running, key=lambda worker: busy[worker], default=None)
        # Others may take it, should this one be lost.
        meant = {"workers": [self._worker], "allow_other_workers": True} if self._worker else {}
        self._future = self._begin(**meant)

    def _leave(self) -> None:
        """Not before it is fetched: what is done may be lost with its worker, too."""
        if self in self._under_way:
            self._under_way.remove(self)

    def _look(self) -> str | None:
        """Why nobody is at work, if so; those who are get all that was left to others."""
        workers = _asked(self._client, self._where, "identity")["workers"]
        running = [one for one, known in workers.items() if known["status"] == "running"]
        # Paused workers, too, end what they execute, but nothing that waits there.
        executing = [
            one
            for one, known in workers.items()
            if known["metrics"].get("task_counts", {}).get("executing")
        ]
        if not running and not executing:
            paused = any(known["status"] == "paused" for known in workers.values())
            return _paused() if paused else _gone(self._client.cluster is not None)
        left = [t for t in self._under_way if t._worker not in running and not t._future.done()]
        if running and left:
            keys = _asked(self._client, self._where, "processing")
            held = {key for one in (*running, *executing) for key in keys.get(one, ())}
            for task in left:
                if task._future.key not in held:
                    task._count_loss(workers)
                    task._send(running)
        return None

    def _count_loss(self, workers: Collection[str]) -> None:
        """A paused worker is not lost, nor is one that never was."""
        self._lost += self._worker not in (None, *workers)
        allowed = import_module("dask").config.get("distributed.scheduler.allowed-failures")
        if self._lost > allowed:
            raise import_module("distributed").KilledWorker(self._future.key, None, allowed)

    def result(self) -> Any:
        """Wait for it, but not for ever where nobody is left to compute it."""
        try:
            with _explained(self._where, self._client):
                return self._fetched()
        finally:
            self._leave()
            self._fetching.stop()

    def _fetched(self) -> Any:
        alone = 0
        while True:
            future = self._future
            try:
                return self._fetching.result(future, _PATIENCE_S)
            except TimeoutError:
                if future.status == "error":  # the task's own: nothing is to be fetched
                    return future.result()
            idle = self._look()
            alone = alone + 1 if idle else 0
            if alone == _LOOKS:
                raise ClusterError(f"{self._where}: {idle}")

    def cancel(self) -> None:
        self._leave()
        self._future.cancel()


def _paused() -> str:
    return (
        f"all workers have been paused for {_LOOKS * _PATIENCE_S} s, as Dask does where they have "
        f"taken most of their memory limit; give each more (`dask worker --memory-limit`) or fewer "
        f"threads (--nthreads), or start fewer at once, {_AGAIN}"
    )


def _gone(ours: bool) -> str:
    if ours:  # Dask starts others for them, but may fail where these are killed at once, too
        return f"all were killed, {_KILLED}"
    return (
        f"all workers are gone; start some, {_AGAIN}; their logs say why they went, such as too "
        f"little memory, no decr or another one"
    )


def _on_worker(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call a function on a worker; its errors say where they arose."""
    from distributed import get_worker

    try:
        return function(*arguments)
    except DecrError as error:
        kind, reason = type(error), str(error)
        where = f"(on the worker {get_worker().address})"
    # Outside the handler: the cause may be an error of GDAL that cannot travel.
    raise kind(f"{reason} {where}")


def _unheard(count: int) -> None:
    """Workers tell nobody of single tiles; blocks are counted where they are written."""


def _has_dashboard() -> bool:
    return find_spec("bokeh") is not None
