"""Kill -9 at any point, run the same command again: the same bytes, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from affine import Affine

from tests.pipeline.scenes import cloudy_pixels, write_scene

ROOT = Path(__file__).parents[2]


def start(scene: Path, out: Path) -> subprocess.Popen[bytes]:
    """`decr declouds` on the embedded weights, in a process of its own."""
    command = [
        sys.executable, "-m", "cli", "declouds", str(scene), "-o", str(out), "--quiet",
        "--detector", "threshold", "--tile", "64", "--overlap", "16", "--steps", "1",
    ]  # fmt: skip
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end and demand success."""
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kill")
    place = Affine(4, 0, 500_000, 0, -4, 4_000_000)  # so that the survey has two rows of blocks
    return write_scene(folder / "scene.tif", cloudy_pixels(1030, 600), transform=place)


@pytest.fixture(scope="module")
def whole(scene: Path) -> bytes:
    out = scene.parent / "whole.tif"
    finish(start(scene, out))
    return out.read_bytes()


def _journal_has(kind: str, count: int) -> Callable[[Path], bool]:
    def reached(work: Path) -> bool:
        journal = work / "journal.jsonl"
        return journal.exists() and journal.read_text().count(f'"kind": "{kind}"') >= count

    return reached


POINTS: dict[str, Callable[[Path], bool]] = {
    "first row surveyed": _journal_has("survey_row", 1),
    "survey done": _journal_has("survey", 1),
    "first ground measured": _journal_has("ground_row", 1),
    "first block done": _journal_has("patch", 1),
    "third block done": _journal_has("patch", 3),
    "writing the file": lambda work: any(work.glob("cog.tif*")),
}


@pytest.mark.parametrize("point", POINTS)
def test_a_run_killed_anywhere_gives_the_same_bytes_when_run_again(
    scene: Path, whole: bytes, tmp_path: Path, point: str
) -> None:
    out = tmp_path / "out.tif"
    work = Path(f"{out}.decr-work")
    process = start(scene, out)
    deadline = time.monotonic() + 240
    while not POINTS[point](work) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert process.poll() is None, "the run ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert work.exists() or out.exists()
    finish(start(scene, out))
    assert not work.exists()
    assert out.read_bytes() == whole
