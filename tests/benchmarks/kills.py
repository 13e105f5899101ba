"""Kill -9 at random moments, run again: the same bytes, nothing lost, nothing left behind.

    python -m tests.benchmarks.kills [--kills 20] [--workers 1 2] [--seed 0]

Uninterrupted runs give the bytes and the time. Then, for each kill, a run is killed at a random
moment of that time (the whole process, or one worker of the cluster), and the same command is given
again. A killed worker must not even end the run. A run that ended before its moment is no kill;
another is tried.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.benchmarks.memory import save
from tests.pipeline.scenes import cloudy_pixels, write_scene

ROOT = Path(__file__).parents[2]


def start(scene: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    """`decr declouds` in a process of its own."""
    command = [
        sys.executable, "-m", "cli", "declouds", str(scene), "-o", str(out), "--quiet",
        "--tile", "64", "--overlap", "16", "--steps", "1", "--workers", str(workers),
    ]  # fmt: skip
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def stage(out: Path) -> str:
    """How far the run in a work directory had come."""
    work = Path(f"{out}.decr-work")
    if out.exists():
        return "after the rename"
    if any(work.glob("cog.*")):
        return "writing the file"
    journal = work / "journal.jsonl"
    lines = journal.read_text().splitlines() if journal.exists() else []
    if not lines:
        return "before the first entry"
    kinds = [json.loads(line)["kind"] for line in lines if line.endswith("}")]
    return f"{kinds.count('block')} blocks, {kinds.count('patch')} patches"


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Dask's worker processes of a run: those that compute, not the watchers."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def uninterrupted(scene: Path, folder: Path, numbers: list[int]) -> tuple[bytes, dict[int, float]]:
    """The bytes of the output, and the seconds that each number of workers takes."""
    whole, seconds = b"", {}
    for workers in numbers:
        for _ in range(2):  # the first has to fetch all from disk; the second is timed
            out, began = folder / f"whole{workers}.tif", time.monotonic()
            _, errors = start(scene, out, workers).communicate()
            seconds[workers] = time.monotonic() - began
            if not out.exists() or (whole and out.read_bytes() != whole):
                raise SystemExit(f"{workers} workers: other bytes, or none: {errors.decode()}")
            whole = out.read_bytes()
            out.unlink()
    return whole, seconds


def main() -> None:
    """Kill, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    dice, rows, failed = random.Random(options.seed), [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = write_scene(folder / "scene.tif", cloudy_pixels(900, 1500))
        whole, seconds = uninterrupted(scene, folder, options.workers)
        tried = 0
        while len(rows) < options.kills:
            if tried == 3 * options.kills:
                raise SystemExit(f"{len(rows)} kills in {tried} runs: most had ended before")
            tried += 1
            workers = options.workers[len(rows) % len(options.workers)]
            out = folder / f"{tried}.tif"
            process = start(scene, out, workers)
            time.sleep(dice.uniform(0.05, 1.0) * seconds[workers])
            wanted = workers > 1 and dice.random() < 0.5
            if process.poll() is not None:
                process.communicate()
                out.unlink(missing_ok=True)
                continue
            victims = workers_of(process) if wanted else []
            what, runs = stage(out), 1
            if victims:
                victims[dice.randrange(len(victims))].kill()
                what = f"a worker, {what}"
            else:
                os.kill(process.pid, signal.SIGKILL)
            _, errors = process.communicate()
            if not victims and process.returncode == 0:  # it ended between the look and the kill
                out.unlink(missing_ok=True)
                continue
            if process.returncode != 0:
                runs += 1
                again = start(scene, out, workers)
                _, errors = again.communicate()
            left = sorted(p.name for p in folder.iterdir() if p not in (scene, out))
            good = out.exists() and out.read_bytes() == whole and not left
            good = good and (not victims or runs == 1)
            failed += not good
            rows.append({"workers": workers, "killed": what, "runs": runs, "equal": good})
            how = "ok" if good else "BAD"
            print(
                f"{len(rows):3d}  {workers} workers  {how}  {runs} runs  {what}",
                errors.decode().strip()[-200:] if not good else "",
                left or "",
                flush=True,
            )
            out.unlink(missing_ok=True)
    if options.json:
        save(options.json, {"rows": rows})
    print(f"{len(rows)} kills, {failed} bad")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
