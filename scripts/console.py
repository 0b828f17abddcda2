"""Show the events of a command to a person at a terminal: plain lines and one tqdm bar."""

from __future__ import annotations

import json
import os
import sys
from typing import TextIO

from tqdm import tqdm

from scripts.core.events import (
    Done,
    Event,
    Facts,
    Note,
    Planned,
    Preview,
    Problem,
    Saved,
    Stage,
    Start,
    Step,
)


class Console:
    """A report callback for a terminal. `close` ends an open bar."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._name = ""
        # A console under an old code page cannot show every letter: "?" beats a crash.
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")

    def __call__(self, event: Event) -> None:
        try:
            self._show(event)
        except OSError:  # the terminal, or the program behind the pipe, is gone
            self._bar = None
            _leave_standard_streams()

    def _show(self, event: Event) -> None:
        if isinstance(event, Stage):
            self._stage(event)
        elif isinstance(event, Step):
            self._step(event)
        else:
            target = sys.stderr if isinstance(event, Problem) else sys.stdout
            self._line(_text_of(event), target)

    def close(self) -> None:
        """End the bar that is open, if any."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._name = ""

    def _stage(self, event: Stage) -> None:
        if event.total is None:
            if event.name != self._name:
                self.close()
                self._name = event.name
                self._line(event.name + " ...")
            return
        self._advance(event.name, event.done or 0, event.total)

    def _step(self, event: Step) -> None:
        self._advance("Training", event.done, event.total)
        if self._bar is not None:
            self._bar.set_postfix_str(f"epoch {event.epoch}, loss {event.loss:.4f}")

    def _advance(self, name: str, done: int, total: int) -> None:
        if self._bar is None or self._name != name or self._bar.total != total:
            self.close()
            self._name = name
            self._bar = tqdm(total=total, initial=done, desc=name, file=sys.stderr)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self.close()

    @staticmethod
    def _line(text: str, target: TextIO | None = None) -> None:
        if text:
            target = target or sys.stdout
            tqdm.write(_harmless(text), file=target)
            target.flush()


def _harmless(text: str) -> str:
    """Without what would steer a terminal: comments in files may hold anything."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)


def _text_of(event: Event) -> str:
    if isinstance(event, Start):
        return ""
    if isinstance(event, Planned):
        return json.dumps(event.plan, indent=2, ensure_ascii=True)
    if isinstance(event, Facts):
        return event.text or json.dumps(event.facts, indent=2, ensure_ascii=True)
    if isinstance(event, Note):
        return event.text
    if isinstance(event, Preview):
        return f"Preview: {event.path}"
    if isinstance(event, Saved):
        return f"Saved: {event.path}"
    if isinstance(event, Problem):
        return f"{event.setting}: {event.message}" if event.setting else event.message
    if isinstance(event, Done):
        took = "" if event.seconds is None else f" after {show_seconds(event.seconds)}"
        return f"Done{took}." + (f" {event.path}" if event.path else "")
    return ""


def show_seconds(seconds: float) -> str:
    """A time as a person says it: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def silent(_: Event) -> None:
    """A report callback for nobody: the other processes of a run on several."""


def _leave_standard_streams() -> None:
    """Send stdout and stderr to nowhere, so that the work can go on and nothing fails at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)
