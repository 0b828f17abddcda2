"""Run the queue: one bake after another, each in a process of its own.

    run_queue(QueueStore(), watch, control)

A bake goes on from its saved state, or begins anew where that does not fit its settings any more.
One that fails, even by taking its process down, is marked with its reason, and the next begins.
When a stop is asked for, the bake in hand saves and stops, and the rest stays in the queue.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from easy_scripts.queue.store import DONE, FAILED, RUNNING, STOPPED, Bake, QueueStore
from easy_scripts.wizard.child import Child, Ended, LogLine
from scripts.core import exit_codes
from scripts.core.errors import SuiteError
from scripts.core.events import Control, Done, Event, Note, Problem, Saved
from scripts.core.files import write_text

COMMAND = "scripts.train"
SECONDS_BETWEEN_LOOKS = 0.1

Watch = Callable[[Bake, Event | None], None]


@dataclass
class Outcome:
    """What a bake's events told, for its report. `refused`: why it cannot go on from a state."""

    result: str | None = None
    state_folder: str | None = None
    refused: str = ""
    error: str | None = None
    last_line: str = ""

    def take(self, event: Event) -> None:
        """Remember what the report needs of an event."""
        if isinstance(event, Problem):
            if event.setting == "resume":
                self.refused = event.message
            told = f"{event.setting}: {event.message}" if event.setting else event.message
            self.error = f"{self.error}\n{told}" if self.error else told
        elif isinstance(event, Saved) and event.what == "state":
            self.state_folder = event.path
        elif (isinstance(event, Saved) and event.what == "lora") or (
            isinstance(event, Done) and event.path
        ):
            self.result = event.path


def run_queue(store: QueueStore, watch: Watch, control: Control, command: str = COMMAND) -> int:
    """Run what waits until nothing does, the queue is paused or a stop is asked for; how many ran.

    `watch(bake, event)` hears of every event, and of a bake's begin and end with None as event.
    Raises SuiteError when somebody else runs this queue.
    """
    count = 0
    store.take_up_what_was_cut_off()
    with store.only_runner():
        while not control.stop_asked:
            queue = store.read()
            bake = queue.next()
            if bake is None or queue.paused:
                break
            bake = store.update(bake.id, state=RUNNING, begun=bake.begun + 1, error=None)
            watch(bake, None)
            watch(_run_one(store, bake, watch, control, command), None)
            count += 1
    return count


def _run_one(store: QueueStore, bake: Bake, watch: Watch, control: Control, command: str) -> Bake:
    began, before = time.monotonic(), bake.resume_from
    follow = partial(_train, store, bake, watch, control, command)
    if before and os.path.isdir(before):  # False, no error, where it is barred
        outcome, code = follow({**bake.settings, "resume": before})
        if outcome.refused:  # the settings were changed, or the pictures
            watch(bake, Note(f"This bake begins anew; what was saved of it stays in {before}. "
                             f"{outcome.refused}", warning=True))  # fmt: skip
            before = None
            outcome, code = follow(bake.settings)
    else:
        if before:
            watch(bake, Note("This bake begins anew, as what was saved of it cannot be read: "
                             f"{before}.", warning=True))  # fmt: skip
        outcome, code = follow(bake.settings)
    state = {exit_codes.DONE: DONE, exit_codes.STOPPED: STOPPED}.get(code, FAILED)
    if state == FAILED and outcome.error is None:
        outcome.error = (
            f"The training ended unexpectedly (code {code}). {outcome.last_line}".strip()
        )
    return store.update(
        bake.id, state=state, seconds=round(time.monotonic() - began, 1), result=outcome.result,
        resume_from=None if state == DONE else outcome.state_folder or before,
        error=outcome.error if state == FAILED else None,
    )  # fmt: skip


def _train(
    store: QueueStore, bake: Bake, watch: Watch, control: Control, command: str,
    settings: dict[str, Any],
) -> tuple[Outcome, int]:  # fmt: skip
    """Train with these settings; what the events told, and the exit code."""
    config, outcome = store.folder / f"{bake.id}.json", Outcome()
    try:
        write_text(config, json.dumps(settings, indent=2) + "\n")
        child = Child(command, ["--config", str(config), "--events"])
        return outcome, _follow(child, store, bake, outcome, watch, control)
    except OSError as error:
        outcome.error = f"The training could not be started: {error}."
    except SuiteError as error:
        outcome.error = str(error)
    finally:
        config.unlink(missing_ok=True)
    return outcome, exit_codes.MENDABLE


def _follow(
    child: Child, store: QueueStore, bake: Bake, outcome: Outcome, watch: Watch, control: Control
) -> int:  # fmt: skip
    """Pass events on until the child ends; its exit code. Each saved state is kept in the queue at
    once, for when this process is cut off."""
    told = False
    while True:
        for message in child.messages():
            if isinstance(message, Ended):
                return message.code
            if isinstance(message, LogLine):
                outcome.last_line = message.text or outcome.last_line
                continue
            outcome.take(message)
            if isinstance(message, Saved) and message.what == "state":
                with suppress(SuiteError):  # it is tried again at the end
                    store.update(bake.id, resume_from=message.path)
            watch(bake, message)
        if control.stop_asked and not told:
            child.ask("stop")
            told = True
        for request in Control.REQUESTS:
            if request != "stop" and control.take(request):
                child.ask(request)
        time.sleep(SECONDS_BETWEEN_LOOKS)
