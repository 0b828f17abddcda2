"""Is the private environment there, whole, and still where it was made?

`judge` reads two small files and starts the environment's Python once (some 30 ms); it changes
nothing. It tells people what is the matter; what there is to do, set-up finds out by itself.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from easy_scripts.install.lockfiles import lock_hash
from easy_scripts.launcher.handover import child_environment
from easy_scripts.launcher.no_console import NO_CONSOLE
from easy_scripts.launcher.project import Project

Probe = Callable[[Path], "str | None"]
ONE_LINE = "import sys; print('.'.join(map(str, sys.version_info[:3])))"


class State(Enum):
    """What can be the matter with the environment.

    Work is handed over when it is WHOLE. All the others are mended by the same set-up, which keeps
    every package that is in order; they differ in the sentence, and MISSING is not called mending.
    """

    WHOLE = "whole"
    MISSING = "missing"
    UNFINISHED = "unfinished"
    PYTHON_GONE = "python gone"
    PYTHON_CHANGED = "python changed"
    MOVED = "moved"
    OTHER_MACHINE = "other machine"
    LOCK_CHANGED = "lock changed"
    EXTRA_MISSING = "extra missing"


@dataclass(frozen=True)
class Judgement:
    """The state, one sentence about it for the user, and the stamp's content if there is one."""

    state: State
    sentence: str
    stamp: dict

    @property
    def whole(self) -> bool:
        """Whether work can be handed over."""
        return self.state is State.WHOLE


def python_version_of(python: Path) -> str | None:
    """The version of an interpreter, such as "3.11.7"; None when it does not start."""
    try:
        result = subprocess.run(
            [str(python), "-I", "-S", "-c", ONE_LINE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env=child_environment(os.environ),
            creationflags=NO_CONSOLE,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def read_json(path: Path) -> dict:
    """The JSON object in a file of ours; empty when it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_pyvenv_cfg(environment: Path) -> dict[str, str]:
    """The `key = value` lines of pyvenv.cfg, in which Python notes how it made an environment."""
    try:
        text = (environment / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, value in pairs}


def this_machine() -> str:
    """System and processor, such as "Linux x86_64": packages of one do not run on another."""
    return f"{platform.system()} {platform.machine()}"


def same_minor(version: str, other: str) -> bool:
    """Whether two Python versions use the same packages: 3.11.2 and 3.11.9 do."""
    return version.split(".")[:2] == other.split(".")[:2]


def judge(
    project: Project,
    extra: str | None = None,
    probe: Probe = python_version_of,
) -> Judgement:
    """Judge the environment of `project`; `extra` is a lock file needed on top, such as "test"."""
    stamp = read_json(project.stamp)
    state, sentence = _state(project, stamp, extra, probe)
    return Judgement(state, sentence, stamp)


def _state(project: Project, stamp: dict, extra: str | None, probe: Probe) -> tuple[State, str]:
    if not project.environment.exists():
        return State.MISSING, "Easy LoRA has not been set up in this folder yet."
    if not project.stamp.exists() and not project.plan.exists():
        return State.UNFINISHED, "The set-up of Easy LoRA has not been run to its end."
    settings = read_pyvenv_cfg(project.environment)
    home = settings.get("home")
    if home and not Path(home).is_dir():
        return State.PYTHON_GONE, f"The Python that Easy LoRA was set up with is gone from {home}."
    version = probe(project.python)
    if version is None and stamp:
        return State.PYTHON_GONE, "The Python that Easy LoRA was set up with does not start."
    if version is None or not stamp:
        return State.UNFINISHED, "The set-up of Easy LoRA has not been run to its end."
    return _compare_with_stamp(project, stamp, extra, version, home or "")


def _compare_with_stamp(
    project: Project, stamp: dict, extra: str | None, version: str, home: str
) -> tuple[State, str]:
    if stamp.get("machine") != this_machine():
        return State.OTHER_MACHINE, "This folder was set up on another kind of computer."
    made_with = str(stamp.get("python"))
    if not same_minor(made_with, version) or stamp.get("base") != home:
        return (
            State.PYTHON_CHANGED,
            f"Easy LoRA was set up with Python {made_with} in {stamp.get('base')}; now there is "
            f"Python {version} in {home}.",
        )
    if not _same_folder(str(stamp.get("folder")), project.root):
        return State.MOVED, f"The folder was moved here from {stamp.get('folder')}."
    kind = str(stamp.get("kind"))
    if stamp.get("lock") != lock_hash(project.locks, kind):
        return State.LOCK_CHANGED, "This version of Easy LoRA needs other package versions."
    if extra and stamp.get("extras", {}).get(extra) != lock_hash(project.locks, extra):
        return State.EXTRA_MISSING, f"The packages for the verb {extra} are not installed yet."
    return State.WHOLE, f"Easy LoRA is set up in {project.environment}."


def _same_folder(stamped: str, root: Path) -> bool:
    here = str(root)
    if sys.platform == "win32":
        return os.path.normcase(stamped) == os.path.normcase(here)
    return stamped == here
