"""Engines: results in order, few under way, and threads that stop when nobody waits any more."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest

from decr.errors import ConfigError
from decr.pipeline.engine import Engine, in_order, local_engine


def _nothing(count: int) -> None:
    pass


def test_results_come_in_order_with_few_under_way() -> None:
    waiting: list[Future[Any]] = []
    most = 0

    def submit(function: Any, task: Any, tell: Any) -> Future[Any]:
        nonlocal most
        future: Future[Any] = Future()
        future.set_result(function(task, tell))
        waiting.append(future)
        most = max(most, len(waiting))
        return future

    got = []
    for task, result in in_order(Engine(submit, 3), lambda t, _: t * t, range(10), _nothing):
        waiting.pop(0)
        got.append((task, result))
    assert got == [(n, n * n) for n in range(10)]
    assert most == 3


def test_tasks_are_made_as_they_are_needed() -> None:
    made: list[int] = []

    def tasks() -> Any:
        for number in range(100):
            made.append(number)
            yield number

    with local_engine() as engine:
        results = in_order(engine, lambda t, _: t, tasks(), _nothing)
        assert next(results) == (0, 0)
        assert len(made) <= engine.in_flight + 1
        results.close()


def test_local_results_tell_progress_from_two_threads() -> None:
    told: list[int] = []
    names: set[str] = set()

    def work(task: int, tell: Any) -> int:
        names.add(threading.current_thread().name)
        tell(task)
        time.sleep(0.01)
        return -task

    with local_engine() as engine:
        got = dict(in_order(engine, work, range(8), told.append))
    assert got == {n: -n for n in range(8)}
    assert sorted(told) == list(range(8))
    assert len(names) == 2


def test_an_error_ends_the_run_and_stops_what_is_under_way() -> None:
    batches: list[int] = []

    def work(task: int, tell: Any) -> None:
        if task == 0:
            time.sleep(0.05)
            raise ValueError("bad block")
        for batch in range(1000):
            time.sleep(0.005)
            batches.append(batch)
            tell(1)

    began = time.monotonic()
    with pytest.raises(ValueError, match="bad block"), local_engine() as engine:
        list(in_order(engine, work, range(5), _nothing))
    assert time.monotonic() - began < 3
    assert len(batches) < 200


def test_a_local_engine_that_is_closed_says_so() -> None:
    with local_engine() as engine:
        pass
    with pytest.raises(ConfigError, match="the engine is closed: call within its `with`"):
        list(in_order(engine, lambda t, _: t, range(2), _nothing))
