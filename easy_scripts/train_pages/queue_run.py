"""The queue, run for the window: to the page of the bake it looks like one child process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress

from easy_scripts.queue.runner import run_queue
from easy_scripts.queue.store import RUNNING, Bake, QueueStore
from easy_scripts.wizard.child import Ended, Message
from scripts.core.errors import SuiteError
from scripts.core.events import Control, Done, Event, Note, Problem

CODE_DONE, CODE_MENDABLE, CODE_STOPPED = 0, 1, 2


class QueueRun:
    """Runs what waits in `store`, in a thread; each bake in a process of its own.

    `ran` holds the bakes that were run, as they ended: a failed one does not end the others.
    """

    def __init__(self, store: QueueStore) -> None:
        self._store, self._control = store, Control()
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.ran: list[Bake] = []
        self.current = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def messages(self) -> Iterator[Message]:
        """What has come since the last call, without waiting."""
        with suppress(queue.Empty):
            while True:
                yield self._messages.get_nowait()

    def ask(self, request: str) -> None:
        """Pass a request on to the bake in hand; "stop" ends the queue with it."""
        self._control.ask(request)

    def kill(self) -> None:
        """A bake may be asked only: it saves, then ends."""
        self._control.stop()

    @property
    def running(self) -> bool:
        """Whether the queue still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        code = CODE_DONE
        try:
            run_queue(self._store, self._watch, self._control)
            self._messages.put(Done(self.ran[-1].result if self.ran else None))
        except SuiteError as error:
            self._messages.put(Problem(str(error)))
            code = CODE_MENDABLE
        self._messages.put(Ended(CODE_STOPPED if self._control.stop_asked else code))

    def _watch(self, bake: Bake, event: Event | None) -> None:
        if event is None and bake.state == RUNNING:
            self.current = bake.name
        elif event is None:
            self.ran.append(bake)
            self._messages.put(Note(f"{bake.name}: {bake.error or bake.state}"))
        elif not isinstance(event, Done | Problem):  # both are in the report of the bake
            self._messages.put(event)
