"""The installer, EasyLoRA-Setup.exe: choose a folder, unpack, make shortcuts, run set-up.

    EasyLoRA-Setup.exe                          asks for the folder in a window
    EasyLoRA-Setup.exe --silent --folder X      asks nothing; exit code 0 when all went well
installer.spec builds it. It changes nothing but that folder, the shortcuts and what set-up fetches.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from easy_scripts.install.place_checks import check_place
from scripts.core.errors import SuiteError
from scripts.core.files import write_text

if sys.platform == "win32":
    import winreg

SHELL_FOLDERS = r"Software\Microsoft\Windows\CurrentVersion\Explorer\User Shell Folders"
PAYLOAD = "EasyLoRA.zip"  # beside this program, as PyInstaller unpacks it
LIST = "easy_lora_files.txt"  # what was unpacked: a later version removes what it no longer has
NEEDED_GB = 9.0  # the largest kind, and some room
DONE, MENDABLE = 0, 1
NEW_CONSOLE = 0x00000010  # CREATE_NEW_CONSOLE: set-up shows its steps there
NO_WINDOW = 0x08000000  # CREATE_NO_WINDOW
SHORTCUTS = {
    "Easy LoRA - Train": "run_training.bat",
    "Easy LoRA - Make smaller": "lora_resize.bat",
    "Easy LoRA - Merge": "lora_merge.bat",
    "Easy LoRA - Extract": "lora_extract.bat",
    "Easy LoRA - Set-up": "setup.bat",
}
MAKE_SHORTCUT = (
    "$link = (New-Object -ComObject WScript.Shell).CreateShortcut($env:EASY_LORA_LINK); "
    "$link.TargetPath = $env:EASY_LORA_TARGET; $link.WorkingDirectory = $env:EASY_LORA_FOLDER; "
    "$link.Save()"
)


def default_folder() -> Path:
    """A short path of the user's own, outside of OneDrive."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "C:\\")) / "Programs" / "EasyLoRA"
    return Path.home() / "EasyLoRA"


def payload() -> Path:
    """The zip that this program brings along. Raises SuiteError without one."""
    path = Path(getattr(sys, "_MEIPASS", Path(__file__).parent)) / PAYLOAD
    if not path.is_file():
        raise SuiteError("The installer is not whole. Download it again.")
    return path


def unpack(packed: Path, folder: Path, needed_gb: float = NEEDED_GB) -> list[str]:
    """Unpack Easy LoRA into `folder`, over an older version if there is one; the names.

    Raises SuiteError when the folder is no good, or holds something else.
    """
    before = _files_of_before(folder)
    for finding in check_place(folder, needed_gb):
        if finding.problem:
            raise SuiteError(finding.sentence)
    with zipfile.ZipFile(packed) as archive:
        names = archive.namelist()
        archive.extractall(folder)
    for name in set(before) - set(names):
        (folder / name).unlink(missing_ok=True)
    write_text(folder / LIST, "\n".join(names) + "\n")
    return names


def _files_of_before(folder: Path) -> list[str]:
    """The files that an earlier installer unpacked here. Raises SuiteError for a folder in use."""
    if folder.exists() and not folder.is_dir():
        raise SuiteError(f"{folder} is a file. Choose a folder.")
    if not folder.exists() or not any(folder.iterdir()):
        folder.mkdir(parents=True, exist_ok=True)
        return []
    if (folder / LIST).is_file():
        names = (folder / LIST).read_text(encoding="utf-8").splitlines()
        return [name for name in names if name and ".." not in Path(name).parts]
    if (folder / "easy_scripts" / "launcher").is_dir():  # unpacked from the zip by hand
        return []
    raise SuiteError(f"{folder} holds other files. Choose an empty or a new folder.")


def make_shortcuts(folder: Path, places: Sequence[Path]) -> int:
    """Shortcuts to the .bat files in each of `places`; how many were made (Windows only)."""
    made = 0
    for place in places if sys.platform == "win32" else ():
        for name, target in SHORTCUTS.items():
            link = place / f"{name}.lnk"
            variables = {
                "EASY_LORA_LINK": str(link), "EASY_LORA_TARGET": str(folder / target),
                "EASY_LORA_FOLDER": str(folder),
            }  # fmt: skip
            subprocess.run(
                ["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", MAKE_SHORTCUT],
                env={**os.environ, **variables}, stdin=subprocess.DEVNULL, check=False,
                creationflags=NO_WINDOW, capture_output=True,
            )  # fmt: skip
            made += link.is_file()
    return made


def shortcut_places(menu: bool, desktop: bool) -> list[Path]:
    """The user's own start menu and desktop, as far as they are wanted."""
    wanted = (("Programs", menu), ("Desktop", desktop))
    places = [shell_folder(name) for name, is_wanted in wanted if is_wanted]
    return [place for place in places if place and place.is_dir()]


def shell_folder(name: str) -> Path | None:
    """Where Windows has a folder of the user's ("Desktop"): OneDrive moves some. None elsewhere."""
    if sys.platform != "win32":
        return None
    with suppress(OSError), winreg.OpenKey(winreg.HKEY_CURRENT_USER, SHELL_FOLDERS) as key:
        return Path(os.path.expandvars(winreg.QueryValueEx(key, name)[0]))
    return None


def run_setup(folder: Path, silently: bool) -> int:
    """Start setup.bat, in a console of its own; silently, its exit code is waited for."""
    if sys.platform == "win32":
        command = ["cmd.exe", "/c", "setup.bat"]
        flags = NO_WINDOW if silently else NEW_CONSOLE
    else:
        command, flags = ["python3", "-m", "easy_scripts", "setup"], 0
    if not silently:
        subprocess.Popen(command, cwd=folder, creationflags=flags)
        return DONE
    return subprocess.run(
        [*command, "--no-window"], cwd=folder, creationflags=flags, stdin=subprocess.DEVNULL,
        check=False,
    ).returncode  # fmt: skip


def install_silently(folder: Path, with_setup: bool) -> int:
    """Unpack and set up without a question; the exit code."""
    unpack(payload(), folder)
    return run_setup(folder, silently=True) if with_setup else DONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the installer; the exit code."""
    parser = argparse.ArgumentParser(prog="EasyLoRA-Setup", description=__doc__.splitlines()[0])
    parser.add_argument("--silent", action="store_true", help="ask nothing and show no window")
    parser.add_argument("--folder", type=Path, default=default_folder())
    parser.add_argument("--no-setup", action="store_true", help="only unpack")
    options = parser.parse_args(arguments)
    if not options.silent:
        from easy_scripts.install.installer_window import ask_and_install

        return ask_and_install(options.folder.absolute())
    try:
        return install_silently(options.folder.absolute(), not options.no_setup)
    except (SuiteError, OSError) as error:
        if sys.stderr:  # a program without a console has none
            sys.stderr.write(f"{error}\n")
        return MENDABLE


if __name__ == "__main__":
    sys.exit(main())
