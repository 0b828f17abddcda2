"""The versions of a LoRA that a training saved on its way: which files, after which step.

They are found by their names on the disk, so that those saved before a pause are among them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from scripts.core.errors import SuiteError
from scripts.core.safetensors_header import read_header
from scripts.core.saved_names import NUMBERED

T = TypeVar("T")


@dataclass(frozen=True)
class SavedVersion:
    """One file. `step` is None where the file does not tell."""

    path: Path
    step: int | None


def saved_versions(result: Path) -> list[SavedVersion]:
    """The finished file and the earlier saves beside it, oldest first; none without the file.

    Of two saves after the same step, which are alike, one is given.
    """
    if not result.is_file():
        return []
    name, ending = re.escape(result.stem), re.escape(result.suffix)
    pattern = re.compile(rf"{name}{NUMBERED}?{ending}")
    paths = [path for path in result.parent.iterdir() if pattern.fullmatch(path.name)]
    paths.sort(key=lambda path: (path.stat().st_mtime, path == result))
    versions = [SavedVersion(path, _step_of(path)) for path in paths]
    if all(version.step is not None for version in versions):
        by_step = {version.step: version for version in versions if version.path != result}
        by_step |= {version.step: version for version in versions if version.path == result}
        versions = [by_step[step] for step in sorted(by_step)]
    return versions


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most `most` (2 or more) of the items, evenly spread, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def _step_of(path: Path) -> int | None:
    """What the metadata say; a .ckpt or .pt file has none."""
    with suppress(SuiteError, OSError, KeyError, ValueError):
        return int(read_header(path).metadata["ss_steps"])
    return None
