"""Starting set-up out of the installer, which PyInstaller has packed into one file.

Such a file unpacks its own Python and Tk into a folder of the moment and points at them in its
environment. Whatever it starts must not see that: the folder goes when the installer ends.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from easy_scripts.launcher.no_console import NO_CONSOLE

NEW_CONSOLE = 0x00000010  # CREATE_NEW_CONSOLE
OF_THE_PACKED = {"TCL_LIBRARY", "TK_LIBRARY", "_MEIPASS2"}
LIBRARIES = "LD_LIBRARY_PATH"


def outside_environment(base: Mapping[str, str]) -> dict[str, str]:
    """`base` as it was before the installer was unpacked."""
    kept = {
        key: value
        for key, value in base.items()
        if key.upper() not in OF_THE_PACKED and not key.upper().startswith("_PYI_")
    }
    if sys.platform != "win32":  # PyInstaller's start changes it, and keeps what it was
        kept.pop(LIBRARIES, None)
        before = kept.pop(f"{LIBRARIES}_ORIG", None)
        if before is not None:
            kept[LIBRARIES] = before
    return kept


def forget_our_libraries() -> None:
    """Let no child search our folder for DLLs: Windows hands that setting down as well."""
    if sys.platform == "win32":
        ctypes.windll.kernel32.SetDllDirectoryW(None)


def system_program(name: str) -> str:
    """The full path of a program of Windows' own."""
    return os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", name)


def command_line(bat: Path, *arguments: str) -> str:
    """What starts a .bat file at any path: cmd takes off the outer pair of quotes, no other."""
    words = " ".join([f'"{bat}"', *arguments])
    return f'{system_program("cmd.exe")} /d /c "{words}"'


def start_setup(folder: Path, output: IO[str] | None = None, kind: str | None = None) -> int:
    """Start set-up in a console of its own, without waiting; 0.

    output: takes what it prints in place of that; then it asks nothing, and its exit code is
    waited for; kind: see `setup --kind`. Raises OSError.
    """
    arguments = ["--no-window"] if output else []
    arguments += ["--kind", kind] if kind else []
    if sys.platform == "win32":
        command: str | list[str] = command_line(folder / "setup.bat", *arguments)
    else:
        command = ["python3", "-m", "easy_scripts", "setup", *arguments]
    environment = outside_environment(os.environ)
    forget_our_libraries()
    if output is None:
        console = NEW_CONSOLE if sys.platform == "win32" else 0
        subprocess.Popen(command, cwd=folder, env=environment, creationflags=console)
        return 0
    return subprocess.run(
        command, cwd=folder, env=environment, creationflags=NO_CONSOLE, check=False,
        stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
    ).returncode  # fmt: skip
