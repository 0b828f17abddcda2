"""What was entered, kept on the disk soon after every change, to be offered next time."""

from __future__ import annotations

import tkinter
from typing import Any

from easy_scripts.wizard.answers import Answers
from easy_scripts.wizard.remembered import Memory

DELAY = 400  # milliseconds after the last change


class Draft:
    """Keeps `answers` in `memory`; `before` is what was kept last time."""

    def __init__(self, root: tkinter.Tk, answers: Answers, memory: Memory) -> None:
        self._root, self._answers, self._memory = root, answers, memory
        self._job: str | None = None
        self.before: dict[str, Any] = memory.get("draft", {})

    def follow(self) -> None:
        """Keep every change from now on."""
        self._answers.watch(self._later)

    def _later(self) -> None:
        if self._job:
            self._root.after_cancel(self._job)
        self._job = self._root.after(DELAY, self.keep)

    def keep(self) -> None:
        """Write what was entered to the disk."""
        self._job = None
        entered = self._answers.entered()
        if entered:
            self._memory.keep("draft", entered)
