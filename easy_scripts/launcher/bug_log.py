"""Keeps the traceback of an error that nobody expected: people get a sentence in its place."""

from __future__ import annotations

import time
import traceback
from pathlib import Path


def tell_bug(logs: Path, name: str = "easy_scripts") -> str:
    """What people are told of the exception in hand, an error of ours; it is kept as by
    `keep_bug`."""
    where = keep_bug(logs, name)
    return f"Something went wrong that should not have. This is an error of Easy LoRA; {where}."


def keep_bug(logs: Path, name: str = "easy_scripts") -> str:
    """Write the exception in hand into a log, called after `name` and the time; what to do with
    that, as the end of a sentence."""
    path = logs / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.log"
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        return f"what happened could not be kept, as {path} cannot be written ({reason})"
    return f"please send the log file {path}"
