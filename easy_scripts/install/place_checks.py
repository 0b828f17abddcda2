"""Whether the folder that Easy LoRA lies in is a good place: for set-up, doctor and installer.

Each check gives a `Finding` or None; nothing is changed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import SettingError
from scripts.core.files import check_output_folder

if sys.platform == "win32":
    import winreg

# Windows takes a file whose path has up to 259 letters and a folder with up to 247. The longest of
# ours are PyTorch's licences, in torch-2.13.0+cu130.dist-info/licenses/third_party.
PATH_OF_FILE, PATH_OF_FOLDER = 259, 247
SITE_PACKAGES = "\\.venv\\Lib\\site-packages\\"
LONGEST_FILE, LONGEST_FOLDER = 173, 162  # letters behind that
LONGEST_ROOT = min(PATH_OF_FILE - LONGEST_FILE, PATH_OF_FOLDER - LONGEST_FOLDER) - len(
    SITE_PACKAGES
)
LITTLE_ROOM = 5.0  # GB: previews, caches and a few LoRAs
GIGABYTE = 1e9


@dataclass(frozen=True)
class Finding:
    """Something that a check found: what it is, why it matters, what to do.

    problem: whether it must be mended (else it is worth knowing); by_setup: whether set-up
    mends it.
    """

    topic: str
    cause: str
    remedy: str
    problem: bool = True
    by_setup: bool = False

    @property
    def sentence(self) -> str:
        """Cause and remedy in one text."""
        return f"{self.cause} {self.remedy}"


def check_place(root: Path, needed_gb: float = LITTLE_ROOM) -> list[Finding]:
    """All checks of the folder `root`, on which `needed_gb` must be free."""
    found = (
        path_length(str(root), sys.platform, long_paths_on()),
        cloud_folder(str(root), os.environ),
        writable(root),
        free_space(root, needed_gb),
    )
    return [finding for finding in found if finding]


def path_length(root: str, platform: str, long_paths: bool) -> Finding | None:
    """Windows refuses longer paths than `PATH_OF_FILE`, unless long paths are switched on."""
    if platform != "win32" or long_paths or len(root) <= LONGEST_ROOT:
        return None
    return Finding(
        "path",
        f"The path of Easy LoRA's folder has {len(root)} letters; with more than "
        f"{LONGEST_ROOT}, some files of PyTorch become too long for Windows.",
        r"Move the folder to a short path such as C:\EasyLoRA and start again.",
    )


def cloud_folder(root: str, environment: Mapping[str, str]) -> Finding | None:
    """Synchronised folders lock files and copy gigabytes to and fro."""
    places = [value for key, value in environment.items() if key.upper().startswith("ONEDRIVE")]
    inside = any(place and root.lower().startswith(place.lower()) for place in places)
    parts = root.replace("\\", "/").split("/")
    if not inside and not any(part.startswith(("OneDrive", "Dropbox")) for part in parts):
        return None
    return Finding(
        "path",
        "Easy LoRA's folder is copied to the internet by OneDrive or Dropbox, which locks files "
        "in mid-work and slows everything down.",
        r"Move the folder out of it, for instance to C:\EasyLoRA.",
        problem=False,
    )


def writable(root: Path) -> Finding | None:
    """Whether files can be made in the folder."""
    try:
        check_output_folder(root)
    except SettingError as error:
        return Finding("path", str(error), "Move Easy LoRA to a folder of your own.")
    return None


def free_space(root: Path, needed_gb: float) -> Finding | None:
    """Whether there is room on the drive."""
    free = shutil.disk_usage(root).free / GIGABYTE
    if free >= needed_gb:
        return None
    return Finding(
        "disk",
        f"There is too little room on the drive of {root}: about {needed_gb:.1f} GB are needed "
        f"and {free:.1f} GB are free.",
        "Make room and start again.",
    )


def long_paths_on() -> bool:
    """Whether Windows is set to allow paths of more than 260 letters."""
    if sys.platform != "win32":
        return True
    try:
        with winreg.OpenKey(
            winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem"
        ) as key:
            return winreg.QueryValueEx(key, "LongPathsEnabled")[0] == 1
    except OSError:
        return False
