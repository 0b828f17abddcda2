"""A command as a child process: its events come through a queue, requests go to its stdin.

    child = Child("scripts.resize_lora", ["--config", path, "--events"])
    for message in child.messages(): ...      # in the Tk thread, every now and then
    child.ask("stop")

Two threads read the child's output; nothing of Tk is touched here.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from easy_scripts.launcher.handover import BOOTSTRAP, child_environment
from easy_scripts.launcher.no_console import NO_CONSOLE
from scripts.core.events import Event, event_from_dict
from scripts.core.files import PROJECT_FOLDER


@dataclass(frozen=True)
class LogLine:
    """A line that the child wrote for people, or for nobody."""

    text: str


@dataclass(frozen=True)
class Ended:
    """The child is gone; `code` is its exit code. Always the last message."""

    code: int


Message = Event | LogLine | Ended


class Child:
    """`module` of this project, running with this Python, or the given one. Raises OSError when it
    cannot start.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], folder: Path | None = None,
        python: str = sys.executable,
    ) -> None:  # fmt: skip
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [python, str(BOOTSTRAP), str(PROJECT_FOLDER), module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=child_environment(os.environ),
            cwd=folder,
            creationflags=NO_CONSOLE,
        )
        log = threading.Thread(target=self._read_log, args=(self._process.stderr,), daemon=True)
        log.start()
        threading.Thread(target=self._read_events, args=(log,), daemon=True).start()

    def messages(self) -> Iterator[Message]:
        """What has come since the last call, without waiting."""
        with suppress(queue.Empty):
            while True:
                yield self._messages.get_nowait()

    def ask(self, request: str) -> None:
        """Send a request, such as "stop"; nothing happens when the child is gone already."""
        with suppress(OSError, ValueError):
            self._process.stdin.write(request.encode() + b"\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        """End the child at once."""
        with suppress(OSError):
            self._process.kill()

    def _read_events(self, log: threading.Thread) -> None:
        for line in self._process.stdout:
            text = line.decode("utf-8", errors="replace").strip()
            try:
                message: Message = event_from_dict(json.loads(text))
            except (ValueError, KeyError, TypeError):  # no event, or one of a later version
                message = LogLine(text)
            self._messages.put(message)
        code = self._process.wait()
        log.join(timeout=2)  # a grandchild may hold the stream open
        self._messages.put(Ended(code))

    def _read_log(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._messages.put(LogLine(line.decode("utf-8", errors="replace").rstrip()))
