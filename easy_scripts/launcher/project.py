"""Where things lie in the project folder, and its version."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import SuiteError
from scripts.core.files import PROJECT_FOLDER, write_text

STAMP_NAME = "easy_lora_whole.json"
PLAN_NAME = "easy_lora_plan.json"
PROOF_NAME = "easy_lora_proof.json"


@dataclass(frozen=True)
class Project:
    """The places that set-up and launcher use; `root` is the project folder."""

    root: Path = PROJECT_FOLDER

    @property
    def environment(self) -> Path:
        """The folder of the private environment."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """The interpreter of the private environment, there or not."""
        if sys.platform == "win32":
            return self.environment / "Scripts" / "python.exe"
        return self.environment / "bin" / "python"

    @property
    def stamp(self) -> Path:
        """Written last by set-up: the environment is whole, and this is what it is made of."""
        return self.environment / STAMP_NAME

    @property
    def plan(self) -> Path:
        """Written first by set-up: this environment is ours, and this is what was asked for."""
        return self.environment / PLAN_NAME

    @property
    def proof(self) -> Path:
        """Written by set-up after a practice bake that went well: with what, and how long."""
        return self.environment / PROOF_NAME

    @property
    def locks(self) -> Path:
        """The folder of the lock files."""
        return self.root / "easy_scripts" / "install" / "locks"

    @property
    def logs(self) -> Path:
        """The folder of the logs."""
        return self.root / "logs"

    @property
    def workspace(self) -> Path:
        """Where set-up puts what it needs for a moment; may be deleted at any time."""
        return self.root / "cache" / "setup"

    @property
    def downloads(self) -> Path:
        """What set-up has fetched and not yet installed, whole or not; gone when all is set up."""
        return self.root / "cache" / "downloads"


def write_json(path: Path, content: dict) -> None:
    """Write one of our small files, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def project_version(root: Path = PROJECT_FOLDER) -> str:
    """The version of Easy LoRA, such as "1.2.0", from its one place in pyproject.toml.

    Raises SuiteError.
    """
    return _entry(root, "project", "version")


def project_date(root: Path = PROJECT_FOLDER) -> str:
    """The day of that version, such as "2026-11-27". Raises SuiteError."""
    return _entry(root, "tool.easy_lora", "released")


def dated_version(root: Path = PROJECT_FOLDER) -> str:
    """Both, for people: "1.2.0 (2026-11-27)". Raises SuiteError."""
    return f"{project_version(root)} ({project_date(root)})"


def _entry(root: Path, table: str, key: str) -> str:
    """A text from pyproject.toml; as Python 3.10 cannot read TOML itself, only the line is read."""
    path = root / "pyproject.toml"
    found = None
    if path.is_file():
        pattern = rf'^\[{re.escape(table)}\][^\[]*?^{key}\s*=\s*"([^"]+)"'
        found = re.search(pattern, path.read_text(encoding="utf-8"), re.M | re.S)
    if not found:
        raise SuiteError(
            f"{path} is missing or damaged. Download Easy LoRA again and unpack all of it."
        )
    return found.group(1)
