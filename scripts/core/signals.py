"""Ctrl+C, and what a system sends to end a process, as requests to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from scripts.core.events import Control

NAMES = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP")


@contextmanager
def stop_by_signal(control: Control, asked: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl+C (or SIGTERM) ask for a stop, and call `asked`; the second ends the
    process at once."""

    def ask(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        control.stop()
        asked()

    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
