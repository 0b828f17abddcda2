"""What Windows shows of an installed Easy LoRA: shortcuts, and an entry in Settings, Apps.

uninstall.bat removes all of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from easy_scripts.install.installer_start import command_line, outside_environment, system_program
from easy_scripts.launcher.no_console import NO_CONSOLE
from easy_scripts.launcher.project import project_version
from scripts.core.files import PROJECT_FOLDER

if sys.platform == "win32":
    import winreg

SHELL_FOLDERS = r"Software\Microsoft\Windows\CurrentVersion\Explorer\User Shell Folders"
APPS_ENTRY = r"Software\Microsoft\Windows\CurrentVersion\Uninstall\EasyLoRA"
UNINSTALL = "uninstall.bat"
SHORTCUTS = {
    "Easy LoRA - Train": "run_training.bat",
    "Easy LoRA - Make smaller": "lora_resize.bat",
    "Easy LoRA - Merge": "lora_merge.bat",
    "Easy LoRA - Extract": "lora_extract.bat",
    "Easy LoRA - Set-up": "setup.bat",
}
IN_MENU = {**SHORTCUTS, "Uninstall Easy LoRA": UNINSTALL}
POWERSHELL = r"WindowsPowerShell\v1.0\powershell.exe"
MAKE_SHORTCUT = (
    "$link = (New-Object -ComObject WScript.Shell).CreateShortcut($env:EASY_LORA_LINK); "
    "$link.TargetPath = $env:EASY_LORA_TARGET; $link.WorkingDirectory = $env:EASY_LORA_FOLDER; "
    "$link.Save()"
)


def make_entries(folder: Path, menu: bool, desktop: bool) -> None:
    """Shortcuts to the .bat files where they are wanted, and how to uninstall (Windows only)."""
    if sys.platform != "win32":
        return
    for name, shortcuts, wanted in (("Programs", IN_MENU, menu), ("Desktop", SHORTCUTS, desktop)):
        place = shell_folder(name) if wanted else None
        if place and place.is_dir():
            for title, target in shortcuts.items():
                _make_shortcut(place / f"{title}.lnk", folder, target)
    with winreg.CreateKey(winreg.HKEY_CURRENT_USER, APPS_ENTRY) as key:
        for name, text in apps_entry(folder).items():
            winreg.SetValueEx(key, name, 0, winreg.REG_SZ, text)
        for name in ("NoModify", "NoRepair"):
            winreg.SetValueEx(key, name, 0, winreg.REG_DWORD, 1)


def apps_entry(folder: Path) -> dict[str, str]:
    """What Settings, Apps is told."""
    remove = command_line(folder / UNINSTALL)
    return {
        "DisplayName": "Easy LoRA",
        "DisplayVersion": project_version(Path(getattr(sys, "_MEIPASS", PROJECT_FOLDER))),
        "Publisher": "Easy LoRA",
        "InstallLocation": str(folder),
        "UninstallString": remove,
        "QuietUninstallString": command_line(folder / UNINSTALL, "yes"),
    }


def _make_shortcut(link: Path, folder: Path, target: str) -> None:
    variables = {
        "EASY_LORA_LINK": str(link), "EASY_LORA_TARGET": str(folder / target),
        "EASY_LORA_FOLDER": str(folder),
    }  # fmt: skip
    subprocess.run(
        [system_program(POWERSHELL), "-NoProfile", "-NonInteractive", "-Command", MAKE_SHORTCUT],
        env={**outside_environment(os.environ), **variables}, stdin=subprocess.DEVNULL,
        creationflags=NO_CONSOLE, capture_output=True, check=False,
    )  # fmt: skip


def shell_folder(name: str) -> Path | None:
    """Where Windows has a folder of the user's ("Desktop"): OneDrive moves some. None elsewhere."""
    if sys.platform != "win32":
        return None
    with suppress(OSError), winreg.OpenKey(winreg.HKEY_CURRENT_USER, SHELL_FOLDERS) as key:
        return Path(os.path.expandvars(winreg.QueryValueEx(key, name)[0]))
    return None
