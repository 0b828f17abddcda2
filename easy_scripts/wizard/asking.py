"""Ask a command for facts in the background; only the latest question is answered.

asking = Asking(wizard, "scripts.inspect_model")
asking.ask([path], take)        # take(Answer), in the Tk thread
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from easy_scripts.wizard.child import Child, Ended
from easy_scripts.wizard.heard import heard
from easy_scripts.wizard.window import Wizard
from scripts.core.errors import SuiteError
from scripts.core.events import Facts, Planned, Problem, Stage

POLL = 40  # milliseconds
PATIENCE = 200  # milliseconds without a newer question before one is really asked


@dataclass
class Answer:
    """The facts, empty when there was a problem."""

    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def problem(self) -> str:
        """What is wrong, in sentences."""
        return "\n".join(problem.message for problem in self.problems)


Take = Callable[[Answer], None]
TakeStage = Callable[[Stage], None]


class Asking:
    """Runs `module` for one question at a time; a newer question ends the older one."""

    def __init__(self, wizard: Wizard, module: str) -> None:
        self._wizard, self._module = wizard, module
        self._child: Child | None = None
        self._job: str | None = None
        self._early: Take | None = None
        self._stage: TakeStage | None = None

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._job is not None

    def ask(
        self, arguments: Sequence[str], take: Take, early: Take | None = None,
        stage: TakeStage | None = None,
    ) -> None:  # fmt: skip
        """Ask the command with these arguments; `take` gets the answer, `early` what is known
        before, `stage` how far it is."""
        self.close()
        self._early, self._stage = early, stage
        self._job = self._wizard.root.after(PATIENCE, lambda: self._start(arguments, take))

    def ask_about(
        self, config: dict[str, Any], flag: str, take: Take, early: Take | None = None,
        stage: TakeStage | None = None,
    ) -> None:  # fmt: skip
        """Ask the command, with `flag`, about these settings."""
        try:
            path = self._wizard.own_files.write(f"{self._module}-question", config)
        except (OSError, SuiteError) as error:
            take(Answer(problems=[Problem(self._wizard.texts.said(error))]))
            return
        self.ask(["--config", str(path), flag], take, early, stage)

    def close(self) -> None:
        """Forget the question; end what still runs."""
        if self._job:
            self._wizard.root.after_cancel(self._job)
        if self._child:
            self._child.kill()
        self._job = self._child = None

    def _start(self, arguments: Sequence[str], take: Take) -> None:
        answer = Answer()
        try:
            self._child = Child(self._module, [*arguments, "--events"])
        except OSError as error:
            self._job = None
            take(Answer(problems=[Problem(self._wizard.texts.said(error))]))
            return
        self._job = self._wizard.root.after(POLL, lambda: self._poll(answer, take))

    def _poll(self, answer: Answer, take: Take) -> None:
        # Planned first: an error of ours in what is called below must not end the looking.
        self._job = self._wizard.root.after(POLL, lambda: self._poll(answer, take))
        child = self._child
        for message in heard(self._wizard.texts, child):
            if self._child is not child:  # a newer question was asked by what was called
                return
            if isinstance(message, Facts):
                answer.facts = message.facts
                if self._early:
                    self._early(answer)
            elif isinstance(message, Stage):
                if self._stage:
                    self._stage(message)
            elif isinstance(message, Planned):
                answer.facts = message.plan
            elif isinstance(message, Problem):
                answer.problems.append(message)
            elif isinstance(message, Ended):
                self.close()
                if not answer.facts and not answer.problems:
                    answer.problems.append(Problem(self._wizard.texts("asking.nothing")))
                take(answer)
                return


def show_page(wizard: Wizard, name: str) -> None:
    """Show the page of this name."""
    wizard.go_to(next(i for i, page in enumerate(wizard.pages) if page.name == name))


def short_path(path: str | Path, letters: int = 58) -> str:
    """A path that fits on a line: its middle is left out."""
    text = str(path)
    if len(text) <= letters:
        return text
    half = (letters - 1) // 2
    return f"{text[:half]}…{text[-half:]}"
