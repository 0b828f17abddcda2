"""A made-up `scripts.train --trial`: a child that tells what a test says, in the test's time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from easy_scripts.wizard import asking
from easy_scripts.wizard.child import Child, Ended
from scripts.core.events import Facts, Problem, Stage


class MadeUpTrial:
    """Stands in for `Child` where a trial is asked for; any other question gets a real child.

    `say` what comes next; `config` is what the trial was asked about.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.config: dict = {}
        self.asked = 0
        self.killed = False
        self._coming: list = []
        patch.setattr(asking, "Child", self._start)

    def _start(self, module: str, arguments: list[str]):
        if "--trial" not in arguments:
            return Child(module, arguments)
        assert module == "scripts.train" and arguments[0] == "--config"
        self.config = json.loads(Path(arguments[1]).read_text(encoding="utf-8"))
        self.asked += 1
        self.killed = False
        self._coming.clear()
        return self

    def say(self, *messages) -> None:
        """Send these messages."""
        self._coming += messages

    def steps(self, done: int) -> None:
        """So many of the ten steps are done."""
        self.say(Stage("Trying ten steps", done, 10))

    def find(self, **facts) -> None:
        """End with these facts, on a card where batches up to `largest_batch` fit."""
        largest, seconds = facts.get("largest_batch"), facts.get("seconds_per_picture", 0.5)
        sizes = [size for size in (1, 2, 3, 4, 6, 8) if size <= (largest or 0)]
        tried = [{"batch": size, "verdict": "fits", "seconds_per_picture": seconds,
                  "memory_bytes": int((3 + size) * 1e9)} for size in sizes]  # fmt: skip
        whole = {"batch": 2, "batches_in_step": 1, "seconds_per_step": 2 * seconds,
                 "seconds_per_picture": seconds, "memory_bytes": 5_000_000_000, "steps": 800,
                 "seconds": 1600 * seconds, "note": None, "tried": tried, **facts}  # fmt: skip
        self.say(Facts(whole), Ended(0))

    def run_out(self, message: str) -> None:
        """End with a problem: the memory ran out at the batch that was set, one picture fits."""
        self.find(largest_batch=1)
        facts = self._coming[-2].facts
        facts |= dict.fromkeys(["seconds_per_step", "seconds_per_picture", "memory_bytes",
                                "seconds"])  # fmt: skip
        self._coming[-1:] = [Problem(message, "train_batch_size"), Ended(1)]

    def fail(self, message: str) -> None:
        """End with a problem."""
        self.say(Problem(message), Ended(1))

    # --- what Asking wants of a child ------------------------------------------------------

    def messages(self):
        """What has come."""
        coming, self._coming = self._coming, []
        return iter(coming)

    def kill(self) -> None:
        """End it."""
        self.killed = True
