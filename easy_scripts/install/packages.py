"""What is installed in the private environment against what the lock files want."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from easy_scripts.install.lines import SILENCE
from easy_scripts.install.lockfiles import locked_versions
from easy_scripts.install.pip_steps import Workshop, run_logged

MISSING_LIBRARY = re.compile(r"WinError 12[67]\b|DLL load failed")
RUNTIME = "https://aka.ms/vs/17/release/vc_redist.x64.exe"
INSPECTOR = Path(__file__).with_name("inspect_environment.py")


@dataclass(frozen=True)
class Findings:
    """What `inspect_environment` saw, beside what is wanted; packages by normalised name.

    torch: its version, CUDA version ("13.0" or None) and xpu version as torch itself tells them,
    if asked.
    """

    wanted: dict[str, str]
    packages: dict[str, str]
    damaged: dict[str, str] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    torch: dict[str, str | None] = field(default_factory=dict)

    @property
    def to_install(self) -> tuple[str, ...]:
        """The packages that are missing or have another version than the lock's."""
        return tuple(
            name
            for name, version in sorted(self.wanted.items())
            if not _same_version(name, self.packages.get(name), version)
        )

    @property
    def to_replace(self) -> tuple[str, ...]:
        """The packages whose files are not as they were installed."""
        return tuple(name for name in sorted(self.damaged) if name in self.wanted)

    @property
    def shortcoming(self) -> str | None:
        """One sentence about what is not in order; None when nothing is left to do."""
        if self.to_install:
            name = self.to_install[0]
            found = self.packages.get(name, "none")
            return f"{name} {self.wanted[name]} is needed, but {found} is installed."
        if self.to_replace:
            name = self.to_replace[0]
            return f"The files of {name} are not whole: {self.damaged[name]}."
        for module, error in self.imports.items():
            why = error.rstrip(" .").replace(". ", "; ")  # in one sentence
            told = f"{module} is installed, but cannot be loaded ({why})."
            if MISSING_LIBRARY.search(error):
                told += f" Install Microsoft's Visual C++ runtime ({RUNTIME})."
            return told
        return None


def _same_version(name: str, found: str | None, wanted: str) -> bool:
    """torch may lack the label of its build (+cpu); which build came is checked by itself."""
    if found is None or name != "torch":
        return found == wanted
    return found.split("+")[0] == wanted.split("+")[0]


def wanted_versions(locks: Path, names: Sequence[str], python_version: str) -> dict[str, str]:
    """The versions that the lock files `names` want, together."""
    wanted: dict[str, str] = {}
    for name in names:
        wanted.update(locked_versions(locks, name, python_version, sys.platform))
    return wanted


def inspect(workshop: Workshop, wanted: dict[str, str], imports: Sequence[str] = ()) -> Findings:
    """Look at the environment from inside, in a fresh process, importing `imports` there.

    Raises StepFailed when not even that can be done.
    """
    result = workshop.project.workspace / "inspection.json"
    result.unlink(missing_ok=True)
    command = [str(workshop.project.python), str(INSPECTOR), str(result), *imports]
    run_logged(workshop, command, "The environment could not be checked", silence=SILENCE)
    seen = json.loads(result.read_text(encoding="utf-8"))
    findings = Findings(wanted, **seen)
    for trouble in (findings.damaged, findings.imports):
        for name, text in trouble.items():
            workshop.write(f"{name}: {text}")
    return findings
