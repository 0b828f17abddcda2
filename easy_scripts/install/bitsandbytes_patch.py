"""See to it that the 8-bit optimisers of bitsandbytes work, or say why they do not.

`patch` looks through the interpreter that runs training, in the environment that training gets,
mends what it can and proves it with a real step. What follows for training goes into the stamp:
variables for its environment, and whether 8-bit optimisers may be offered.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from easy_scripts.install.lines import SILENCE
from easy_scripts.install.pip_steps import StepFailed, Workshop, run_logged
from easy_scripts.launcher.handover import DLL_FOLDER, module_command
from scripts.core.events import Note, Report, Stage

STEP = "easy_scripts.install.eight_bit_step"
STEP_FAILED = "The 8-bit step ended early"
HANGS = "their first step hangs; restart the computer and run set-up again"
FIRST_WITH_DLLS = (0, 43)  # official Windows wheels have their DLLs since 0.43.0
LIBRARY = re.compile(r"^libbitsandbytes_cuda(\d{2})(\d+)\.(?:dll|so)$")
BACKUPS = "easy_lora_backup"


@dataclass(frozen=True)
class Facts:
    """What `eight_bit_step` found, and `failure`: why its step failed, None when it did not.

    by_hand: files and folders that somebody put into the package's folder; device: the name of
    the device that training will use; hung: whether the step was ended because nothing came of it.
    """

    folder: str | None = None
    ours: bool = True
    version: str | None = None
    libraries: Sequence[str] = ()
    by_hand: Sequence[str] = ()
    torch_cuda: str | None = None
    torch_lib: str | None = None
    device: str | None = None
    failure: str | None = None
    hung: bool = False


@dataclass(frozen=True)
class EightBit:
    """Whether 8-bit optimisers work, why not, and the variables that training needs for them.

    device: the name of the device that they were tried on, which training will use.
    """

    works: bool
    reason: str = ""
    device: str | None = None
    environment: dict[str, str] = field(default_factory=dict)


def is_too_old(version: str | None) -> bool:
    """Whether a bitsandbytes is from before the ones that work on Windows."""
    numbers = re.findall(r"\d+", version or "0")
    return tuple(int(number) for number in numbers[:2]) < FIRST_WITH_DLLS


def best_library(libraries: Sequence[str], cuda: str | None) -> str | None:
    """The library for a CUDA version: "126" for 12.6.

    The same version, else the highest lower one, else the lowest higher one; never one of another
    major version, whose CUDA libraries torch does not bring. None when there is none.
    """
    if not cuda:
        return None
    major, minor = (int(part) for part in cuda.split(".")[:2])
    names = (LIBRARY.match(name) for name in libraries)
    minors = [int(name[2]) for name in names if name and int(name[1]) == major]
    lower = [number for number in minors if number <= minor]
    if not minors:
        return None
    return f"{major}{max(lower) if lower else min(minors)}"


def take_step(workshop: Workshop, environment: dict[str, str]) -> Facts:
    """Take the step in a fresh process that is started as training is, with `environment`."""
    result = workshop.project.workspace / "eight_bit_step.json"
    result.unlink(missing_ok=True)
    command = module_command(workshop.project, STEP, [str(result)])
    try:
        run_logged(workshop, command, STEP_FAILED, variables=environment, silence=SILENCE)
        return Facts(**json.loads(result.read_text(encoding="utf-8")))
    except (StepFailed, OSError) as error:  # a library that takes the whole process with it
        return Facts(failure=str(error), hung=getattr(error, "hung", False))


class Patch:
    """One attempt to bring bitsandbytes into order: looks, mends, looks again."""

    def __init__(self, workshop: Workshop, reinstall: Callable[[], None], platform: str) -> None:
        self._workshop = workshop
        self._reinstall = reinstall
        self._platform = platform
        self.environment: dict[str, str] = {}

    def look(self) -> Facts:
        """Take the step with what has been mended so far."""
        return take_step(self._workshop, self.environment)

    def remove_leftovers(self, facts: Facts) -> str | None:
        """Move what somebody once copied into the package out of it, into a backup."""
        if not facts.by_hand or not facts.folder or not facts.ours:
            return None
        backup = self._workshop.project.environment / BACKUPS / time.strftime("%Y%m%d-%H%M%S")
        backup.mkdir(parents=True, exist_ok=True)
        for name in facts.by_hand:
            shutil.move(str(Path(facts.folder) / name), str(backup / name))
        names = ", ".join(facts.by_hand)
        return f"Left over from an old patch of bitsandbytes: {names}. Moved to {backup}."

    def replace_package(self, facts: Facts) -> str | None:
        """Install the package anew when it is missing, too old, or without fitting libraries."""
        if not facts.failure:
            return None
        fits = best_library(facts.libraries, facts.torch_cuda) or not facts.torch_cuda
        if facts.folder and facts.libraries and fits and not is_too_old(facts.version):
            return None
        self._reinstall()
        why = "bitsandbytes was missing"
        if facts.folder:
            why = f"bitsandbytes {facts.version} had no library that fits"
        return f"{why}; it was installed anew."

    def name_library(self, facts: Facts) -> str | None:
        """Name the right library where bitsandbytes does not choose it by itself."""
        library = best_library(facts.libraries, facts.torch_cuda)
        if not facts.failure or library is None:
            return None
        if self.environment.get("BNB_CUDA_VERSION") == library:
            return None
        self.environment["BNB_CUDA_VERSION"] = library
        return f"bitsandbytes is told to use its library for CUDA {library[:2]}.{library[2:]}."

    def add_dll_folder(self, facts: Facts) -> str | None:
        """Let Windows look for CUDA's libraries where torch keeps them."""
        if not facts.failure or self._platform != "win32" or not facts.torch_lib:
            return None
        self.environment[DLL_FOLDER] = facts.torch_lib
        return "Windows is told to look for CUDA's libraries in torch's own folder."


def patch(
    workshop: Workshop,
    reinstall: Callable[[], None],
    report: Report,
    platform: str = sys.platform,
) -> EightBit:
    """Bring bitsandbytes into order for the environment's Python, and prove it.

    reinstall: installs the locked version over what is there. Raises nothing: what cannot be
    mended is told in the result.
    """
    report(Stage("Checking the 8-bit optimisers"))
    attempt = Patch(workshop, reinstall, platform)
    facts = attempt.look()
    remedies = (
        attempt.remove_leftovers, attempt.replace_package, attempt.name_library,
        attempt.add_dll_folder,
    )  # fmt: skip
    for remedy in remedies:
        if facts.hung:  # the driver; no library helps against that, and each look takes long
            break
        try:
            sentence = remedy(facts)
        except (StepFailed, OSError) as error:
            workshop.write(f"{remedy.__name__}: {error}")
            continue
        if sentence:
            report(Note(sentence))
            workshop.write(sentence)
            facts = attempt.look()
    return verdict(facts, attempt.environment)


def verdict(facts: Facts, environment: dict[str, str]) -> EightBit:
    """What the facts come to."""
    if not facts.failure:
        reason = ""
    elif facts.hung:
        reason = HANGS
    elif facts.folder and not facts.ours:
        reason = (
            f"another bitsandbytes in {facts.folder} is in the way; rename that folder and run "
            "set-up again"
        )
    else:
        reason = _first_sentence(facts.failure)
    return EightBit(not facts.failure, reason, facts.device, environment)


def _first_sentence(failure: str) -> str:
    """The first line that says something, short enough to stand in a sentence."""
    lines = [line.strip(" :.") for line in failure.splitlines()]
    telling = [line for line in lines if re.search(r"\w+ \w+", line)] or ["no reason was given"]
    return telling[0][:160]
