"""What a run says of its steps: one line of JSON each, and TensorBoard where asked for."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from decr.errors import ConfigError


class Log:
    """Numbers by step, appended to ``RUN/STAGE.jsonl``; also to ``RUN/tensorboard/STAGE``.

    Raises
    ------
    ConfigError
        If TensorBoard is asked for and not installed.
    """

    def __init__(self, run_dir: Path, stage: str, tensorboard: bool = False) -> None:
        self._board: Any = _board(run_dir / "tensorboard" / stage) if tensorboard else None
        self._file = (run_dir / f"{stage}.jsonl").open("a")

    def write(self, step: int, **numbers: float) -> None:
        """Add the numbers of a step."""
        self._file.write(json.dumps({"step": step, **numbers}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)

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


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "TensorBoard is not installed; pip install 'decr[tensorboard]', or leave out "
            "--tensorboard: the numbers are in the run's .jsonl files, too"
        ) from error
    return SummaryWriter(str(folder))
