"""Waiting for a task of a Dask cluster: who has it, who comes back, and what its end is told as."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import distributed
import pytest

import decr
from decr.config import CcpConfig
from decr.errors import ClusterError, DecrError, SchedulerError
from decr.pipeline import remote
from decr.pipeline.fetching import Fetching
from decr.pipeline.remote import Remote
from tests.pipeline.scenes import cloudy_pixels, write_scene


def test_a_task_that_kills_its_workers_is_told_from_workers_unlike_this_process() -> None:
    killed = distributed.KilledWorker("_on_worker-91f1", None, 3)
    client = SimpleNamespace(status="running")
    says = r"two: .* memory runs out.*decr plan .* is kept$"
    with pytest.raises(ClusterError, match=says), remote.dask_explained("two", client):
        raise killed


@pytest.mark.parametrize("kind", ["missing", "damaged", "mask", "area"])
def test_errors_of_decr_stay_so_on_their_way_from_tasks_of_others(
    tmp_path: Path, kind: str
) -> None:
    path = write_scene(tmp_path / "s.tif", cloudy_pixels(300, 300))
    options = {"mask": {"detector": "file:/nope.tif"}, "area": {"aoi": tmp_path / "nope.json"}}
    config = CcpConfig(**{"detector": "threshold", **options.get(kind, {})})  # type: ignore[arg-type]
    if kind == "damaged":
        path.write_bytes(path.read_bytes()[:300_000])
    with pytest.raises(DecrError) as caught:
        decr.ccp("/nope.tif" if kind == "missing" else path, config)
    sent = distributed.core.error_message(caught.value)["exception"]
    received = pickle.loads(sent.data)
    assert (type(received), str(received)) == (caught.type, str(caught.value))


def test_a_restarted_cluster_is_told_from_workers_unlike_this_process() -> None:
    client = SimpleNamespace(status="running")
    cancelled = CancelledError("_on_worker-10318f69 cancelled for reason: scheduler-restart.")
    says = r"^two: somebody restarted the cluster.* is kept$"
    with pytest.raises(ClusterError, match=says), remote.dask_explained("two", client):
        raise cancelled


class AtOnce(Fetching):
    """Asks the fakes below, which have no loop."""

    def __init__(self) -> None:
        super().__init__(None)

    def result(self, future: Any, timeout: float) -> Any:
        return future.result(timeout=timeout)

    def stop(self) -> None:
        pass


class _Cluster:
    """A client whose workers, by status, are the next ones at each look; then all tasks are done.

    A name in capitals executes something. What is held, by worker, are names of tasks: 0, 1, ...
    """

    status = "running"
    cluster: object = None

    def __init__(self, *looks: dict[str, str], held: dict[str, str] | None = None) -> None:
        self.now, *self.looks = looks
        self.held = held or {}
        self.scheduler = SimpleNamespace(
            ncores_running=self.ncores_running, identity=self.identity, processing=self.processing
        )
        self.sent: list[str | None] = []
        self.under_way: list[Remote] = []

    def ncores_running(self) -> dict[str, int]:
        return {one: 1 for one, status in self.now.items() if status == "running"}

    def identity(self) -> dict[str, Any]:
        self.now = self.looks.pop(0)
        counts = {one: {"executing": 1} if one.isupper() else {} for one in self.now}
        return {
            "workers": {
                one: {"status": status, "metrics": {"task_counts": counts[one]}}
                for one, status in self.now.items()
            }
        }

    def processing(self) -> dict[str, str]:
        return self.held

    def sync(self, question: Callable[[], Any], callback_timeout: float) -> Any:
        return question()

    def begin(self, workers: list[str | None] | None = None, **_: bool) -> SimpleNamespace:
        def result(timeout: float) -> str:
            if self.looks:
                raise TimeoutError
            return name

        name = str(len(self.sent))
        self.sent += workers or [None]
        return SimpleNamespace(key=name, result=result, done=lambda: False, status="pending")

    def task(self) -> Remote:
        return Remote(self.begin, "here", self, self.under_way, AtOnce())


def silent(*_: object, **__: float) -> None:
    raise TimeoutError


def test_a_task_that_ends_between_two_looks_is_done() -> None:
    """A future that is done just after one has stopped to wait for it."""
    one = _Cluster({"a": "running"}, {"a": "running"})
    task = one.task()
    task._future.status = "finished"
    assert task.result() == "0"
    assert one.sent == ["a"]


def test_what_is_done_cannot_be_fetched_where_nobody_answers() -> None:
    """Its numbers come by the scheduler, which may stop between the end of a task and that."""
    stuck = _Cluster({"a": "running"}, {})
    task = stuck.task()
    task._future.status = "finished"
    stuck.scheduler.identity = silent
    with pytest.raises(SchedulerError, match=r"has not answered for 20 s.*is kept$"):
        task.result()


def test_a_scheduler_may_stop_between_two_questions() -> None:
    stops = _Cluster({}, {"a": "running"})
    stops.scheduler.processing = silent
    with pytest.raises(SchedulerError, match="has not answered"):
        stops.task().result()


def test_a_scheduler_may_stop_before_a_task_is_sent() -> None:
    stops = _Cluster({"a": "running"})
    stops.scheduler.ncores_running = silent
    with pytest.raises(SchedulerError, match="has not answered"):
        stops.task()


def test_an_error_of_time_that_is_the_tasks_own_is_told() -> None:
    def late(timeout: float | None = None) -> None:
        raise TimeoutError("of the task")

    task = _Cluster({"a": "running"}).task()
    task._future = SimpleNamespace(result=late, status="error")
    with pytest.raises(ClusterError, match=r"failed \(TimeoutError: of the task\)"):
        task.result()


@pytest.mark.parametrize(
    ("workers", "says"),
    [
        ({}, r"here: all workers are gone; start some, then"),
        (
            {"a": "paused"},
            r"here: all workers .* paused for 60 s.*--memory-limit.*--nthreads.*kept$",
        ),
        ({"a": "paused", "b": "closing"}, r"paused for 60 s"),
    ],
)
def test_workers_that_stay_away_or_paused_are_given_up(workers: dict[str, str], says: str) -> None:
    idle = _Cluster({"a": "running"}, workers, workers, workers, workers)
    with pytest.raises(ClusterError, match=says):
        idle.task().result()
    assert len(idle.looks) == 1
    back = _Cluster({"a": "running"}, workers, workers, {"a": "running"}, workers, workers)
    assert back.task().result() == "0"


def test_workers_that_are_gone_may_have_no_decr() -> None:
    """Dask closes such a worker when the first task reaches it, and says so in its log alone."""
    gone = _Cluster({"a": "running"}, *[{}] * 4)  # type: ignore[list-item]
    with pytest.raises(ClusterError, match=r"their logs say why.* memory.*no decr or another one"):
        gone.task().result()


def test_processes_of_this_machine_that_do_not_come_back_have_no_logs() -> None:
    """They are decr's own: there is nothing to start."""
    gone = _Cluster({"a": "running"}, *[{}] * 4)  # type: ignore[list-item]
    gone.cluster = "ours"
    with pytest.raises(
        ClusterError, match=r"^here: all were killed, .* memory .*decr plan"
    ) as told:
        gone.task().result()
    assert "start" not in str(told.value)


def test_what_a_paused_worker_executes_is_waited_for() -> None:
    slow = _Cluster({"A": "running"}, *[{"A": "paused"}] * 9)
    assert slow.task().result() == "0"


def test_tasks_go_to_workers_that_run_and_have_least_to_do() -> None:
    some = _Cluster({"a": "paused", "b": "running", "c": "running"})
    for _ in range(4):
        some.task()
    assert some.sent == ["b", "c", "b", "c"]
    assert [task.result() for task in list(some.under_way)] == ["0", "1", "2", "3"]
    assert some.under_way == []


@pytest.mark.parametrize("lost", [{}, {"a": "paused"}], ids=["lost", "paused"])
def test_all_that_was_left_goes_to_those_who_come_at_one_look(lost: dict[str, str]) -> None:
    come = {"b": "running", "c": "running"}
    new = _Cluster({"a": "running"}, lost | come, held={"a": "0123", "b": "1"})
    tasks = [new.task() for _ in range(4)]
    assert tasks[3].result() == "6"
    assert new.sent[4:] == ["b", "c", "b"]
    assert [task.result() for task in tasks] == ["4", "1", "5", "6"]  # b has taken 1 already


def test_a_worker_that_is_paused_keeps_what_it_executes_and_no_more() -> None:
    two = _Cluster({"A": "running"}, {"A": "paused", "b": "running"}, held={"A": "0"})
    tasks = [two.task() for _ in range(2)]
    assert [task.result() for task in tasks] == ["0", "2"]


def test_a_second_loss_of_all_workers_is_met() -> None:
    again = _Cluster(*({one: "running"} for one in "abc"))
    assert again.task().result() == "2"
    assert again.sent == ["a", "b", "c"]


def test_a_task_whose_only_worker_dies_again_and_again_is_given_up() -> None:
    """Dask counts anew each time, since it is another task to it."""
    dying = _Cluster(*({one: "running"} for one in "abcdefgh"))
    with pytest.raises(ClusterError, match=r"^here: worker after worker was killed.*is kept$"):
        dying.task().result()
    assert dying.sent == ["a", "b", "c", "d"]


def test_what_waits_for_paused_workers_is_not_taken_for_what_kills_them() -> None:
    looks = [{"a": "paused", "b": "paused", one: "running"} for one in "babababa"]
    assert _Cluster({"a": "running"}, *looks).task().result() == "8"


def test_what_was_done_and_lost_with_its_worker_is_sent_anew() -> None:
    new = _Cluster({"a": "running"}, {"b": "running"})
    first = new.task()
    first._future.done = lambda: True
    second = new.task()
    first._future.done = lambda: False
    assert second.result() == "3"
    assert first.result() == "2"
    assert new.under_way == []


def test_what_comes_once_nobody_ran_is_sent_there() -> None:
    late = _Cluster({"a": "paused"}, {"a": "paused", "b": "running"})
    assert late.task().result() == "1"
    assert late.sent == [None, "b"]
