"""Picture folders: what a name like 10_cat says, what lies in a folder, what a search found.

`scripts.dataset.folder_search` finds the folders under the one that the user chose.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.core.errors import SettingError

MISSPELT = re.compile(r"\s*(\d{1,3})\s*(?:x[\s_-]+|[\s-]+)(\S.*)", re.IGNORECASE)
USUAL_PICTURES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff"})
PICTURES_OF_OTHER_PROGRAMS = frozenset(
    {".gif", ".heic", ".heif", ".psd", ".avif", ".jxl", ".raw", ".cr2", ".nef", ".arw", ".dng"}
)


@dataclass(frozen=True)
class Folder:
    """A folder of training pictures.

    `class_tokens` is the caption of pictures that have none; `files` maps the lower-case name of
    every file in it (and in nested folders that count as part of it) to its path.
    """

    path: Path
    repeats: int
    class_tokens: str
    pictures: tuple[Path, ...]
    files: Mapping[Path, Mapping[str, Path]] = field(repr=False, compare=False)


@dataclass
class FolderScan:
    """The folders found, with what was guessed, what is left out, and how to mend it.

    Each mend is {"text": ..., "folder_repeats": {path under the root: repeats}}; `unmatched` are
    the names in folder_repeats that no folder here has.
    """

    folders: list[Folder] = field(default_factory=list)
    guesses: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    mends: list[dict] = field(default_factory=list)
    unmatched: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Listing:
    """What lies directly in a folder, sorted by name; hidden things left out."""

    path: Path
    pictures: tuple[Path, ...]
    subfolders: tuple[Path, ...]
    strangers: tuple[Path, ...]  # pictures in formats that cannot be read
    files: Mapping[str, Path]


def read_folder_name(name: str) -> tuple[int, str] | None:
    """Repeats and class words of a folder name by sd-scripts' rule; None when it has none.

    The part before the first "_" must be a whole number of at least 1, as Python's int() reads
    it; the rest is the class: "10_red fox" is (10, "red fox").
    """
    number, _, words = name.partition("_")
    try:
        repeats = int(number)
    except ValueError:
        return None
    return (repeats, words) if repeats >= 1 else None


def read_misspelt_name(name: str) -> tuple[int, str] | None:
    """Repeats and class of a name that means them but misses the rule: "10 cat", "10-cat",
    "10x cat"; None for any other name.
    """
    match = MISSPELT.fullmatch(name)
    if match is None or read_folder_name(name) or int(match[1]) < 1:
        return None
    return int(match[1]), match[2]


def has_number_below_one(name: str) -> bool:
    """Whether a name like 0_cat gives a number that cannot be repeats."""
    try:
        return int(name.partition("_")[0]) < 1
    except ValueError:
        return False


def list_folder(path: Path, endings: frozenset[str] = USUAL_PICTURES) -> Listing:
    """List a folder. Raises SettingError when it cannot be read."""
    pictures, subfolders, strangers, files = [], [], [], {}
    try:
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith((".", "__MACOSX", "@eaDir", "$")):
                    continue
                ending = os.path.splitext(entry.name)[1].lower()
                if entry.is_dir():
                    subfolders.append(Path(entry.path))
                    continue
                files[entry.name.lower()] = Path(entry.path)
                if ending in endings:
                    pictures.append(Path(entry.path))
                elif ending in PICTURES_OF_OTHER_PROGRAMS:
                    strangers.append(Path(entry.path))
    except OSError as error:
        message = f"The folder {path} cannot be read ({error.strerror or error}). Check its rights."
        raise SettingError("train_data_dir", message) from error
    return Listing(path, tuple(pictures), tuple(subfolders), tuple(strangers), files)
