"""What a wizard keeps from one time to the next: its draft, place on the screen, recent paths.

One small JSON file for each wizard in the project's cache folder, or in the user's own cache folder
when the project's cannot be written to. It is a comfort only: a file that is damaged or cannot be
written is passed over in silence.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from scripts.core.errors import SuiteError
from scripts.core.files import CACHE_FOLDER, write_text

RECENT_PATHS = 12


class Memory:
    """The remembered things of the wizard `name`."""

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self.folder = folder or memory_folder()
        self._path = self.folder / f"{name}.json"
        self._content: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if isinstance(content, dict):
                self._content = content

    def get(self, key: str, default: Any = None) -> Any:
        """What was kept under `key`; `default` when nothing of that type was."""
        value = self._content.get(key, default)
        return value if default is None or isinstance(value, type(default)) else default

    def keep(self, key: str, value: Any) -> None:
        """Keep `value` (JSON-able) under `key`, on disk at once."""
        if self._content.get(key) == value:
            return
        self._content[key] = value
        with suppress(SuiteError, OSError):
            write_text(self._path, json.dumps(self._content, ensure_ascii=False, indent=1) + "\n")

    def recent(self, kind: str) -> list[str]:
        """The paths used latest for `kind` of row, newest first, those that still exist."""
        paths = self.get("recent", {}).get(kind, [])
        return [path for path in paths if isinstance(path, str) and os.path.exists(path)]

    def note_path(self, kind: str, path: str) -> None:
        """Put `path` in front of the recent ones."""
        recent = dict(self.get("recent", {}))
        before = [other for other in recent.get(kind, []) if other != path]
        recent[kind] = [path, *before][:RECENT_PATHS]
        self.keep("recent", recent)


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
