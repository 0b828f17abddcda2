"""Figures and errors in the words of people."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

from scripts.core.errors import SuiteError
from scripts.core.files import explain_os_error, write_text


def explain_error(error: Exception, folder: Path, logs: Path) -> str:
    """What a window says of whatever ended its work in `folder`; an error of ours is kept in
    `logs`."""
    if isinstance(error, SuiteError):
        return str(error)
    if isinstance(error, OSError):
        return explain_os_error(error, Path(error.filename or folder))
    log = logs / f"window-{time.strftime('%Y%m%d-%H%M%S')}.log"
    try:
        logs.mkdir(exist_ok=True)
        write_text(log, "".join(traceback.format_exception(error)))
        where = f"please send the log file {log}"
    except OSError:
        where = "there is no log of it, because no folder for it can be written to"
    return f"Something went wrong that should not have. This is an error of Easy LoRA; {where}."


def in_words(seconds: float) -> str:
    """Such as "40 s" and "3 min"."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def split_unit(stage: str) -> tuple[str, str]:
    """The name of a counted stage and what it is counted in: "Downloading torch, MB"."""
    name, _, unit = stage.partition(", ")
    return (name, unit) if unit == "MB" else (stage, "")
