"""A made-up bake: it tells the page what a test says, in the test's time."""

from __future__ import annotations

from typing import Any

import pytest

from easy_scripts.bakes.kept import About
from easy_scripts.train_pages import bake_page
from easy_scripts.wizard.child import Ended
from scripts.core.events import Done, Problem, Saved, Start, Step


class MadeUpBake:
    """Stands in for a `KeptBake` and for what starts one.

    `say` what comes next; `asked` is what the page asked for, `config` what it was started with.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.about = About("bake", "hero")
        self.config: dict[str, Any] | None = None
        self.started = 0
        self.asked: list[str] = []
        self._coming: list = []
        patch.setattr(bake_page, "start_bake", self._start)

    def _start(self, about, module, arguments, config=None) -> MadeUpBake:
        self.about, self.config = about, config
        self.module, self.arguments = module, arguments
        self.started += 1
        self.asked = []
        return self

    def say(self, *messages) -> None:
        """Send these messages."""
        self._coming += messages

    def begin(self, steps: int = 100, epochs: int = 5, epoch_steps: int = 20) -> None:
        """The bake begins."""
        self.say(Start("train", steps, epochs, epoch_steps))

    def step(self, done: int, total: int = 100, **more) -> None:
        """A step of a bake with 20 steps a round."""
        given = {"epoch": -(-done // 20), "loss": 0.1, "learning_rates": {"unet": 1e-4}, **more}
        self.say(Step(done, total, **given))

    def finish(self, path: str = "hero.safetensors") -> None:
        """It ends well."""
        self.say(Saved(path), Done(path, 60.0), Ended(0))

    def fail(self, message: str, setting: str | None = None) -> None:
        """It ends with a problem."""
        self.say(Problem(message, setting), Ended(1))

    # --- what the page wants of a bake -----------------------------------------------------

    running = True

    def messages(self):
        """What has come."""
        while self._coming:
            yield self._coming.pop(0)

    def ask(self, request: str) -> None:
        """Note what was asked for."""
        self.asked.append(request)

    def kill(self) -> None:
        """End it."""
        self.asked.append("kill")

    def let_go(self) -> None:
        """Let it go on alone."""
        self.asked.append("let_go")

    def forget(self) -> None:
        """Nothing is kept of it."""
