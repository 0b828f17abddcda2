"""The practice bake, made once for all tests that look at it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.core.files import PROJECT_FOLDER


@dataclass(frozen=True)
class Baked:
    """The folder of a bake and what it told."""

    folder: Path
    events: list[dict]

    @property
    def lora(self) -> Path:
        """The LoRA that was trained."""
        return self.folder / "zyx.safetensors"


@pytest.fixture(scope="session")
def baked(tmp_path_factory):
    """The practice bake as a user starts it: over a minute."""
    folder = tmp_path_factory.mktemp("practice") / "bäked here"
    stdin, open_end = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "scripts.practice", str(folder), "--events"],
            capture_output=True, text=True, encoding="utf-8", cwd=PROJECT_FOLDER, stdin=stdin,
        )  # fmt: skip
    finally:
        os.close(stdin)
        os.close(open_end)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return Baked(folder, [json.loads(line) for line in done.stdout.splitlines()])
