"""Start work in the private environment and wait for it.

The child is `<environment python> run_module.py PROJECT MODULE ARGUMENTS`: it keeps the user's
current folder, so that relative paths mean what they say, and finds the project all the same
(PYTHONPATH could not do that: it is cleared, because what people have in it breaks things).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from easy_scripts.launcher.project import Project

BOOTSTRAP = Path(__file__).with_name("run_module.py")
CLEARED = {
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONEXECUTABLE",
    "__PYVENV_LAUNCHER__",
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "BNB_CUDA_VERSION",  # of some other program's; ours is in the stamp
}
ALWAYS_SET = {"PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1"}
NO_NETWORK = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
# The seam for what set-up finds out about a machine (such as BNB_CUDA_VERSION): a stamp may
# carry {"environment": {...}}, and the work is started with it.
STAMP_VARIABLES = "environment"
DLL_FOLDER = "EASY_LORA_DLL_FOLDER"  # one more folder for Windows' libraries, see run_module.py


def child_environment(base: Mapping[str, str], extra: Mapping[str, str] | None = None) -> dict:
    """The environment variables for a child: `base` without what leads Python astray.

    Every other setting of pip's stays: proxies and mirrors live there.
    """
    kept = {
        key: value
        for key, value in base.items()
        if key.upper() not in CLEARED and not key.upper().startswith("CONDA_")
    }
    return {**kept, **ALWAYS_SET, **(extra or {})}


def work_environment(base: Mapping[str, str], stamp: dict) -> dict:
    """`child_environment` for training and the other work: nothing goes to the network."""
    return child_environment(base, {**NO_NETWORK, **stamp.get(STAMP_VARIABLES, {})})


def module_command(project: Project, module: str, arguments: Sequence[str]) -> list[str]:
    """The command that runs a module of the project in the private environment."""
    return [str(project.python), str(BOOTSTRAP), str(project.root), module, *arguments]


def run_module(
    project: Project,
    module: str,
    arguments: Sequence[str],
    stamp: dict,
    folder: Path | None = None,
) -> int:
    """Run `module` in the private environment and give its exit code.

    folder: the child's current folder; None keeps the user's.
    """
    command = module_command(project, module, arguments)
    return run_child(command, work_environment(os.environ, stamp), folder)


def run_child(command: Sequence[str], environment: dict, folder: Path | None = None) -> int:
    """Start `command`, let it have Ctrl+C, wait for its own end, and give its exit code.

    A child that was ended by signal n gives 128 + n, as shells do.
    """
    process = subprocess.Popen(command, env=environment, cwd=folder)
    terminal_tells_child = sys.platform == "win32" or _in_the_foreground()
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        while True:
            try:
                code = process.wait()
                break
            except KeyboardInterrupt:
                if not terminal_tells_child:
                    process.send_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 128 - code if code < 0 else code


def _in_the_foreground() -> bool:
    """Whether a Ctrl+C in the terminal reaches the child without our help."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
