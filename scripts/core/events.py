"""What a running command tells the world, and how it is told to stop.

Work code gets one callback `report: Report` and one `Control`; it never knows whether a window,
a terminal or nobody is watching. `scripts.core.channel` carries the events as JSON lines,
`scripts.console` as plain text.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

from scripts.core.errors import Cancelled


@dataclass(frozen=True)
class Event:
    """The base of all events; `kind` is the name on the wire."""

    kind: ClassVar[str] = ""

    def as_dict(self) -> dict:
        """The event as a JSON-able dict; fields that are None are left out."""
        content = {key: value for key, value in asdict(self).items() if value is not None}
        return {"event": self.kind, **content}


@dataclass(frozen=True)
class Start(Event):
    """The work begins. `command` is its name, `steps` the number of steps when known, in `epochs`
    of `epoch_steps` each, the last of which may be cut short."""

    kind: ClassVar[str] = "start"
    command: str
    steps: int | None = None
    epochs: int | None = None
    epoch_steps: int | None = None


@dataclass(frozen=True)
class Stage(Event):
    """A part of the work other than training steps. `done` of `total` units, when counted."""

    kind: ClassVar[str] = "stage"
    name: str
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class Step(Event):
    """Training step `done` of `total` has ended.

    `loss` is the mean over the latest steps, `learning_rates` those of this step by group name,
    `seconds_per_step` a mean without the first step, `memory_bytes` this process's peak on the
    card; of the card's `card_bytes`, all programs together have `card_used`. `alarm` is "full" or
    "slower" as long as something slows the training down (`scripts.training.alarm`).
    """

    kind: ClassVar[str] = "step"
    done: int
    total: int
    epoch: int
    loss: float
    learning_rates: dict[str, float]
    seconds_per_step: float | None = None
    seconds_left: float | None = None
    memory_bytes: int | None = None
    card_used: int | None = None
    card_bytes: int | None = None
    alarm: str | None = None


@dataclass(frozen=True)
class Preview(Event):
    """A preview picture was written: at training step `step`, or with the finished file `lora`
    at `strength` (0, and no lora: of the base model alone)."""

    kind: ClassVar[str] = "preview"
    path: str
    prompt: str | None = None
    step: int | None = None
    lora: str | None = None
    strength: float | None = None


@dataclass(frozen=True)
class Saved(Event):
    """A file (or a folder with the training state) was written whole."""

    kind: ClassVar[str] = "saved"
    path: str
    what: str = "lora"


@dataclass(frozen=True)
class Planned(Event):
    """What would happen, as `--plan` was asked to tell."""

    kind: ClassVar[str] = "plan"
    plan: dict


@dataclass(frozen=True)
class Facts(Event):
    """What was found out about a file or a result. A terminal shows `text` in its place, if any."""

    kind: ClassVar[str] = "facts"
    facts: dict
    text: str | None = None


@dataclass(frozen=True)
class Note(Event):
    """Something worth knowing; with `warning` it is no good news and stays in view."""

    kind: ClassVar[str] = "note"
    text: str
    warning: bool | None = None


@dataclass(frozen=True)
class Problem(Event):
    """Something is wrong that the user can mend."""

    kind: ClassVar[str] = "problem"
    message: str
    setting: str | None = None


@dataclass(frozen=True)
class Done(Event):
    """The work has ended well. `path` is the result."""

    kind: ClassVar[str] = "done"
    path: str | None = None
    seconds: float | None = None


EVENT_KINDS: dict[str, type[Event]] = {
    event.kind: event
    for event in (Start, Planned, Facts, Stage, Step, Preview, Saved, Note, Problem, Done)
}

Report = Callable[[Event], None]


def event_from_dict(content: dict) -> Event:
    """The event that `Event.as_dict` made. Raises KeyError or TypeError for anything else."""
    kind = EVENT_KINDS[content["event"]]
    names = {field.name for field in fields(kind)}
    return kind(**{key: value for key, value in content.items() if key in names})


class Control:
    """How the outside asks running work for something; safe to call from signals and threads.

    Requests: "stop" (finish the step, save, end), "stop_after_epoch", "save" and "preview" (now).
    """

    REQUESTS = ("stop", "stop_after_epoch", "save", "preview")

    def __init__(self) -> None:
        self._asked: set[str] = set()
        self._lock = threading.RLock()  # a signal may ask while the main thread is taking

    def ask(self, request: str) -> None:
        """Ask for one of REQUESTS; work takes it up at the next safe point.

        Raises ValueError for any other request.
        """
        if request not in self.REQUESTS:
            raise ValueError(f"no such request: {request}")
        with self._lock:
            self._asked.add(request)

    def stop(self) -> None:
        """Ask the work to stop at the next safe point."""
        self.ask("stop")

    @property
    def stop_asked(self) -> bool:
        """Whether someone asked to stop."""
        return "stop" in self._asked

    def take(self, request: str) -> bool:
        """Whether `request` was asked for; asking is forgotten by this ("stop" is not)."""
        with self._lock:
            asked = request in self._asked
            if request != "stop":
                self._asked.discard(request)
        return asked

    def check(self) -> None:
        """Raise Cancelled when someone asked to stop; for work that has nothing to save."""
        if self.stop_asked:
            raise Cancelled("Stopped before anything was made.")
