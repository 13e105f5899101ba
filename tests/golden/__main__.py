"""`python -m tests.golden DIR [--device cuda]`: check every vector file of a folder, as a table."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from decr.device import make_cuda_repeatable, pick_device
from decr.errors import ConfigError
from tests.golden.common import DEVICE
from tests.golden.runners import run_file
from tests.golden.vectors import Check

_USAGE = """usage: python -m tests.golden DIR [--device cuda]   (DIR holds .npz vector files)
Published weights are looked for in the folders `weights` and `data/weights` beside DIR, above it,
and in the folder that DECR_SHARED names."""


def line(check: Check, width: int) -> str:
    """One row of the table."""
    head = f"{check.file:{width}}  {check.output:34}"
    if check.note:
        return f"{head}  FAIL  {check.note}"
    verdict = "ok" if check.ok else "FAIL"
    errors = f"{check.max_error:10.2e}  {check.mean_error:10.2e}  {check.tolerance:9.0e}"
    return f"{head}  {errors}  {verdict}"


def _asked(arguments: list[str]) -> tuple[Path, torch.device]:
    """The folder and the device; raises ConfigError for misuse."""
    match arguments:
        case [folder]:
            device = "cpu"
        case [folder, "--device", device]:
            pass
        case _:
            raise ConfigError(_USAGE)
    if not Path(folder).is_dir():
        raise ConfigError(f"{folder}: no such folder\n{_USAGE}")
    return Path(folder), pick_device(device)


def main(arguments: list[str]) -> int:
    """Check a folder; 0 where all agree, 1 where one does not or is lacking, 2 for misuse."""
    try:
        folder, DEVICE[0] = _asked(arguments)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    if DEVICE[0].type == "cuda":
        make_cuda_repeatable()
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        print(f"no .npz file in {folder}", file=sys.stderr)
        return 1
    width = max(len(path.name) for path in paths)
    columns = f"{'max error':>10}  {'mean error':>10}  {'tolerance':>9}"
    print(f"{'file':{width}}  {'output':34}  {columns}  ok")
    failed: set[str] = set()
    lacking: set[str] = set()
    for path in paths:
        for check in run_file(path):
            print(line(check, width), flush=True)
            if check.note.startswith("lacking"):
                lacking.add(check.file)
            elif not check.ok:
                failed.add(check.file)
    agree = len(paths) - len(failed | lacking)
    print(f"{len(paths)} files: {agree} agree, {len(failed)} fail, {len(lacking)} lacking")
    for title, names in (("failed", failed), ("lacking", lacking)):
        if names:
            print(f"{title}: {', '.join(sorted(names))}")
    return 1 if failed or lacking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
