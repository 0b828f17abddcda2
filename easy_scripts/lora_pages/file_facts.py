"""What files are, told in the background by `scripts.inspect_lora` or `scripts.inspect_model`.

reader = FactsReader(wizard, INSPECT_LORA)
reader.watch(callback)                      # callback(path), in the Tk thread
facts = reader.ask(path)                    # FileFacts, at first still reading
facts = reader.ask(path, "--spectrum")      # more of them
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from easy_scripts.wizard.child import Child, Ended
from easy_scripts.wizard.heard import heard
from easy_scripts.wizard.window import Wizard
from scripts.core.events import Facts, Problem
from scripts.core.exit_codes import MENDABLE

INSPECT_LORA = "scripts.inspect_lora"
AT_ONCE = 2
POLL = 40  # milliseconds

log = logging.getLogger(__name__)


@dataclass
class FileFacts:
    """What is known of one file; `problem` says why it cannot be used.

    Without facts and without a problem nothing could be found out; the command will judge then.
    """

    path: str
    arguments: tuple[str, ...] = ()
    reading: bool = True
    facts: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None


class FactsReader:
    """Asks `module` for files one after the other; every file is asked about once as long as it
    is as it was."""

    def __init__(self, wizard: Wizard, module: str) -> None:
        self._wizard, self._module = wizard, module
        self._known: dict[tuple, FileFacts] = {}
        self._waiting: deque[FileFacts] = deque()
        self._running: list[tuple[FileFacts, Child]] = []
        self._watchers: list[Callable[[str], None]] = []
        self._job: str | None = None

    def watch(self, watcher: Callable[[str], None]) -> None:
        """Call `watcher(path)` when something became known of a file."""
        self._watchers.append(watcher)

    def ask(self, path: str, *arguments: str) -> FileFacts:
        """What the command, with these arguments, knows of the file now; the rest follows."""
        try:
            state = os.stat(path)
            key = (path, arguments, state.st_size, state.st_mtime_ns)
        except OSError:
            missing = self._wizard.texts("frame.no_file", path=path)
            return FileFacts(path, arguments, False, {}, missing)
        if key not in self._known:
            self._known[key] = FileFacts(path, arguments)
            self._waiting.append(self._known[key])
            self._start_next()
        return self._known[key]

    @property
    def busy(self) -> bool:
        """Whether something is still to be found out."""
        return bool(self._running or self._waiting)

    def close(self) -> None:
        """End what still runs."""
        if self._job:
            self._wizard.root.after_cancel(self._job)
        for _, child in self._running:
            child.kill()
        self._running.clear()
        self._waiting.clear()

    def _start_next(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            facts = self._waiting.popleft()
            try:
                child = Child(self._module, [facts.path, "--events", *facts.arguments])
            except OSError as error:
                log.warning("%s cannot be started: %s", self._module, error)
                facts.reading = False
                self._tell(facts)
                continue
            self._running.append((facts, child))
        if self._running and self._job is None:
            self._job = self._wizard.root.after(POLL, self._poll)

    def _poll(self) -> None:
        self._job = None
        try:
            for facts, child in list(self._running):
                for message in heard(self._wizard.texts, child):
                    if isinstance(message, Facts):
                        facts.facts = message.facts
                    elif isinstance(message, Problem):
                        facts.problem = message.message
                    elif isinstance(message, Ended):
                        self._running.remove((facts, child))
                        facts.reading = False
                        if message.code != MENDABLE:  # no memory, or a bug: no fault of the file
                            facts.problem = None
                        self._tell(facts)
        finally:  # after an error of ours in a watcher too
            self._start_next()

    def _tell(self, facts: FileFacts) -> None:
        for watcher in self._watchers:
            watcher(facts.path)
