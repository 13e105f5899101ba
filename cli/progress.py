"""Progress bars on standard error."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import Any, ClassVar

_CLOCK_S, _CLOCK_IN_FILES_S = 1.0, 60.0
"""How often a bar of one long step is shown again."""


class Progress:
    """Progress bars on stderr, one for each stage; of one that is a single step the clock goes."""

    _LABELS: ClassVar = {
        "survey": ("finding clouds", "block"),
        "count": ("counting", "block"),
        "clouds": ("finding clouds", "block"),
        "chips": ("measuring", "chip"),
        "checking": ("reading pairs", "pair"),
        "writing": ("writing", "chip"),
        "images": ("finding clouds", "image"),
        "duplicates": ("looking for copies", "image"),
        "white": ("looking for white", "pair"),
        "evaluate": ("evaluating", "image"),
        "simulate": ("simulating", "pair"),
        "sums": ("comparing checksums", "file"),
        "stats": ("looking at pairs", "pair"),
        "plan": ("planning", "block"),
        "ground": ("looking at clear ground", "square"),
        "restore": ("restoring", "tile"),
        "write": ("writing", "file"),
        "report": ("looking at the result", "block"),
    }

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self._bar: Any = None
        self._stage = ""
        self._clock: threading.Thread | None = None
        self._over = threading.Event()

    def __call__(self, stage: str, done: int, total: int, loss: float | None = None) -> None:
        """Show that ``done`` of ``total`` are done, and the loss of a training."""
        if self.quiet or sys.stderr is None:  # None: closed before the start
            return
        from tqdm import tqdm

        if stage != self._stage:
            self.close()
            label, unit = self._LABELS.get(stage, (stage, "step"))  # stages of a training
            self._bar = tqdm(
                total=total,
                # Of an earlier run: not part of this one's speed. Trainings tell their first step.
                initial=done if loss is None else done - 1,
                desc=label,
                unit=unit,
                file=sys.stderr,
                smoothing=0.1,
                dynamic_ncols=True,
                mininterval=0.5,
            )
            self._stage = stage
            if total == 1 and done == 0:
                self._start_clock()
        if done == total:
            self._stop_clock()
        if loss is not None:
            self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self._bar.update(done - self._bar.n)

    def _start_clock(self) -> None:
        every_s, bar = _CLOCK_S if sys.stderr.isatty() else _CLOCK_IN_FILES_S, self._bar

        def until_over() -> None:
            with suppress(OSError, ValueError):  # standard error has gone
                while not self._over.wait(every_s):
                    bar.refresh()

        self._over.clear()
        self._clock = threading.Thread(target=until_over, name="decr-clock", daemon=True)
        self._clock.start()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._over.set()
            self._clock.join()
        self._clock = None

    def close(self) -> None:
        """Leave the last bar as it stands; the next call begins another."""
        self._stop_clock()
        if self._bar is not None:
            self._bar.close()
        self._bar, self._stage = None, ""
