"""Workers of a Dask cluster: the same bytes, whoever computes and whoever is lost."""

from __future__ import annotations

import ctypes
import io
import logging
import operator
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest

from decr.calibration import ErrorTable
from decr.config import DecloudConfig
from decr.errors import ClusterError, ConfigError, SceneError
from decr.pipeline import cluster, remote
from decr.pipeline.cluster import open_engine
from decr.pipeline.declouds import DecloudResult, declouds
from decr.pipeline.engine import Engine, local_engine
from decr.pipeline.error_map import error_map_path
from decr.report.values import RestorationReport
from decr.zoo.bundle import read_card, save_with_card
from tests.pipeline.scenes import cloudy_pixels, darker, write_scene
from tests.tiny import tiny_bundle

CONFIG = DecloudConfig(detector="compact", tile_px=64, overlap_px=16, steps=1, device="cpu")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two rows of three blocks, 83 tiles of which are restored."""
    return write_scene(tmp_path_factory.mktemp("cluster") / "scene.tif", cloudy_pixels(500, 900))


@pytest.fixture(scope="module")
def whole(scene: Path) -> bytes:
    return restored(scene, scene.parent / "whole.tif")


@pytest.fixture(scope="module")
def clusters() -> Iterator[tuple[ExitStack, list[Engine]]]:
    """Those of two workers that were opened, and what closes them."""
    with ExitStack() as stack:
        yield stack, []


@pytest.fixture
def two_workers(clusters: tuple[ExitStack, list[Engine]]) -> Engine:
    """Two workers; others where Dask has given up one that a test killed, as it does rarely."""
    stack, engines = clusters
    if not engines or not both_there():
        engines.append(stack.enter_context(open_engine(2, device="cpu")))
    return engines[-1]


def both_there() -> bool:
    until = time.monotonic() + 60
    while len(distributed.default_client().nthreads()) != 2:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_a_script_without_a_guard_is_told_to_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(**options: object) -> None:
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr(distributed, "LocalCluster", refuses)
    says = r"2 processes .* start \(Nanny failed to start\.\).* `if __name__ == .__main__.:`"
    with pytest.raises(ClusterError, match=says), open_engine(2, device="cpu"):
        pass


def pages_taken() -> int:
    """Pages that this process takes anew for arrays of the networks' size, made one after another.

    Counted from the third on: the first may have to enlarge the heap.
    """
    count = []
    for _ in range(22):
        np.ones(4_000_000, np.uint8)
        count.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    return count[-1] - count[1]


def restored(scene: Path, out: Path, **options: Any) -> bytes:
    """The bytes of a finished restoration, of which nothing but the output is left."""
    declouds(scene, out, CONFIG, **options)
    assert not Path(f"{out}.decr-work").exists()
    return out.read_bytes()


def at_tile(count: int, action: Callable[[], None]) -> Callable[[str, int, int], None]:
    """A progress callback that acts once, when so many tiles are done."""
    waiting = [action]

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "restore" and done >= count and waiting:
            assert done < total, "too late: all tiles are done"
            waiting.pop()()

    return progress


def soon(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < until, "not in 120 s"
        time.sleep(0.05)


def test_two_workers_give_the_bytes_of_one(
    scene: Path, whole: bytes, two_workers: Engine, tmp_path: Path
) -> None:
    assert two_workers.travels
    kept: list[RestorationReport] = []

    def keep(_: DecloudResult, report: RestorationReport) -> None:
        kept.append(report)

    assert restored(scene, tmp_path / "out.tif", engine=two_workers, on_report=keep) == whole
    (report,) = kept
    # Mean W travelled; the embedded model's least W is the card's.
    assert report.allocation is not None
    floor = float(report.facts["Least W of the reference"])
    assert report.allocation[report.weight > 0].min() >= round(255 * floor)
    assert report.ccp_after is not None


def test_names_hold_in_the_folders_of_workers(
    two_workers: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scene(tmp_path / "scene.tif", cloudy_pixels(200, 300))
    write_scene(tmp_path / "mask.tif", np.eye(200, 300, dtype="uint8")[None], names=None)
    model = tiny_bundle(tmp_path, 4).name
    monkeypatch.chdir(tmp_path)  # workers stay where they are
    config = replace(CONFIG, model=model, detector="threshold", cloud_mask=Path("mask.tif"))
    made = []
    for name, engine in (("one.tif", None), ("two.tif", two_workers)):
        declouds("scene.tif", name, config, engine=engine)
        made.append(Path(name).read_bytes())
    assert made[0] == made[1]
    elsewhere = replace(two_workers, elsewhere=True)
    with pytest.raises(ConfigError, match=r"look for scene\.tif in their own folders"):
        declouds("vrt://scene.tif?bands=1,2,3,4", "o.tif", config, engine=elsewhere)


def test_workers_of_this_machine_take_relative_names_of_any_form(
    two_workers: Engine, tmp_path: Path
) -> None:
    scene = write_scene(tmp_path / "scene.tif", cloudy_pixels(200, 300))
    name = f"vrt://{os.path.relpath(scene)}?bands=1,2,3,4"
    declouds(name, tmp_path / "one.tif", CONFIG)
    declouds(name, tmp_path / "two.tif", CONFIG, engine=two_workers)
    assert (tmp_path / "two.tif").read_bytes() == (tmp_path / "one.tif").read_bytes()


def test_two_workers_leave_the_same_map_of_errors(
    scene: Path, two_workers: Engine, tmp_path: Path
) -> None:
    bundle = tiny_bundle(tmp_path, 4)
    table = ErrorTable((-1.0, 1.0), (0.1, 0.2), {}, "a test")
    save_with_card(bundle, bundle, replace(read_card(bundle), errors=table))
    config = replace(CONFIG, detector="threshold", model=str(bundle), error_map=True)
    made = []
    for name, engine in (("one", None), ("two", two_workers)):
        out = tmp_path / f"{name}.tif"
        declouds(scene, out, config, engine=engine)
        made.append((out.read_bytes(), error_map_path(out).read_bytes()))
    assert made[0] == made[1]


@pytest.mark.parametrize("factor", [1, 2])
def test_blocks_restored_and_written_at_once_give_the_same_bytes(
    scene: Path, tmp_path: Path, factor: int
) -> None:
    config, made = replace(CONFIG, detector="threshold", gsd="model", tile_px=32, overlap_px=8), []
    for at_once in (1, 4):
        out = tmp_path / f"{at_once}.tif"
        with local_engine(at_once) as engine:
            model = darker(gsd_m=0.5 * factor)
            result = declouds(scene, out, config, engine=engine, restorer=model)
        assert result.changed_px > 0
        made.append(out.read_bytes())
    assert made[0] == made[1]


def prints_aside() -> bool:
    return sys.stdout is sys.stderr


def test_workers_leave_standard_output_to_the_results(two_workers: Engine) -> None:
    assert two_workers.ask(prints_aside)


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library does not give back"
)
def test_workers_keep_the_pages_of_their_heap(two_workers: Engine) -> None:
    """Dask has glibc give every freed array back, and the networks wait for its pages again."""
    client = distributed.default_client()
    lost, process = next(iter(client.run(os.getpid).items()))
    os.kill(process, signal.SIGKILL)  # who takes its place keeps them, too
    soon(lambda: lost not in client.nthreads() and len(client.nthreads()) == 2)
    taken = client.run(pages_taken)
    assert len(taken) == 2
    assert lost not in taken
    assert max(taken.values()) < 4_000_000 / resource.getpagesize()


def test_a_killed_worker_loses_nothing(
    scene: Path, whole: bytes, two_workers: Engine, tmp_path: Path
) -> None:
    def kill_one() -> None:
        os.kill(two_workers.ask(os.getpid), signal.SIGKILL)

    out = tmp_path / "out.tif"
    assert restored(scene, out, engine=two_workers, on_progress=at_tile(20, kill_one)) == whole


def test_workers_that_are_all_lost_at_once_lose_nothing(
    scene: Path,
    whole: bytes,
    two_workers: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote, "_PATIENCE_S", 10)
    monkeypatch.setattr(remote, "_LOOKS", 12)  # others need a while to come

    def kill_all() -> None:
        client = distributed.default_client()
        soon(lambda: len(client.nthreads()) == 2)  # one may have been lost just before
        for process in client.run(os.getpid).values():
            os.kill(process, signal.SIGKILL)

    out = tmp_path / "out.tif"
    assert restored(scene, out, engine=two_workers, on_progress=at_tile(20, kill_all)) == whole


def pause(worker: str, dask_worker: Any = None) -> None:
    """As Dask does where memory runs short; here nothing but `go_on` ends it."""
    if dask_worker.address == worker:
        dask_worker.status = distributed.Status.paused


def go_on(dask_worker: Any = None) -> None:
    dask_worker.status = distributed.Status.running


def test_a_paused_worker_loses_nothing(
    scene: Path,
    whole: bytes,
    two_workers: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = distributed.default_client()
    soon(lambda: len(client.nthreads()) == 2)
    monkeypatch.setattr(remote, "_PATIENCE_S", 10)
    paused = min(client.nthreads())

    def pause_one() -> None:
        client.run(pause, paused)

    try:
        out = tmp_path / "out.tif"
        assert restored(scene, out, engine=two_workers, on_progress=at_tile(20, pause_one)) == whole
        assert paused not in client.sync(client.scheduler.ncores_running)
    finally:
        client.run(go_on)


def test_workers_that_all_stay_paused_are_told_and_one_that_goes_on_takes_all(
    two_workers: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = distributed.default_client()
    soon(lambda: len(client.nthreads()) == 2)
    monkeypatch.setattr(remote, "_PATIENCE_S", 5)
    monkeypatch.setattr(remote, "_LOOKS", 1)
    try:
        for worker in client.nthreads():
            client.run(pause, worker)
        soon(lambda: not client.sync(client.scheduler.ncores_running))
        with pytest.raises(ClusterError, match="all workers have been paused for 5 s"):
            two_workers.ask(os.getpid)
        monkeypatch.setattr(remote, "_LOOKS", 12)
        task = two_workers.submit(operator.is_, CONFIG, lambda _: None)
        one = max(client.nthreads())
        client.run(go_on, workers=[one])
        assert task.result() is False
        assert client.who_has(task._future)[task._future.key] == (one,)
    finally:
        client.run(go_on)


def test_dask_prints_nothing_beside_what_is_raised() -> None:
    handler = logging.StreamHandler(io.StringIO())
    logger = logging.getLogger("distributed")
    logger.addHandler(handler)
    first, second = cluster._silenced(), cluster._silenced()
    try:
        with first:
            second.__enter__()
            logging.getLogger("distributed.client").error("Failed to reconnect")
        logger.error("Lost")
        second.__exit__(None, None, None)  # of two runs in threads, the one that began later
        assert handler.stream.getvalue() == ""
        logger.error("Of the user's own")
    finally:
        logger.removeHandler(handler)
    assert handler.stream.getvalue() == "Of the user's own\n"


def test_a_restorer_in_memory_does_not_travel(
    scene: Path, two_workers: Engine, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="cannot travel"):
        declouds(scene, tmp_path / "o.tif", CONFIG, restorer=darker(), engine=two_workers)


def test_errors_say_on_which_worker_they_arose(two_workers: Engine, tmp_path: Path) -> None:
    from decr.geo.scene import open_scene

    with pytest.raises(SceneError, match=r"gone\.tif.*on the worker tcp://"):
        two_workers.ask(open_scene, str(tmp_path / "gone.tif"))


def test_what_a_worker_raises_of_its_own_is_a_cluster_error(two_workers: Engine) -> None:
    with pytest.raises(ClusterError, match="ZeroDivisionError"):
        two_workers.ask(divmod, 1, 0)
