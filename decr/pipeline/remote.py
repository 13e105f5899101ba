"""A task on a worker of a Dask cluster, from its sending to its result, and what it may meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from decr.errors import ClusterError, DecrError, SchedulerError
from decr.pipeline.fetching import Fetching

_PATIENCE_S = 20
_LOOKS = 3
"""How often, so many seconds apart, nobody may be at work before they are given up."""
_AGAIN = "then run the same command again: what is finished is kept"
_KILLED = (
    f"as they are where memory runs out, or where a model or detector of another package ends its "
    f"process; take fewer workers or fewer threads of each (decr plan says what one process "
    f"needs), {_AGAIN}"
)


def asked(client: Any, where: str, question: str) -> Any:
    """What the scheduler answers; one that is gone or stopped may never do so."""
    try:
        return client.sync(getattr(client.scheduler, question), callback_timeout=_PATIENCE_S)
    except TimeoutError as error:
        raise SchedulerError(
            f"{where}: the scheduler has not answered for {_PATIENCE_S} s; see that it runs, "
            f"{_AGAIN}"
        ) from error


@contextmanager
def dask_explained(where: str, client: Any) -> Iterator[None]:
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


class Remote:
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
        under_way: list[Remote],
        fetching: Fetching,
    ) -> None:
        self._begin, self._where, self._client, self._under_way = begin, where, client, under_way
        self._fetching = fetching
        with dask_explained(where, client):
            self._send(list(asked(client, where, "ncores_running")))
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
        workers = asked(self._client, self._where, "identity")["workers"]
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
            keys = asked(self._client, self._where, "processing")
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
            with dask_explained(self._where, self._client):
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


def on_worker(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call a function on a worker; its errors say where they arose."""
    from distributed import get_worker

    try:
        return function(*arguments)
    except DecrError as error:
        kind, reason = type(error), str(error)
        where = f"(on the worker {get_worker().address})"
    # Outside the handler: the cause may be an error of GDAL that cannot travel.
    raise kind(f"{reason} {where}")
