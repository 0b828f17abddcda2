"""Lists of sizes in a text file, one job a line, for resizing and extracting.

What stands behind a # counts for nothing; a size that is there twice is taken once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from scripts.core.declare import declarations
from scripts.core.errors import SettingError
from scripts.core.files import read_text
from scripts.lora.ranks import Size
from scripts.settings.extract import ExtractSettings
from scripts.settings.resize import ResizeSettings, dynamic_error


def resize_sizes(settings: ResizeSettings) -> tuple[Size, ...]:
    """The sizes that LoRAs are brought to: a rank, or a dynamic value and the largest rank, a line.

    Raises SettingError.
    """
    lines = _lines(settings.queue)
    return tuple(dict.fromkeys(_resize_size(words, *line, settings) for words, *line in lines))


def _resize_size(words: list[str], line: str, number: int, settings: ResizeSettings) -> Size:
    method = settings.dynamic_method
    try:
        rank = int(words[-1])
        param = float(words[0]) if len(words) == 2 else None
        if rank < 1 or len(words) > 2:
            raise ValueError
    except ValueError:
        raise _no_size(settings.queue, line, number, "Write a dim, such as 32, or the dynamic "
                       "value and the largest dim, such as 0.95 64.") from None  # fmt: skip
    if param is None:
        return Size(rank, settings.new_conv_rank)
    if method is None:
        raise SettingError("dynamic_method", f"Line {number} of {settings.queue.name} has a "
                           "dynamic value. Choose its method too.")  # fmt: skip
    if error := dynamic_error(method, param):
        raise SettingError("queue", f"Line {number} of {settings.queue.name}: {error}")
    return Size(rank, settings.new_conv_rank, method, param)


def extract_dims(queue: Path) -> tuple[tuple[int, int | None], ...]:
    """The dims of extracted LoRAs: of Linear layers, and perhaps of convolutions, a line.

    Raises SettingError.
    """
    return tuple(dict.fromkeys(_extract_dims(words, *line, queue) for words, *line in
                               _lines(queue)))  # fmt: skip


def _extract_dims(
    words: list[str], line: str, number: int, queue: Path
) -> tuple[int, int | None]:  # fmt: skip
    most = declarations(ExtractSettings)["dim"].high
    try:
        dims = [int(word) for word in words]
        if len(dims) > 2 or min(dims) < 1 or max(dims) > most:
            raise ValueError
    except ValueError:
        raise _no_size(queue, line, number, f"Write a dim up to {most:g}, such as 64, or two, the "
                       "second one for convolutions, such as 64 32.") from None  # fmt: skip
    return dims[0], dims[1] if len(dims) == 2 else None


def _lines(queue: Path) -> Iterator[tuple[list[str], str, int]]:
    """The words of each line that has some, the line itself and its number."""
    if not os.path.isfile(queue):
        raise SettingError("queue", f"There is no file {queue}. Choose it again.")
    try:
        text, _ = read_text(queue)
    except OSError as error:
        message = f"The file {queue} cannot be read: {error.strerror}."
        raise SettingError("queue", message) from error
    lines = [
        (words, line, number)
        for number, line in enumerate(text.splitlines(), 1)
        if (words := line.partition("#")[0].replace(",", " ").split())
    ]
    if not lines:
        raise SettingError("queue", f"{queue.name} names no size. Write one a line, such as 32.")
    yield from lines


def _no_size(queue: Path, line: str, number: int, advice: str) -> SettingError:
    if not line.replace("\t", " ").isprintable():
        return SettingError("queue", f"{queue.name} is no text file. Choose a list of sizes, one a "
                            "line.")  # fmt: skip
    return SettingError("queue", f'Line {number} of {queue.name}, "{line.strip()}", is no size. '
                        f"{advice}")  # fmt: skip
