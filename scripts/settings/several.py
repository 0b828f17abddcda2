"""How settings are read that take several values: files, numbers, sizes.

Every function takes the raw value of a config file or flag and raises ValueError with one plain
sentence when it cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.core.declare import read_float, read_int, read_path, show_value


def read_paths(raw: Any) -> tuple[Path, ...]:
    """Files from a list, or one file from a text (whose commas may belong to its name)."""
    items = raw if isinstance(raw, list | tuple) else [raw]
    if not all(str(item).strip().strip('"') for item in items):  # it would be the current folder
        raise ValueError("An empty name is given in place of a file. Choose the file.")
    return tuple(read_path(str(item)) for item in items)


def read_numbers(raw: Any) -> tuple[float, ...]:
    """Numbers from a list, or a text with commas or spaces between."""
    return tuple(read_float(word) for word in _words(raw))


def read_sizes(raw: Any) -> tuple[int, ...]:
    """Whole numbers from a list, or a text with commas or spaces between."""
    return tuple(read_int(word) for word in _words(raw))


def _words(raw: Any) -> Iterator[str]:
    """Each value of a list, a text taken apart at commas and spaces; nothing else is."""
    for item in raw if isinstance(raw, list | tuple) else [raw]:
        yield from item.replace(",", " ").split() if isinstance(item, str) else [show_value(item)]
