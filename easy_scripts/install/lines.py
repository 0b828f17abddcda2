"""Reading what a child process prints, without being deaf while it is silent."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, AnyStr, Generic

LOOK_UP = 0.2  # seconds
SILENCE = 900.0  # seconds; loading PyTorch for the first time takes a slow disk a few minutes


class Lines(Generic[AnyStr]):
    """The lines of `stream` as they come; raises TimeoutError after `silence` seconds without one.

    A thread reads. Who waits for the next line looks up several times a second, and so hears the
    request to stop (KeyboardInterrupt), which on Windows does not break a read. Both errors leave
    the lines as they are: one can go on reading.
    """

    def __init__(self, stream: IO[AnyStr], silence: float | None = None) -> None:
        self._silence = silence
        self._lines: queue.SimpleQueue[AnyStr | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: IO[AnyStr]) -> None:
        with suppress(OSError, ValueError), stream:  # closed by somebody else
            for line in stream:
                self._lines.put(line)
        self._lines.put(None)

    def __iter__(self) -> Iterator[AnyStr]:
        return self

    def __next__(self) -> AnyStr:
        began = time.monotonic()
        while True:
            with suppress(queue.Empty):
                line = self._lines.get(timeout=LOOK_UP)
                if line is None:
                    self._lines.put(None)  # for whoever asks again
                    raise StopIteration
                return line
            if self._silence is not None and time.monotonic() - began > self._silence:
                raise TimeoutError
