"""Keep a bake going, whatever becomes of the window: events into a file, requests from one.

    python -m easy_scripts.bakes.keeper FOLDER MODULE ARGUMENTS...

The window that starts this holds its stdin; each line there is a request for the bake. The end of
stdin means that the window died: the bake is asked to stop, which saves, unless the window had let
it go on alone (`LET_GO`). Any window may also put requests into the folder (see
`easy_scripts.bakes.kept`).
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from easy_scripts.wizard.awake import keep_awake
from easy_scripts.wizard.child import Child, Ended, LogLine, Message
from scripts.core.events import Problem
from scripts.core.exit_codes import MENDABLE
from scripts.core.file_lock import try_lock

EVENTS, REQUESTS, LOCK, NUMBER = "events.jsonl", "requests.txt", "lock", "process.txt"
LET_GO, KILL, STOP = "let_go", "kill", "stop"
SECONDS_BETWEEN_LOOKS = 0.05


def main(arguments: Sequence[str]) -> int:
    """Run the bake to its end; its exit code."""
    folder, module, *words = arguments
    place = Path(folder)
    with (place / LOCK).open("a+b") as lock, (place / EVENTS).open("a", encoding="utf-8") as events:
        try:
            try_lock(lock)  # held as long as this process lives, which tells windows that it does
        except OSError:  # some network drives know no locks: windows look for the process then
            (place / NUMBER).write_text(str(os.getpid()), encoding="ascii")
        try:
            child = Child(module, words)
        except OSError as error:
            _write(events, Problem(f"The bake could not be started: {error}.").as_dict())
            _write(events, {"ended": MENDABLE})
            return MENDABLE
        keep_awake(True)
        try:
            return _follow(child, events, Requests(place / REQUESTS, sys.stdin))
        finally:
            keep_awake(False)


class Requests:
    """What windows ask for: lines of `source`, and of the file at `path`."""

    def __init__(self, path: Path, source: TextIO | None) -> None:
        self._path, self._read = path, 0
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._let_go = False
        threading.Thread(target=self._listen, args=(source,), daemon=True).start()

    def _listen(self, source: TextIO | None) -> None:
        with suppress(OSError, ValueError):
            for line in source or ():
                self._lines.put(line.strip())
        self._lines.put(None)

    def new(self) -> Iterator[str]:
        """The requests since the last call; that the window died is a wish to stop."""
        with suppress(queue.Empty):
            while True:
                line = self._lines.get_nowait()
                self._let_go = self._let_go or line == LET_GO
                if line and line != LET_GO:
                    yield line
                elif line is None and not self._let_go:
                    yield STOP
        with suppress(OSError):
            lines = self._path.read_text(encoding="utf-8").splitlines()
            yield from lines[self._read :]
            self._read = len(lines)


def _follow(child: Child, events: TextIO, requests: Requests) -> int:
    while True:
        for message in child.messages():
            _write(events, _as_dict(message))
            if isinstance(message, Ended):
                return message.code
        for request in requests.new():
            if request == KILL:
                child.kill()
            else:
                child.ask(request)
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _as_dict(message: Message) -> dict[str, Any]:
    if isinstance(message, Ended):
        return {"ended": message.code}
    if isinstance(message, LogLine):
        return {"log": message.text}
    return message.as_dict()


def _write(events: TextIO, content: dict[str, Any]) -> None:
    """One JSON object a line. A full disk must not end the bake: then a line is left out."""
    with suppress(OSError):
        events.write(json.dumps(content) + "\n")
        events.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
