"""Results that take long to travel are fetched once; those given up are wanted no more."""

from __future__ import annotations

import asyncio
import gc
import operator
import time
from collections.abc import Iterator
from typing import Any

import pytest
from distributed import LocalCluster

from decr.errors import ClusterError
from decr.pipeline import remote
from decr.pipeline.cluster import open_engine
from decr.pipeline.engine import Engine
from tests.pipeline.test_cluster import CONFIG, soon


class _Slow:
    """A scheduler that takes a while for each result, but for no more than three."""

    def __init__(self, scheduler: Any) -> None:
        self.begun = 0
        self._gather = scheduler.handlers["gather"]
        scheduler.handlers["gather"] = self.gather

    async def gather(self, keys: Any) -> Any:
        self.begun += 1
        if self.begun < 4:
            await asyncio.sleep(2)
        return await self._gather(keys=keys)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[_Slow, Engine, LocalCluster]]:
    one = {"n_workers": 1, "processes": False, "dashboard_address": ":0"}
    with (
        LocalCluster(**one, protocol="tcp") as theirs,
        open_engine(scheduler=theirs.scheduler_address) as engine,
    ):
        monkeypatch.setattr(remote, "_PATIENCE_S", 0.5)
        yield _Slow(theirs.scheduler), engine, theirs


def test_a_result_that_travels_longer_than_one_waits_at_a_time_is_fetched_once(
    slow: tuple[_Slow, Engine, LocalCluster],
) -> None:
    link, engine, _ = slow
    assert engine.submit(operator.is_, CONFIG, lambda _: None).result() is False
    assert link.begun == 1


def test_a_result_that_is_given_up_is_wanted_no_more(
    slow: tuple[_Slow, Engine, LocalCluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    link, engine, theirs = slow
    task = engine.submit(operator.is_, CONFIG, lambda _: None)
    monkeypatch.setattr(remote.Remote, "_look", lambda _: "nobody is there")
    with pytest.raises(ClusterError, match="nobody is there"):
        task.result()
    assert link.begun == 1
    del task
    soon(lambda: forgotten(theirs))


def forgotten(theirs: LocalCluster) -> bool:
    gc.collect()  # errors hold the frames that they went through
    return not theirs.scheduler.tasks


def test_a_result_that_is_lost_on_its_way_and_given_up_is_no_reason_to_print(
    slow: tuple[_Slow, Engine, LocalCluster],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, engine, theirs = slow

    async def lost(keys: list[str]) -> dict[str, Any]:
        return {"status": "error", "keys": keys}

    monkeypatch.setitem(theirs.scheduler.handlers, "gather", lost)
    monkeypatch.setitem(theirs.scheduler.stream_handlers, "report-key", lambda **_: None)
    monkeypatch.setattr(remote.Remote, "_look", lambda _: "nobody is there")
    task = engine.submit(operator.is_, CONFIG, lambda _: None)
    with pytest.raises(ClusterError, match="nobody is there"):
        task.result()
    del task
    soon(lambda: forgotten(theirs))
    time.sleep(0.5)  # its end comes after that
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []
