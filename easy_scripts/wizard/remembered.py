"""What a wizard keeps from one time to the next: its draft, place on the screen, recent paths.

One small JSON file for each wizard in the project's cache folder, or in the user's own cache folder
when the project's cannot be written to. Several windows may share it: each change reads the file
anew under a lock and changes nothing else. Most of it is a comfort, and what cannot be written then
holds as long as the window; `must_change` is for what a person would miss.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from scripts.core.errors import SuiteError
from scripts.core.file_lock import try_lock, unlock
from scripts.core.files import CACHE_FOLDER, explain_os_error, make_folders, write_text

RECENT_PATHS = 12
PATIENCE = 2.0  # seconds to wait for another window, which needs a few milliseconds


class Memory:
    """The remembered things of the wizard `name`."""

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self.folder = folder or memory_folder()
        self._path = self.folder / f"{name}.json"
        self._unwritten: dict[str, Any] = {}  # what could not be kept on the disk
        self._latest: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """What was kept under `key`, by whichever window; `default` when nothing of that type
        was."""
        with suppress(OSError):  # another window may just be writing it
            self._latest = self._read()
        value = {**self._latest, **self._unwritten}.get(key, default)
        return value if default is None or isinstance(value, type(default)) else default

    def keep(self, key: str, value: Any) -> None:
        """Keep `value` (JSON-able) under `key`, on disk at once if that is possible."""
        self._keep(key, lambda _: value)

    def recent(self, kind: str) -> list[str]:
        """The paths used latest for `kind` of row, newest first, those that still exist."""
        paths = self.get("recent", {}).get(kind, [])
        return [path for path in paths if isinstance(path, str) and os.path.exists(path)]

    def note_path(self, kind: str, path: str) -> None:
        """Put `path` in front of the recent ones."""

        def with_path(recent: Any) -> dict[str, Any]:
            recent = recent if isinstance(recent, dict) else {}
            before = [other for other in recent.get(kind, []) if other != path]
            return {**recent, kind: [path, *before][:RECENT_PATHS]}

        self._keep("recent", with_path)

    # --- the file ------------------------------------------------------------------------

    def _keep(self, key: str, change: Callable[[Any], Any]) -> None:
        try:
            self.must_change(key, change)
        except SuiteError:
            self._unwritten[key] = change(self.get(key))

    def must_change(self, key: str, change: Callable[[Any], Any]) -> None:
        """Keep under `key` what `change` makes of what is there; other entries are left to whoever
        wrote them. Raises SuiteError when it cannot be written."""
        try:
            make_folders(self.folder)
            with self._alone():
                content = self._read()
                value = change(content.get(key))
                if key not in content or content[key] != value:
                    content[key] = value
                    text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
                    write_text(self._path, text)
        except OSError as error:
            raise SuiteError(explain_os_error(error, self._path)) from error
        self._latest = content
        self._unwritten.pop(key, None)

    def _read(self) -> dict[str, Any]:
        """What the file holds; a damaged one holds nothing. Raises OSError."""
        with suppress(FileNotFoundError, ValueError):
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if isinstance(content, dict):
                return content
        return {}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other window changes the file. A disk that knows no locks does without."""
        with self._path.with_suffix(".lock").open("a+b") as handle:
            end = time.monotonic() + PATIENCE
            locked = False
            with suppress(OSError):
                while not (locked := try_lock(handle)) and time.monotonic() < end:
                    time.sleep(0.01)
            try:
                yield
            finally:
                if locked:
                    unlock(handle)


def memory_folder() -> Path:
    """The project's cache folder for wizards, else the user's."""
    folder = CACHE_FOLDER / "wizard"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home()))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "easy_lora" / "wizard"
