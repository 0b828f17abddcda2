"""A made-up bake without a window of its own: a test says what happens in it.

Everything goes through the files that a keeper writes (see `easy_scripts.bakes.kept`), so a window
reads it as it reads a real one, and its requests can be seen.
"""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import asdict
from typing import Any

from easy_scripts.bakes import kept
from easy_scripts.bakes.keeper import EVENTS, LOCK, REQUESTS
from scripts.core.events import Event, Start, Step
from scripts.core.file_lock import try_lock, unlock
from scripts.core.files import write_text

NUMBERS = itertools.count(1)


class MadeUpBake:
    """Runs from the start, as its lock is held; `end` ends it."""

    def __init__(self, kind: str = "bake", name: str = "hero",
                 config: dict[str, Any] | None = None, resume: str = "") -> None:  # fmt: skip
        about = kept.About(kind, name, config or {}, time.time(), resume)
        self.folder = kept.bakes_folder() / f"made-up-{next(NUMBERS):04}"
        write_text(self.folder / kept.ABOUT, json.dumps(asdict(about)))
        self._lock = (self.folder / LOCK).open("a+b")
        assert try_lock(self._lock)

    def seen(self) -> kept.KeptBake:
        """The bake as a later window finds it."""
        return next(bake for bake in kept.kept_bakes() if bake.folder == self.folder)

    def say(self, *events: Event) -> None:
        """These events come."""
        self._write(*(event.as_dict() for event in events))

    def log(self, *lines: str) -> None:
        """The command writes these lines."""
        self._write(*({"log": line} for line in lines))

    def steps(self, done: int, total: int = 1200, epochs: int = 10, **of_the_last: Any) -> None:
        """The first `done` steps of `total`, the last of them with other facts where given."""
        self.say(Start("train", total, epochs))
        for step in range(1, done + 1):
            facts = {"seconds_per_step": 0.61, "seconds_left": 0.61 * (total - step),
                     "memory_bytes": 7_600_000_000, "card_used": 8_100_000_000,
                     "card_bytes": 17_180_000_000}  # fmt: skip
            facts |= of_the_last if step == done else {}
            loss = 0.11 + 0.07 / step + 0.0004 * (step * 37 % 11)  # a mean, so it is smooth
            epoch = 1 + (step - 1) * epochs // total
            self.say(Step(step, total, epoch, loss, {"unet": 1e-4, "text_encoder": 5e-5}, **facts))

    def end(self, code: int) -> None:
        """It ends with this exit code, and its keeper with it."""
        self._write({"ended": code})
        unlock(self._lock)
        self._lock.close()

    def requests(self) -> list[str]:
        """What windows have asked of it."""
        path = self.folder / REQUESTS
        return path.read_text(encoding="utf-8").split() if path.exists() else []

    def _write(self, *contents: dict[str, Any]) -> None:
        with (self.folder / EVENTS).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(content) + "\n" for content in contents)
