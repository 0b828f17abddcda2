"""What was entered, kept on the disk soon after every change, to be offered next time."""

from __future__ import annotations

import tkinter
from collections.abc import Mapping
from typing import Any

from easy_scripts.wizard.answers import Answers
from easy_scripts.wizard.remembered import Memory

DELAY = 400  # milliseconds after the last change


class Draft:
    """Keeps `answers` in `memory`, and with them the `kind` that a page gives them; `before` and
    `kind_before` are what was kept last time.

    An older draft stays until a person enters something or goes on with what is there: neither
    proposals nor what was dropped or opened take its place. Proposals are no part of it: they are
    made again.
    """

    def __init__(self, root: tkinter.Tk, answers: Answers, memory: Memory) -> None:
        self._root, self._answers, self._memory = root, answers, memory
        self._job: str | None = None
        self._begun: dict[str, Any] | None = None  # what was there before anything was entered
        self.before: dict[str, Any] = memory.get("draft", {})
        self._by_hand: list[str] = memory.get("by_hand", [])
        self.kind = ""
        self.kind_before: str = memory.get("opened_kind", "")

    def follow(self) -> None:
        """Keep every change from now on."""
        self.begin()
        self._answers.watch(self._later)

    def begin(self) -> None:
        """What is there now was not entered by a person."""
        self._begun = self._answers.chosen()

    def count(self) -> None:
        """What is there now was entered by a person, or has been approved of."""
        if self._begun is not None:
            self._begun = None
            self._later()

    def note_kind(self, kind: str) -> None:
        """Keep this kind with what is entered."""
        if kind != self.kind:
            self.kind = kind
            self._later()

    def use(self, begun: Mapping[str, Any]) -> None:
        """Go on with what was kept last time; the rest is as in `begun`."""
        self._answers.replace({**begun, **self.before}, self._by_hand)
        self.count()

    def _later(self) -> None:
        if self._job:
            self._root.after_cancel(self._job)
        self._job = self._root.after(DELAY, self.keep)

    def keep(self) -> None:
        """Write what was entered to the disk."""
        self._job = None
        entered = self._answers.chosen()
        if entered and entered != self._begun:
            self._begun = None
            self._memory.keep("draft", entered)
            self._memory.keep("by_hand", sorted(self._answers.by_hand))
            self._memory.keep("opened_kind", self.kind)
