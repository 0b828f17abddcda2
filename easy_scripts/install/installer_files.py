"""Unpacking Easy LoRA into a folder, over an older version if there is one.

A list of what was unpacked lies in the folder: so a later version removes what it no longer has,
and an unpacking that broke off can be begun anew.
"""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

from easy_scripts.install.place_checks import (
    GIGABYTE,
    check_place,
    cloud_folder,
    long_paths_on,
    path_length,
)
from easy_scripts.install.running import running_from
from scripts.core.errors import SuiteError
from scripts.core.files import write_text

PAYLOAD = "EasyLoRA.zip"  # beside the installer, as PyInstaller unpacks it
LIST = "easy_lora_files.txt"
SPARE_GB = 0.1  # beside the files; set-up sees by itself whether there is room for the packages


def default_folder() -> Path:
    """A short path of the user's own, outside of OneDrive, even for a long user name."""
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        usual = Path(os.environ["LOCALAPPDATA"]) / "Programs" / "EasyLoRA"
        if not path_length(str(usual), sys.platform, long_paths_on()):
            return usual
    return Path.home() / "EasyLoRA"


def payload() -> Path:
    """The zip that the installer brings along. Raises SuiteError without one."""
    path = Path(getattr(sys, "_MEIPASS", Path(__file__).parent)) / PAYLOAD
    if not path.is_file():
        raise SuiteError("The installer is not whole. Download it again.")
    return path


def notices(folder: Path) -> list[str]:
    """What is to be known of a folder before anything is done with it, sentence by sentence."""
    found = (
        path_length(str(folder), sys.platform, long_paths_on()),
        cloud_folder(str(folder), os.environ),
    )
    return [finding.sentence for finding in found if finding]


def unpack(packed: Path, folder: Path) -> list[str]:
    """Unpack the zip `packed` into `folder`; the names in it.

    Raises SuiteError when the folder is no good, is at work, or holds something else.
    """
    before = _files_of_before(folder)
    with zipfile.ZipFile(packed) as archive:
        needed = sum(info.file_size for info in archive.infolist()) / GIGABYTE
        for finding in check_place(folder, SPARE_GB + needed):
            if finding.problem:
                raise SuiteError(finding.sentence)
        names = archive.namelist()
        _write_list(folder, sorted({*before, *names}))  # first: should it break off, it is ours
        archive.extractall(folder)
    root = folder.resolve()
    for name in set(before) - set(names):
        path = (root / name).resolve()
        if path.is_relative_to(root):  # whatever the list may say
            path.unlink(missing_ok=True)
    _write_list(folder, names)
    return names


def _write_list(folder: Path, names: list[str]) -> None:
    write_text(folder / LIST, "\n".join(names) + "\n")


def _files_of_before(folder: Path) -> list[str]:
    """The files that an earlier installer unpacked here. Raises SuiteError for a folder in use."""
    if folder.exists() and not folder.is_dir():
        raise SuiteError(f"{folder} is a file. Choose a folder.")
    if folder == _place_of_python():
        raise SuiteError(
            f"Easy LoRA keeps its own Python in {folder}. Choose an empty or a new folder."
        )
    if not folder.exists() or not any(folder.iterdir()):
        folder.mkdir(parents=True, exist_ok=True)
        return []
    running = running_from(folder / ".venv")
    if running:
        raise SuiteError(
            f"Easy LoRA is at work in this folder (process {running[0]}). "
            "Close every training and every window of Easy LoRA."
        )
    if (folder / LIST).is_file():
        return [name for name in (folder / LIST).read_text(encoding="utf-8").splitlines() if name]
    if (folder / "easy_scripts" / "launcher").is_dir():  # unpacked from the zip by hand
        return []
    raise SuiteError(f"{folder} holds other files. Choose an empty or a new folder.")


def _place_of_python() -> Path | None:
    """Where start.bat puts a Python of our own; uninstall.bat clears it."""
    place = os.environ.get("LOCALAPPDATA")
    return Path(place) / "EasyLoRA" if place else None
