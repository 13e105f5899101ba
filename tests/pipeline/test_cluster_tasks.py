"""Waiting for a task of a Dask cluster: who has it, who comes back, and what its end is told as."""

from __future__ import annotations

from types import SimpleNamespace

import distributed
import pytest

from decr.errors import ClusterError
from decr.pipeline import cluster
from decr.pipeline.cluster import _Remote


def test_a_task_that_kills_its_workers_is_told_from_workers_unlike_this_process() -> None:
    killed = distributed.KilledWorker("_on_worker-91f1", None, 3)
    client = SimpleNamespace(status="running")
    says = r"two: .* memory runs out.*decr plan .* is kept$"
    with pytest.raises(ClusterError, match=says), cluster._explained("two", client):
        raise killed


class _Waiting:
    """A future that nobody ever computes, and its client."""

    status = "pending"

    def __init__(self, workers: list[dict[str, int]]) -> None:
        self.workers, self.looks = workers, 0

    def result(self, timeout: float) -> str:
        if self.looks == len(self.workers):
            return "done"
        raise TimeoutError

    def done(self) -> bool:
        return False

    def nthreads(self, callback_timeout: float) -> dict[str, int]:
        self.looks += 1
        return self.workers[self.looks - 1]


class _Late(_Waiting):
    """A future that is done just after one has stopped to wait for it."""

    def result(self, timeout: float) -> str:
        if self.looks == 0:
            self.status = "finished"
            raise TimeoutError
        return "done"

    def done(self) -> bool:
        return self.status == "finished"


def test_a_task_that_ends_between_two_looks_is_done() -> None:
    late = _Late([{"a": 1}])
    assert _Remote(late, "here", late).result() == "done"


def test_what_is_done_cannot_be_fetched_where_nobody_answers() -> None:
    """Its numbers come by the scheduler, which may stop between the end of a task and that."""

    def silent(**_: float) -> None:
        raise TimeoutError

    stuck = SimpleNamespace(result=silent, done=lambda: True, status="finished")
    client = SimpleNamespace(status="running", nthreads=silent)
    with pytest.raises(ClusterError, match="has not answered"):
        _Remote(stuck, "here", client).result()


def test_an_error_of_time_that_is_the_tasks_own_is_told() -> None:
    def late(timeout: float | None = None) -> None:
        raise TimeoutError("of the task")

    failed = SimpleNamespace(result=late, done=lambda: True, status="error")
    with pytest.raises(ClusterError, match=r"failed \(TimeoutError: of the task\)"):
        _Remote(failed, "here", SimpleNamespace(status="running")).result()


def test_workers_that_stay_away_are_given_up() -> None:
    gone = _Waiting([{}, {}, {}, {}])
    with pytest.raises(ClusterError, match="all workers are gone"):
        _Remote(gone, "here", gone).result()
    back = _Waiting([{}, {}, {"a": 1}, {}, {}])
    assert _Remote(back, "here", back).result() == "done"


@pytest.mark.parametrize(("processing", "asked"), [({"b": ("key",)}, 0), ({"b": ()}, 1)])
def test_what_another_worker_has_taken_stays_with_it(
    processing: dict[str, tuple[str, ...]], asked: int
) -> None:
    done: list[int] = []

    def again() -> SimpleNamespace:
        done.append(1)
        return SimpleNamespace(result=lambda timeout: "again", done=lambda: True)

    client = SimpleNamespace(
        status="running",
        nthreads=lambda callback_timeout: {"b": 1},
        scheduler=SimpleNamespace(processing=None),
        sync=lambda *_, **__: processing,
    )
    first = SimpleNamespace(
        key="key", result=lambda timeout: "first", done=lambda: False, cancel=lambda: None
    )
    assert _Remote(first, "here", client, "a", again).result() == ("again" if asked else "first")
    assert len(done) == asked
