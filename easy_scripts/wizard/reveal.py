"""Show a file in the system's file manager, or open it with its usual program."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from easy_scripts.launcher.no_console import NO_CONSOLE


def show_in_folder(path: Path) -> None:
    """Open the folder of `path`, with `path` marked where the system can do that."""
    if sys.platform == "win32":
        command = f'explorer /select,"{path}"'  # explorer reads quotes its own way
    elif sys.platform == "darwin":
        command = ["open", "-R", str(path)]
    else:
        command = ["xdg-open", str(path.parent if path.is_file() else path)]
    _start(command)


def open_file(path: Path) -> None:
    """Open `path` as a double-click would."""
    if sys.platform == "win32":
        with suppress(OSError):
            os.startfile(path)
    else:
        _start(["open" if sys.platform == "darwin" else "xdg-open", str(path)])


def _start(command: list[str] | str) -> None:
    with suppress(OSError):
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, creationflags=NO_CONSOLE)  # fmt: skip
