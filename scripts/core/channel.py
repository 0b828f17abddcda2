"""Events as JSON lines on a channel of their own, and requests from the other side.

The real stdout is duplicated away first and stdout is pointed at stderr, so that a stray print
from any library cannot break the protocol. Requests are lines on stdin ("stop", "save", ...), which
is moved out of the libraries' way too; its end means that the window died, and counts as "stop".
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from scripts.core.events import Control, Event, Report


@contextmanager
def event_lines(control: Control) -> Iterator[Report]:
    """Give a report callback that writes one JSON object a line to what was stdout.

    When nobody reads any more, the window died: the work is asked to stop, and what is reported
    from then on is dropped, so that it can still save.
    """
    sys.stdout.flush()
    wire = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    lock = threading.RLock()  # a signal may report while the main thread is reporting

    def report(event: Event) -> None:
        line = json.dumps(event.as_dict(), ensure_ascii=True)
        try:
            with lock:
                wire.write(line + "\n")
                wire.flush()
        except (OSError, ValueError):  # ValueError: already closed
            control.stop()

    try:
        yield report
    finally:
        with suppress(OSError):
            wire.close()


def move_stdin() -> TextIO | None:
    """What was stdin, in a file of its own: stdin itself is empty from then on. None if there is
    none.

    Windows lets nobody look at a pipe that a thread is reading from. The libraries of NumPy look at
    stdin when they are loaded, and would wait there until a request comes.
    """
    if sys.stdin is None:
        return None
    source = os.fdopen(os.dup(0), encoding="utf-8", errors="replace")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return source


def listen(control: Control, source: TextIO | None) -> threading.Thread:
    """Pass every request line of `source` on to `control`, in a thread that ends with it.

    None, what a program without stdin has, is a source that has ended.
    """

    def read() -> None:
        for line in source or ():
            request = line.strip().lower()
            if request in Control.REQUESTS:
                control.ask(request)
        control.stop()

    thread = threading.Thread(target=read, name="requests", daemon=True)
    thread.start()
    return thread
