"""Ctrl-C that waits for the end of a training step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_deferred() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether ctrl-C was pressed since.

    An interruption in the middle of a step would leave parameters, optimiser and averages of
    different steps behind, and a checkpoint of that could not be resumed exactly. A second ctrl-C
    interrupts at once. Outside the main thread Python delivers no signals: nothing changes there.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return

    def remember(signum: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
