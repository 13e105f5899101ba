"""`python -m tests.golden DIR`: check every vector file of a folder and print a table."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.golden.runners import run_file
from tests.golden.vectors import Check


def line(check: Check, width: int) -> str:
    """One row of the table."""
    head = f"{check.file:{width}}  {check.output:34}"
    if check.note:
        return f"{head}  FAIL  {check.note}"
    verdict = "ok" if check.ok else "FAIL"
    errors = f"{check.max_error:10.2e}  {check.mean_error:10.2e}  {check.tolerance:9.0e}"
    return f"{head}  {errors}  {verdict}"


def main(arguments: list[str]) -> int:
    """Check a folder; 0 where all agree, 1 where one does not or is lacking, 2 for misuse."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python -m tests.golden DIR   (DIR holds .npz vector files)", file=sys.stderr)
        return 2
    paths = sorted(Path(arguments[0]).glob("*.npz"))
    if not paths:
        print(f"no .npz file in {arguments[0]}", file=sys.stderr)
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
