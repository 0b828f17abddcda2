"""What the pages of a wizard find out for each other: `wizard.facts`.

A wizard whose pages tell each other more has a class of its own below `Findings`, named in its
`Plan`. Each fact has one owner, the page that writes it, and says how long it holds.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from scripts.core.events import Event


@dataclass
class Findings:
    """What every wizard has.

    `events`: all events of the latest work, written by its page when it ends.
    `overwrite`: an earlier file may be replaced; the page of the place asks, the work takes it.
    `result`: the file to be made, where save_to may be a folder; the same pages.
    """

    events: list[Event] = field(default_factory=list)
    overwrite: bool = False
    result: str | None = None

    def take(self, name: str) -> Any:
        """A fact that holds once: it is forgotten when it is taken."""
        value = getattr(self, name)
        self.forget(name)
        return value

    def forget(self, *names: str) -> None:
        """Let these facts be as they were when the wizard was opened."""
        fresh = type(self)()
        for name in names or [entry.name for entry in dataclasses.fields(self)]:
            setattr(self, name, getattr(fresh, name))
