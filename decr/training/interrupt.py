"""Ctrl-C and SIGTERM that wait for the end of a training step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interrupts_deferred() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether ctrl-C was pressed, or SIGTERM sent, since.

    An interruption in the middle of a step would leave parameters, optimiser and averages of
    different steps behind, and a checkpoint of that could not be resumed exactly. A second signal
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

    before = {number: signal.signal(number, remember) for number in _SIGNALS}
    try:
        yield pressed.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
