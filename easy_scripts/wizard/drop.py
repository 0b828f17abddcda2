"""Files and folders dropped on a widget, and paths pasted as text."""

from __future__ import annotations

import os
import tkinter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from scripts.core.errors import SuiteError

DropTaker = Callable[[list[str]], None]


def enable_drops(root: tkinter.Tk) -> bool:
    """Load the extension for drag and drop; False where it is not there: then only typing works."""
    try:
        from tkinterdnd2 import TkinterDnD

        TkinterDnD._require(root)
    except (ImportError, RuntimeError, OSError):
        return False
    return True


def take_drops(widget: tkinter.Misc, taker: DropTaker) -> None:
    """Call `taker(paths)` when files are dropped on `widget`. Needs `enable_drops` before."""

    def dropped(data: str) -> str:
        taker(list(widget.tk.splitlist(data)))
        return "copy"

    with suppress(tkinter.TclError):  # the extension is not there
        widget.tk.call("tkdnd::drop_target", "register", widget, ("DND_Files",))
        command = widget.register(dropped)
        widget.tk.call("bind", widget, "<<Drop:DND_Files>>", f"{command} %D")


def clean_path(text: str) -> str:
    """A typed or pasted path as it was meant: without quotes, spaces around it or file://."""
    text = text.strip()
    while len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    if text.lower().startswith("file:"):
        parts = urlsplit(text)
        host = f"//{parts.netloc}" if parts.netloc not in ("", "localhost") else ""
        text = host + (url2pathname(parts.path) if not host else unquote(parts.path))
    return text.strip('"')


def split_paths(text: str) -> list[str]:
    """The paths in a pasted text: one a line, or several in quotes on one line."""
    paths = []
    for line in text.splitlines():
        line = line.strip()
        if line.count('"') > 2:
            paths += [part for part in line.split('"') if part.strip()]
        elif line:
            paths.append(line)
    return [clean_path(path) for path in paths]


def with_files_of_folders(
    paths: list[str], endings: tuple[str, ...], refused: list[SuiteError] | None = None
) -> list[str]:
    """Files as they are; of a folder the files in it that end like one of `endings`, sorted. What
    is named twice comes once. A folder that cannot be read holds nothing; `refused` gets why."""
    files: list[str] = []
    for path in paths:
        if os.path.isdir(path):  # False, no error, where access is denied
            try:
                inside = sorted(file for file in Path(path).iterdir() if file.name[0] != ".")
            except OSError as error:
                inside, reason = [], error.strerror or error
                if refused is not None:
                    refused.append(SuiteError(f"The folder {path} cannot be read ({reason}). "
                                              "Check its rights."))  # fmt: skip
            files += [str(file) for file in inside if file.suffix.lower() in endings]
        else:
            files.append(path)
    once: dict[str, str] = {}
    for file in files:
        once.setdefault(os.path.normcase(os.path.abspath(file)), file)
    return list(once.values())
