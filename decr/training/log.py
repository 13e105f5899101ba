"""What a run says of its steps: one line of JSON each, and TensorBoard where asked for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from decr.errors import ConfigError, OutputError
from decr.files import write_whole


class Log:
    """Numbers by step, appended to ``RUN/STAGE.jsonl``; also to ``RUN/tensorboard/STAGE``.

    Parameters
    ----------
    after
        The step that a run goes on from: lines of later ones, which a killed run left and which
        come again, are taken out. None leaves all.

    Raises
    ------
    ConfigError
        If TensorBoard is asked for and not installed.
    OutputError
        If a line cannot be written.
    """

    def __init__(
        self, run_dir: Path, stage: str, tensorboard: bool = False, after: int | None = None
    ) -> None:
        self._path = path = run_dir / f"{stage}.jsonl"
        self._board: Any = _board(run_dir / "tensorboard" / stage, after) if tensorboard else None
        try:
            if after is not None and path.exists():
                _cut(path, after)
            # Without a buffer: after a failure nothing is left that closing would write once more.
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error

    def write(self, step: int, **numbers: float) -> None:
        """Add the numbers of a step; null in the file for NaN and infinity, which JSON has not."""
        said = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        try:
            self._file.write((json.dumps({"step": step, **said}) + "\n").encode())
        except OSError as error:
            raise self._unwritable(error) from error
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self._path}: the log cannot be written ({error.strerror}); make room and run again "
            f"to go on from the last checkpoint"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def _cut(path: Path, after: int) -> None:
    """Leave out lines of steps beyond one, and what a kill or a bad disk left of a line."""
    lines = path.read_text("utf-8", "replace").splitlines(keepends=True)
    kept = [line for line in lines if (step := _step(line)) is not None and step <= after]
    if kept != lines:
        write_whole(path, "".join(kept))


def _step(line: str) -> int | None:
    """The step of a line; None for half a line."""
    try:
        return int(json.loads(line)["step"]) if line.endswith("\n") else None
    except (ValueError, KeyError, TypeError):
        return None


def summary_writer() -> Any:
    """TensorBoard's class of writers.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "TensorBoard is not installed; pip install 'decr[tensorboard]', or leave out "
            "--tensorboard: the numbers are in the run's .jsonl files, too"
        ) from error
    return SummaryWriter


def _board(folder: Path, after: int | None) -> Any:
    return summary_writer()(str(folder), purge_step=None if after is None else after + 1)
