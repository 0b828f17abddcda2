"""Start a bake that may outlive this window, and find again those that did.

    bake = start_bake(About("bake", "hero", config), "scripts.train", [], config)
    for message in bake.messages(): ...       # as of a child process
    bake.let_go()                             # the window may close now
    for bake in kept_bakes(): ...             # in a later window: running, or ended unseen

Each bake has a folder in the wizards' memory: what it is (about.json), the config that it runs
with, its events, requests to it and a lock that its keeper holds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

from easy_scripts.bakes.keeper import EVENTS, KILL, LET_GO, LOCK, NUMBER, REQUESTS
from easy_scripts.install.running import all_processes
from easy_scripts.launcher.handover import BOOTSTRAP, child_environment
from easy_scripts.launcher.no_console import NO_CONSOLE
from easy_scripts.wizard import remembered
from easy_scripts.wizard.child import Ended, LogLine, Message
from scripts.core.errors import SuiteError
from scripts.core.events import event_from_dict
from scripts.core.file_lock import try_lock, unlock
from scripts.core.files import PROJECT_FOLDER, write_text

ABOUT, CONFIG = "about.json", "config.json"
SECONDS_BETWEEN_LOOKS = 0.5  # whether the keeper still lives
SECONDS_TO_START = 10.0  # a keeper may take so long until it holds its lock
CODE_VANISHED = -1  # the keeper was ended from outside, or the computer was


@dataclass(frozen=True)
class About:
    """What a bake is: its kind (bake, practice or queue), name, settings, when it began, and the
    state that it goes on from."""

    kind: str
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    started: float = 0.0  # seconds since 1970
    resume: str = ""


class KeptBake:
    """The bake in `folder`, seen from a window. It has the methods of a `Child`, and some more."""

    def __init__(self, folder: Path, about: About, process: subprocess.Popen | None = None) -> None:
        self.folder, self.about, self._process = folder, about, process
        self._events: BinaryIO | None = None
        self._rest = b""
        self._lines: deque[bytes] = deque()
        self._ended = False
        self._looked = 0.0

    def messages(self) -> Iterator[Message]:
        """What has come and was not taken yet, without waiting; at first all from the beginning."""
        alive = self.running if self._time_to_look() else True
        self._lines += self._new_lines()
        while self._lines:
            message = _message(self._lines.popleft())
            self._ended = self._ended or isinstance(message, Ended)
            yield message
        if not alive and not self._ended:
            self._ended = True
            yield Ended(CODE_VANISHED)

    def ask(self, request: str) -> None:
        """Send a request, such as "stop"; nothing happens when the bake is gone already."""
        with suppress(OSError, ValueError):
            if self._process is not None:
                self._process.stdin.write(request.encode() + b"\n")
                self._process.stdin.flush()
                return
            with (self.folder / REQUESTS).open("a", encoding="utf-8") as file:
                file.write(request + "\n")

    def kill(self) -> None:
        """End the bake at once."""
        self.ask(KILL)

    def let_go(self) -> None:
        """Let it go on when this window is gone."""
        self.ask(LET_GO)

    def forget(self) -> None:
        """Remove what was kept of a bake that has ended."""
        if self._events:
            self._events.close()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)  # its files are open until then
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def running(self) -> bool:
        """Whether its keeper lives."""
        if self._process is not None:
            return self._process.poll() is None
        try:
            with (self.folder / LOCK).open("r+b") as lock:
                if not try_lock(lock):
                    return True
                unlock(lock)
                return False
        except OSError:  # not there yet, or on a disk that knows no locks
            return self._process_lives()

    def _process_lives(self) -> bool:
        """Whether the keeper is among the processes; one may be about to start."""
        with suppress(OSError, ValueError):
            number = int((self.folder / NUMBER).read_text(encoding="ascii"))
            return any(number == other and "python" in Path(program).name.lower()
                       for other, _, program in all_processes())  # fmt: skip
        return time.time() - self.about.started < SECONDS_TO_START

    def _time_to_look(self) -> bool:
        if time.monotonic() - self._looked < SECONDS_BETWEEN_LOOKS:
            return False
        self._looked = time.monotonic()
        return True

    def _new_lines(self) -> list[bytes]:
        with suppress(OSError):
            self._events = self._events or (self.folder / EVENTS).open("rb")
            *lines, self._rest = (self._rest + self._events.read()).split(b"\n")
            return lines
        return []


def _message(line: bytes) -> Message:
    try:
        content = json.loads(line)
        if "ended" in content:
            return Ended(int(content["ended"]))
        return LogLine(content["log"]) if "log" in content else event_from_dict(content)
    except (ValueError, KeyError, TypeError):  # cut off by a full disk, or of a later version
        return LogLine(line.decode("utf-8", errors="replace"))


def bakes_folder() -> Path:
    """Where the bakes are kept."""
    return remembered.memory_folder() / "bakes"


def start_bake(
    about: About, module: str, arguments: Sequence[str], config: dict[str, Any] | None = None
) -> KeptBake:
    """Start `module` of this project under a keeper, with `config` if there is one.

    Raises SuiteError when that fails.
    """
    about = replace(about, started=time.time())
    folder = bakes_folder() / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    words = [str(folder), module, *arguments, "--events"]
    if config is not None:
        write_text(folder / CONFIG, json.dumps(config, indent=1) + "\n")
        words += ["--config", str(folder / CONFIG)]
    write_text(folder / ABOUT, json.dumps(asdict(about), indent=1, ensure_ascii=False) + "\n")
    try:
        process = subprocess.Popen(
            [sys.executable, str(BOOTSTRAP), str(PROJECT_FOLDER), "easy_scripts.bakes.keeper",
             *words],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=child_environment(os.environ),
            creationflags=NO_CONSOLE,
            start_new_session=sys.platform != "win32",  # a closed terminal must not end it unsaved
        )  # fmt: skip
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise SuiteError(f"The bake could not be started ({error.strerror}). Run the doctor: "
                         "python -m easy_scripts doctor.") from error  # fmt: skip
    return KeptBake(folder, about, process)


def kept_bakes() -> list[KeptBake]:
    """The bakes that run without a window or ended unseen, the newest first."""
    names = {entry.name for entry in fields(About)}
    found = []
    for path in sorted(bakes_folder().glob(f"*/{ABOUT}"), reverse=True):
        with suppress(OSError, ValueError, TypeError, AttributeError):  # damaged: passed over
            content = json.loads(path.read_text(encoding="utf-8"))
            about = About(**{key: value for key, value in content.items() if key in names})
            found.append(KeptBake(path.parent, about))
    return found
