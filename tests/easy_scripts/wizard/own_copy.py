"""Easy LoRA in a folder of its own, with the environment of this one: what it remembers, logs and
makes stays there, and its launcher starts it as run_training.bat does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from easy_scripts.bakes.keeper import EVENTS
from easy_scripts.bakes.kept import KeptBake, kept_bakes
from easy_scripts.launcher.project import Project
from easy_scripts.wizard import remembered

PATIENCE = 120  # seconds, on a machine that is busy


@dataclass(frozen=True)
class OwnCopy:
    """The folder `root`."""

    root: Path

    @property
    def memory(self) -> Path:
        """Where its wizards remember things."""
        return self.root / "cache" / "wizard"

    @property
    def output(self) -> Path:
        """Where it saves LoRAs when nobody says otherwise."""
        return self.root / "output"

    def start(self, *files: Path | str) -> subprocess.Popen:
        """Start training as start.bat does after a double-click, or with files dropped onto it."""
        with (self.root / "console.txt").open("ab") as console:
            return subprocess.Popen(
                [str(Project(self.root).python), str(self.root / "easy_scripts"), "train",
                 *map(str, files)],
                cwd=self.root, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                env={**os.environ, "EASY_LORA_LANGUAGE": "en"},
            )  # fmt: skip

    def remembered(self, key: str) -> dict:
        """What its training wizard keeps under `key`."""
        path = self.memory / "train.json"
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return content.get(key, {})

    def remember(self, **content: object) -> None:
        """Let it remember this, and nothing else."""
        self.memory.mkdir(parents=True, exist_ok=True)
        (self.memory / "train.json").write_text(json.dumps(content), encoding="utf-8")

    def bakes(self) -> list[KeptBake]:
        """The bakes that it keeps."""
        before, remembered.memory_folder = remembered.memory_folder, lambda: self.memory
        try:
            return kept_bakes()
        finally:
            remembered.memory_folder = before

    def keep_events(self, target: Path) -> Path:
        """A second name for the events of the newest bake: its window removes the first."""
        end = time.monotonic() + PATIENCE
        while not target.exists():
            assert time.monotonic() < end, "no bake has begun"
            for bake in self.bakes()[:1]:
                with suppress(FileNotFoundError):  # its keeper is just starting
                    os.link(bake.folder / EVENTS, target)
            time.sleep(0.05)
        return target

    def processes(self) -> list[int]:
        """All processes that were started from this folder and still live."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                words = (place / "cmdline").read_bytes()
                state = (place / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:  # it has just ended
                continue
            if str(self.root).encode() in words and state != "Z":
                found.append(int(place.name))
        return found

    def until_quiet(self) -> None:
        """Wait until nothing runs any more. Fails when something is stuck."""
        end = time.monotonic() + PATIENCE
        while left := self.processes():
            assert time.monotonic() < end, [Path(f"/proc/{pid}/cmdline").read_bytes()
                                            for pid in left]  # fmt: skip
            time.sleep(0.1)

    def end_all(self) -> None:
        """End whatever a test has left running."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def complaints(self) -> str:
        """Every traceback in its logs and on its console."""
        files = [self.root / "console.txt", *(self.root / "logs").glob("*")]
        texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in files
                 if path.is_file()}  # fmt: skip
        return "\n".join(f"{path}: {text}" for path, text in texts.items() if "Traceback" in text)

    def tidy(self) -> None:
        """Forget all that was remembered, logged and made."""
        for name in ("cache", "logs", "output", "queue"):
            shutil.rmtree(self.root / name, ignore_errors=True)
        (self.root / "console.txt").unlink(missing_ok=True)


def make_own_copy(root: Path) -> OwnCopy:
    """Copy the program into the folder `root`; the environment's content is shared."""
    here = Project()
    for name in ("easy_scripts", "scripts"):
        shutil.copytree(here.root / name, root / name,
                        ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    shutil.copy(here.root / "pyproject.toml", root)
    there = Project(root)
    there.environment.mkdir()
    for one in here.environment.iterdir():
        if one.suffix == ".json" or one.name == "pyvenv.cfg":
            shutil.copy(one, there.environment)
        else:
            (there.environment / one.name).symlink_to(one)
    stamp = json.loads(here.stamp.read_text(encoding="utf-8"))
    there.stamp.write_text(json.dumps({**stamp, "folder": str(root)}), encoding="utf-8")
    return OwnCopy(root)
