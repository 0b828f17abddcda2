"""The list of bakes on disk: one JSON file that survives a restart and a crash.

    store = QueueStore()                      # the project's own queue
    imported = store.add_file(Path("run.json"))
    for bake in store.read().bakes: ...

Every change reads the file, changes it and writes it anew under a lock, so a window and a runner
may work on the same queue. A bake holds its settings itself: the config that it came from may be
moved or changed afterwards.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from scripts.core.declare import declarations
from scripts.core.errors import SettingError, SettingErrors, SuiteError
from scripts.core.events import Control
from scripts.core.file_lock import locked, try_lock, unlock
from scripts.core.files import PROJECT_FOLDER, explain_os_error, patiently, write_text
from scripts.settings.import_config import Imported, import_config
from scripts.settings.import_draft import Fate
from scripts.settings.train import TrainSettings, read_train_settings

QUEUE_FOLDER = PROJECT_FOLDER / "queue"
WAITING, HELD, RUNNING = "waiting", "held", "running"
DONE, FAILED, STOPPED = "done", "failed", "stopped"
CONFIG_ENDINGS = (".json", ".toml")
MOST_STARTS = 3  # of a bake that takes the whole runner down each time
T = TypeVar("T")


@dataclass(frozen=True)
class Bake:
    """One training in the queue.

    `state`: waiting, held (skipped until it is let go), running, done, failed or stopped.
    `settings` are raw values by name. Of a bake that ran: `seconds` it took, `result` the LoRA,
    `resume_from` the saved state that it goes on from the next time, `error` what went wrong,
    `begun` how often it was started.
    """

    id: str
    name: str
    settings: dict[str, Any]
    source: str = ""
    state: str = WAITING
    begun: int = 0
    seconds: float | None = None
    result: str | None = None
    resume_from: str | None = None
    error: str | None = None

    @property
    def finished(self) -> bool:
        """Whether it ran and is not waiting to run again."""
        return self.state in (DONE, FAILED, STOPPED)


@dataclass(frozen=True)
class Queue:
    """The bakes in their order. `paused`: the bake in hand is finished, and no other begins."""

    bakes: tuple[Bake, ...] = ()
    paused: bool = False

    def find(self, bake_id: str) -> Bake:
        """The bake with this id. Raises SuiteError when there is none (any more)."""
        for bake in self.bakes:
            if bake.id == bake_id:
                return bake
        raise SuiteError("That bake is no longer in the queue. Look at the list again.")

    def next(self) -> Bake | None:
        """The bake to run next."""
        return next((bake for bake in self.bakes if bake.state == WAITING), None)


@dataclass
class QueueStore:
    """The queue in `folder`. All methods may be called from several processes."""

    folder: Path = field(default_factory=lambda: QUEUE_FOLDER)

    @property
    def path(self) -> Path:
        """The file of the queue."""
        return self.folder / "queue.json"

    def read(self) -> Queue:
        """The queue as it is now. Raises SuiteError when its file is damaged."""
        try:
            text = patiently(lambda: self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Queue()
        except OSError as error:
            raise SuiteError(f"The queue {self.path} cannot be read: {error.strerror}.") from error
        try:
            content = json.loads(text)
            known = {item.name for item in fields(Bake)}
            bakes = [Bake(**{key: value for key, value in entry.items() if key in known})
                     for entry in content["bakes"]]  # fmt: skip
            return Queue(tuple(bakes), bool(content.get("paused")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SuiteError(f"The file of the queue, {self.path}, is damaged. Rename it, and add "
                             "the configs again.") from error  # fmt: skip

    def change(self, work: Callable[[Queue], tuple[Queue, T]]) -> T:
        """Change the queue: `work` gives the new one and a result. Raises SuiteError."""
        self._make_folder()
        with locked(self.folder / "write.lock", lambda _: None, Control()):
            queue, result = work(self.read())
            content = {"paused": queue.paused, "bakes": [asdict(bake) for bake in queue.bakes]}
            write_text(self.path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        return result

    def add(self, settings: dict[str, Any], source: str = "") -> Bake:
        """Put a bake at the end; it is named after its output."""
        name = str(settings.get("output_name") or "") or Path(source).stem or "last"
        bake = Bake(uuid.uuid4().hex[:8], name, settings, source)
        return self.change(lambda queue: (replace(queue, bakes=(*queue.bakes, bake)), bake))

    def add_file(self, path: Path) -> Imported:
        """Put the config at `path`, of any tool, at the end; the report of its import.

        Raises SuiteError with all that is wrong when it is no config, a key of it was refused, or
        something is not set.
        """
        imported = import_config(path)
        wrong = [f"{entry.key}: {entry.note}" for entry in imported.of(Fate.REFUSED)]
        settings = _with_whole_paths(imported.values)
        try:
            read_train_settings(settings)
        except SettingErrors as errors:
            wrong.append(str(errors))
        if wrong:
            raise SuiteError("\n".join(wrong))
        if "output_name" not in settings:
            settings["output_name"] = path.stem
        self.add(settings, source=str(path.absolute()))
        return imported

    def remove(self, bake_id: str) -> Bake:
        """Take a bake out. Raises SuiteError while it runs."""
        return self._edit(bake_id, lambda bakes, place: bakes.pop(place))

    def move(self, bake_id: str, place: int) -> Bake:
        """Put a bake at `place`, counted from 0; beyond the end is the end."""

        def work(bakes: list[Bake], old: int) -> Bake:
            bake = bakes.pop(old)
            bakes.insert(max(0, place), bake)
            return bake

        return self._edit(bake_id, work, running_too=True)

    def duplicate(self, bake_id: str) -> Bake:
        """Put a copy, to be run, behind a bake."""

        def work(bakes: list[Bake], place: int) -> Bake:
            old = bakes[place]
            copy = Bake(uuid.uuid4().hex[:8], old.name, dict(old.settings), old.source)
            bakes.insert(place + 1, copy)
            return copy

        return self._edit(bake_id, work, running_too=True)

    def edit(self, bake_id: str, settings: dict[str, Any], name: str | None = None) -> Bake:
        """Give a bake other settings. It waits for its turn with them, unless it is held, and goes
        on from its saved state, if that fits them. Raises SuiteError while it runs."""

        def work(bakes: list[Bake], place: int) -> Bake:
            old = bakes[place]
            state = HELD if old.state == HELD else WAITING
            bakes[place] = Bake(old.id, name or old.name, settings, old.source, state,
                                resume_from=old.resume_from)  # fmt: skip
            return bakes[place]

        return self._edit(bake_id, work)

    def hold(self, bake_id: str) -> Bake:
        """Skip a bake until `let_go`."""
        return self._set_state(bake_id, (WAITING, HELD), HELD)

    def let_go(self, bake_id: str) -> Bake:
        """Let a held bake wait for its turn again."""
        return self._set_state(bake_id, (WAITING, HELD), WAITING)

    def again(self, bake_id: str) -> Bake:
        """Let a finished bake run again; one that was stopped goes on from its saved state."""

        def work(bakes: list[Bake], place: int) -> Bake:
            old = bakes[place]
            bakes[place] = Bake(old.id, old.name, old.settings, old.source,
                                resume_from=old.resume_from)  # fmt: skip
            return bakes[place]

        return self._edit(bake_id, work)

    def pause(self, paused: bool = True) -> None:
        """Let no further bake begin; or, with False, let the queue go on."""
        self.change(lambda queue: (replace(queue, paused=paused), None))

    def clear(self) -> int:
        """Take out what is done; how many."""

        def work(queue: Queue) -> tuple[Queue, int]:
            kept = tuple(bake for bake in queue.bakes if bake.state != DONE)
            return replace(queue, bakes=kept), len(queue.bakes) - len(kept)

        return self.change(work)

    def update(self, bake_id: str, **changes: Any) -> Bake:
        """Change fields of a bake, whatever its state; for the runner."""

        def work(bakes: list[Bake], place: int) -> Bake:
            bakes[place] = replace(bakes[place], **changes)
            return bakes[place]

        return self._edit(bake_id, work, running_too=True)

    @contextmanager
    def only_runner(self) -> Iterator[None]:
        """Be the one that runs this queue. Raises SuiteError when another one does, or the lock
        file cannot be made or locked."""
        self._make_folder()
        path = self.folder / "runner.lock"
        with ExitStack() as stack:
            try:
                handle = stack.enter_context(path.open("a+b"))
                free = try_lock(handle)
            except OSError as error:
                raise SuiteError(explain_os_error(error, path)) from error
            if not free:
                raise SuiteError("This queue is being run already, by another window or terminal. "
                                 "Wait for it, or stop it there.")  # fmt: skip
            try:
                yield
            finally:
                unlock(handle)

    def take_up_what_was_cut_off(self) -> None:
        """Let bakes wait again that were running when the runner or the computer died; nothing
        happens while somebody runs the queue."""
        if any(bake.state == RUNNING for bake in self.read().bakes):
            with suppress(SuiteError), self.only_runner():
                self.change(lambda queue: (
                    replace(queue, bakes=tuple(map(_taken_up, queue.bakes))), None))  # fmt: skip

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SuiteError(explain_os_error(error, self.folder)) from error

    def _set_state(self, bake_id: str, allowed: Sequence[str], state: str) -> Bake:
        def work(bakes: list[Bake], place: int) -> Bake:
            if bakes[place].state not in allowed:
                raise SuiteError(f"{bakes[place].name} is {bakes[place].state}; only a bake that "
                                 "waits can be held.")  # fmt: skip
            bakes[place] = replace(bakes[place], state=state)
            return bakes[place]

        return self._edit(bake_id, work)

    def _edit(
        self, bake_id: str, work: Callable[[list[Bake], int], Bake], running_too: bool = False
    ) -> Bake:
        def whole(queue: Queue) -> tuple[Queue, Bake]:
            bake = queue.find(bake_id)
            if bake.state == RUNNING and not running_too:
                raise SuiteError(f"{bake.name} is running. Stop it first.")
            bakes = list(queue.bakes)
            result = work(bakes, bakes.index(bake))
            return replace(queue, bakes=tuple(bakes)), result

        return self.change(whole)


def _taken_up(bake: Bake) -> Bake:
    """A bake whose runner has died: it waits again, unless that happened too often."""
    if bake.state != RUNNING:
        return bake
    if bake.begun < MOST_STARTS:
        return replace(bake, state=WAITING)
    error = f"It was cut off {bake.begun} times by the end of the program or the computer."
    return replace(bake, state=FAILED, error=error)


def _with_whole_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with paths that hold wherever the queue is run from."""
    declared = declarations(TrainSettings)
    return {
        name: str(Path(value).absolute())
        if isinstance(value, str) and declared[name].path
        else value
        for name, value in settings.items()
    }


def configs_in(path: Path) -> list[Path]:
    """The config files that a path means: itself, or all JSON and TOML files in a folder.

    Raises SettingError when there is nothing.
    """
    if not path.is_dir():
        return [path]
    found = sorted(entry for entry in path.iterdir()
                   if entry.suffix.lower() in CONFIG_ENDINGS and entry.is_file())  # fmt: skip
    if not found:
        raise SettingError("file", f"There is no config (.json or .toml) in {path}.")
    return found
