"""A Dask scheduler that is lost, stops, does not answer or has no workers is one error."""

from __future__ import annotations

import operator
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import LocalCluster

from decr.errors import ClusterError, ConfigError
from decr.pipeline import cluster, remote
from decr.pipeline.cluster import open_engine
from decr.pipeline.declouds import declouds
from tests.pipeline.scenes import cloudy_pixels, write_scene
from tests.pipeline.test_cluster import CONFIG, at_tile, restored, soon

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("cluster") / "scene.tif", cloudy_pixels(500, 900))


_SCHEDULER = """
from distributed import LocalCluster
with LocalCluster(
    n_workers=1, threads_per_worker=2, processes=False, protocol="tcp", dashboard_address=":0"
) as cluster:
    print(cluster.scheduler_address, flush=True)
    input()
"""


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)  # it may go on for a while where cores are busy


@contextmanager
def elsewhere() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Address and process of a scheduler with a worker, which leaves nobody when it is killed."""
    command = [sys.executable, "-c", _SCHEDULER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, cwd=ROOT, text=True) as theirs:
        try:
            assert theirs.stdout is not None
            ready, _, _ = select.select([theirs.stdout], [], [], 120)
            assert ready, "the scheduler did not start in 120 s"
            yield theirs.stdout.readline().strip(), theirs
        finally:
            theirs.kill()


@pytest.mark.parametrize("began", [True, False], ids=["in the run", "before it"])
def test_a_scheduler_that_does_not_answer_is_told(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, began: bool
) -> None:
    frozen = []
    with elsewhere() as (address, theirs):

        def freeze() -> None:
            monkeypatch.setattr(remote, "_PATIENCE_S", 3)
            monkeypatch.setattr(cluster, "_CONNECT_S", 3)
            stop(theirs)
            frozen.append(began)

        if not began:
            freeze()
        says = "has not answered for 3 s.*is kept$" if began else "no Dask scheduler answers there"
        with (
            pytest.raises(ClusterError, match=says),
            open_engine(scheduler=address) as engine,
        ):
            declouds(scene, tmp_path / "o", CONFIG, engine=engine, on_progress=at_tile(20, freeze))
        assert frozen == [began]


def test_a_scheduler_that_stops_before_what_is_done_is_fetched_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with elsewhere() as (address, theirs), open_engine(scheduler=address) as engine:
        task: Any = engine.submit(operator.is_, CONFIG, lambda _: None)
        soon(lambda: task._future.done())
        monkeypatch.setattr(remote, "_PATIENCE_S", 3)
        stop(theirs)
        with pytest.raises(ClusterError, match=r"has not answered for 3 s"):
            task.result()


def test_a_lost_scheduler_is_one_error_and_another_engine_goes_on(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.tif"
    with elsewhere() as (address, theirs):

        def lose() -> None:
            assert engine.elsewhere
            monkeypatch.setattr(remote, "_PATIENCE_S", 5)
            dask.config.set({"distributed.comm.timeouts.connect": "2s"})  # until the block ends
            theirs.kill()

        with (
            dask.config.set({"distributed.comm.timeouts.connect": "30s"}),
            pytest.raises(ClusterError, match=r"connection.*is lost.*what is finished is kept"),
            open_engine(scheduler=address) as engine,
        ):
            declouds(scene, out, CONFIG, engine=engine, on_progress=at_tile(20, lose))
    assert not out.exists()
    result = declouds(scene, out, CONFIG)
    assert result.resumed
    assert out.read_bytes() == restored(scene, tmp_path / "whole.tif")


def test_no_scheduler_and_no_workers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_S", 1)
    with (
        pytest.raises(ClusterError, match="no Dask scheduler answers"),
        open_engine(scheduler="tcp://127.0.0.1:9"),
    ):
        pass
    with (
        LocalCluster(n_workers=0, dashboard_address=":0") as empty,
        pytest.raises(ClusterError, match="no workers"),
        open_engine(scheduler=empty.scheduler_address),
    ):
        pass


def test_an_engine_of_a_scheduler_that_is_closed_says_so(scene: Path, tmp_path: Path) -> None:
    with elsewhere() as (address, _), open_engine(scheduler=address) as engine:
        assert engine.ask(len, "abc") == 3
    with pytest.raises(ConfigError, match=r"^the engine is closed: call within its `with`$"):
        declouds(scene, tmp_path / "o.tif", CONFIG, engine=engine)
    with pytest.raises(ConfigError, match="the engine is closed"):
        engine.submit(operator.is_, CONFIG, lambda _: None)


def test_a_scheduler_brings_its_own_workers() -> None:
    with pytest.raises(ConfigError, match="drop the number"), open_engine(2, "tcp://127.0.0.1:9"):
        pass
