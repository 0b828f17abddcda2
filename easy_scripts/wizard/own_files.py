"""The files that a window writes for its child processes: no other window writes to them."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from scripts.core.files import write_text


class OwnFiles:
    """`write(name, config)` as often as wanted; `close()` removes them all."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def write(self, name: str, config: dict[str, Any]) -> Path:
        """Write a config, over the one of this name; its path. Raises OSError, SuiteError."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="easy_lora_"))
        path = self._folder / f"{name}.json"
        write_text(path, json.dumps(config, indent=1))
        return path

    def close(self) -> None:
        """The window goes, and its children with it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
