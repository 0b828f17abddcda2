"""python -m easy_scripts doctor: look at everything, say what is wrong, and mend it if asked.

Writes one text file into `logs` that can be posted anywhere: without personal paths and names.
"""

from __future__ import annotations

import argparse
import getpass
import os
import platform
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from easy_scripts.install import graphics, known_failures, surroundings
from easy_scripts.install.anonymous import without_names
from easy_scripts.install.command import ensure_environment
from easy_scripts.install.kinds import KINDS, NOT_USED, Graphics, build_in_words, choose_kind
from easy_scripts.install.make_environment import AUTO, Wishes, check_environment, look_at_eight_bit
from easy_scripts.install.place_checks import Finding, check_place
from easy_scripts.launcher.judge import Judgement, judge, read_json, read_pyvenv_cfg
from easy_scripts.launcher.project import Project, dated_version
from scripts.core.errors import SuiteError
from scripts.core.files import write_text

IN_ORDER, PROBLEMS = 0, 1
RUN_SETUP = "Run set-up: python -m easy_scripts setup"
USE_CARD = (
    "To use it, open set-up and press “Use the graphics card”, or run: "
    "python -m easy_scripts setup --kind auto"
)


@dataclass
class Examination:
    """What the doctor saw: facts (title, value) and findings."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def problems(self) -> list[Finding]:
        """The findings that must be mended."""
        return [finding for finding in self.findings if finding.problem]

    @property
    def hints(self) -> list[Finding]:
        """The findings that are worth knowing."""
        return [finding for finding in self.findings if not finding.problem]

    @property
    def mendable(self) -> bool:
        """Whether set-up mends some of it."""
        return any(finding.by_setup for finding in self.findings)

    def text(self) -> str:
        """All of it, for people."""
        lines = [f"{title}: {value}" for title, value in self.facts]
        for heading, some in (("To be mended", self.problems), ("Worth knowing", self.hints)):
            if some:
                lines += ["", f"{heading}:"]
                lines += [f"- {each.cause}\n  {each.remedy}" for each in some]
        if not self.problems:
            lines += ["", "Everything that is needed is in order."]
        return "\n".join(lines) + "\n"


def examine(
    project: Project, found: Graphics | None = None, with_windows: bool = True
) -> Examination:
    """Check everything and change nothing.

    found: the graphics cards, if they are known; with_windows: whether to try if windows open.
    """
    seen = Examination()
    found = graphics.detect() if found is None else found
    judgement = judge(project)
    mended = project.stamp.stat().st_mtime if judgement.whole else 0
    seen.facts += _facts(project, judgement, found)
    seen.findings += check_place(project.root)
    if not judgement.whole:
        seen.findings.append(_by_setup("environment", judgement.sentence))
    else:
        seen.findings += _inside(project, judgement)
    seen.findings += _torch_build(judgement, found)
    if with_windows:
        seen.findings += surroundings.windows_possible(os.environ, sys.platform)
    seen.findings += surroundings.variables(os.environ)
    seen.findings += surroundings.memory(surroundings.total_memory())
    seen.findings += surroundings.spilling(found, sys.platform)
    seen.findings += known_failures.in_logs(project.logs, mended)
    return seen


def _by_setup(topic: str, cause: str) -> Finding:
    return Finding(topic, cause, RUN_SETUP, by_setup=True)


def _facts(project: Project, judgement: Judgement, found: Graphics) -> list[tuple[str, str]]:
    stamp = judgement.stamp
    cards = ", ".join(_card(gpu.name, gpu.memory_mib) for gpu in found.gpus)
    driver = found.driver_cuda
    torch = stamp.get("torch") or {}
    eight_bit = stamp.get("eight_bit") or {}
    return [
        ("Easy LoRA", dated_version()),
        ("System", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("Python", f"{platform.python_version()} (environment: {stamp.get('python', 'none')})"),
        ("Graphics", cards or "none found"),
        ("Driver", f"knows CUDA {driver[0]}.{driver[1]}" if driver else "NVIDIA's was not found"),
        ("Set up for", f"{stamp.get('kind', 'nothing yet')}, PyTorch {torch.get('version')}"),
        ("Trains on", str(stamp.get("device") or "not tried yet")),
        ("8-bit optimisers", "yes" if eight_bit.get("works") else "no"),
        ("Folder", str(project.root)),
    ]


def _card(name: str, memory_mib: int | None) -> str:
    return f"{name} ({memory_mib / 1024:.0f} GB)" if memory_mib else name


def _inside(project: Project, judgement: Judgement) -> list[Finding]:
    """What is wrong with the packages of a whole environment."""
    try:
        shortcoming = check_environment(project, Wishes(), lambda event: None)
        if shortcoming:
            return [_by_setup("packages", shortcoming)]
        if not judgement.stamp.get("eight_bit"):  # there are none for this system
            return []
        eight_bit = look_at_eight_bit(project, judgement.stamp)
    except SuiteError as error:
        return [Finding("environment", str(error), "Then start the doctor again.")]
    if eight_bit.works:
        return []
    cause = f"8-bit optimisers do not work ({eight_bit.reason}); training uses AdamW instead."
    if not judgement.stamp["eight_bit"].get("works"):
        remedy = "Set-up could not mend that; everything else works."
        return [Finding("bitsandbytes", cause, remedy, problem=False)]
    return [_by_setup("bitsandbytes", cause)]


def _torch_build(judgement: Judgement, found: Graphics) -> list[Finding]:
    """Whether the installed PyTorch is the one for this machine's card."""
    stamp = judgement.stamp
    choice = choose_kind(sys.platform, found.gpus, found.driver_cuda, sys.version_info[:2])
    if choice.kind is None:
        return [Finding("driver", choice.reason, "Until then, training uses the processor.")]
    wrong = _wrong_build(stamp)
    if wrong or not stamp:
        return wrong
    if stamp.get("asked") == "cpu" and choice.kind != "cpu":
        return [Finding("torch", f"{choice.reason} {NOT_USED}", USE_CARD, problem=False)]
    if stamp.get("asked") != AUTO:
        return []
    if stamp.get("kind") != choice.kind:
        cause = f"PyTorch is set up for {stamp.get('kind')}. {choice.reason}"
        return [_by_setup("torch", cause)]
    if choice.kind != "cpu" and stamp.get("device") == "the processor":
        return [
            Finding(
                "torch",
                f"{choice.reason} But PyTorch trains on the processor.",
                "Install the newest graphics driver, restart the PC, and run set-up again.",
                by_setup=True,
            )
        ]
    return []


def _wrong_build(stamp: dict) -> list[Finding]:
    """Whether another build of PyTorch arrived than the one that was chosen for a card."""
    kind, torch = KINDS.get(str(stamp.get("kind"))), stamp.get("torch")
    if kind is None or not torch or kind.name == "cpu" or kind.is_build(torch):
        return []
    cause = (
        f"PyTorch arrived in its build for {build_in_words(torch)}; the one for {kind.title} was "
        "wanted."
    )
    return [_by_setup("torch", cause)]


def write_report(project: Project, seen: Examination) -> Path:
    """Write what was seen into `logs`, without personal paths and names; the file."""
    names = [socket.gethostname()]
    with suppress(OSError, KeyError, ImportError):  # a container's user may have no name
        names.append(getpass.getuser())
    stamp = read_json(project.stamp)
    python = read_pyvenv_cfg(project.environment).get("home")
    places = {
        stamp.get("folder"): "<former folder>",
        stamp.get("base"): "<Python>",
        python: "<Python>",
        str(Path.home()): "<home>",
        str(project.root): "<Easy LoRA>",
    }
    text = without_names(seen.text(), {k: v for k, v in places.items() if k}, names)
    path = project.logs / f"doctor-{time.strftime('%Y%m%d-%H%M%S')}.txt"
    write_text(path, text)
    return path


def mend(project: Project, seen: Examination) -> int:
    """Run set-up when that mends something; its exit code."""
    if not seen.mendable:
        return IN_ORDER
    print("\nMending: set-up is run.", flush=True)
    return ensure_environment(project, Wishes())


def main(arguments: Sequence[str]) -> int:
    """Run `doctor` with its arguments; the exit code: 0 in order, 1 something is to be mended."""
    parser = argparse.ArgumentParser(
        prog="easy_scripts doctor",
        description="Look at everything that Easy LoRA needs, say what is wrong and what to do, "
        "and write it into a text file without personal names, which can be posted.",
    )
    parser.add_argument("--mend", action="store_true", help="mend what set-up can mend")
    options = parser.parse_args(arguments)
    project = Project()
    print("Looking at everything; this takes up to half a minute.", flush=True)
    seen = examine(project)
    print(f"\n{seen.text()}", flush=True)
    if options.mend and seen.mendable:
        code = mend(project, seen)
        if code:
            return code
        seen = examine(project)
        print(f"\nAfter mending:\n\n{seen.text()}", flush=True)
    print(f"To ask for help, send this file: {write_report(project, seen)}")
    return PROBLEMS if seen.problems else IN_ORDER
