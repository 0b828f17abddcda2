"""A whole made-up project: the real verbs, on wheels of a few bytes and a bake of half a second.

Everything is in processes of their own, as when a person starts it, so that tests can kill it, fill
the disk under it and break its downloads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from made_up_wheels import make_torch, make_wheel, repack_pip

from easy_scripts.launcher.project import Project

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300  # no run takes that long
MODULES = (
    "numpy/__init__", "PIL/__init__", "PIL/Image", "safetensors/__init__", "safetensors/torch",
    "tokenizers", "huggingface_hub", "accelerate", "transformers", "diffusers", "pytorch_optimizer",
)  # fmt: skip
BAKE = """
import time
from pathlib import Path
time.sleep(0.5)
Path("output").mkdir(exist_ok=True)
Path("output", "baked.txt").write_text("baked")
"""
# Set-up takes the machine's word for it that there is room enough.
BLIND_TO_THE_DISK = """
import sys
from dataclasses import replace
from easy_scripts.install import make_environment
make_environment.SPARE_GB = 0
make_environment.KINDS = {"cpu": replace(make_environment.KINDS["cpu"], disk_gb=0)}
from easy_scripts.verbs import run
sys.exit(run(sys.argv[1:]))
"""


def make_wheels(folder: Path, noise: str = "") -> Path:
    """Wheels that hold every module that set-up looks for; `noise` makes one of them large."""
    folder.mkdir()
    make_torch(folder, "2.13.0", None)
    files = {f"{name}.py": "" for name in MODULES}
    make_wheel(folder, "tiny", "1.0", {**files, "tiny_noise.txt": noise})
    (folder / "pip_version").write_text(repack_pip(folder))
    return folder


@dataclass(frozen=True)
class MadeUp:
    """A project in a folder, and the environment variables that its commands get."""

    project: Project
    variables: dict[str, str]

    def start(self, *arguments: str, blind: bool = False) -> subprocess.Popen:
        """Start a verb in a process group of its own; blind: without the look at the disk."""
        door = ["-c", BLIND_TO_THE_DISK] if blind else ["-m", "easy_scripts"]
        return subprocess.Popen(
            [sys.executable, *door, *arguments],
            cwd=self.project.root,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, blind: bool = False) -> tuple[int, str, str]:
        """Run a verb to its end: exit code, what it printed, and what it complained of."""
        process = self.start(*arguments, blind=blind)
        out, err = process.communicate(timeout=SECONDS)
        return process.returncode, out, err

    @property
    def baked(self) -> bool:
        """Whether the bake has come to its end."""
        return (self.project.root / "output" / "baked.txt").exists()


def make_project(root: Path, wheels: Path) -> MadeUp:
    """An empty project in the folder `root`, whose packages all come from `wheels`."""
    project = Project(root)
    leave_out = shutil.ignore_patterns("__pycache__")
    for name in ("easy_scripts", "scripts/core"):
        shutil.copytree(ROOT / name, root / name, ignore=leave_out)
    for name in ("scripts/__init__.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    (root / "scripts" / "practice").mkdir()
    (root / "scripts" / "practice" / "__init__.py").touch()
    (root / "scripts" / "practice" / "__main__.py").write_text(BAKE)
    for name, text in {
        "pip": f"pip=={(wheels / 'pip_version').read_text()}\n", "common": "tiny==1.0\n",
        "cuda13-linux": "", "cpu": "-r common.txt\ntorch==2.13.0+cpu\n",
    }.items():  # fmt: skip
        (project.locks / f"{name}.txt").write_text(text)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    return MadeUp(
        project,
        {
            **kept,
            "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels), "PYTHONDONTWRITEBYTECODE": "1",
            "https_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1",  # nothing gets out
        },
    )  # fmt: skip
