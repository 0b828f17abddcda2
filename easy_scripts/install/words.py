"""Figures and errors in the words of people."""

from __future__ import annotations

import errno
from pathlib import Path

from easy_scripts.launcher.bug_log import keep_bug, tell_bug
from scripts.core.errors import SuiteError
from scripts.core.files import explain_os_error

# What the system says of a file that cannot be written. Of others it is not known what was done.
OF_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


def explain_error(error: Exception, folder: Path, logs: Path) -> str:
    """What a window says of whatever ended its work in `folder`; an error that is not the user's is
    kept in `logs`. To be called where the error is caught."""
    if isinstance(error, SuiteError):
        return str(error)
    if isinstance(error, OSError):
        if error.errno in OF_WRITING:
            return explain_os_error(error, Path(error.filename or folder))
        where = keep_bug(logs, "window")
        return f"This could not go on: {error}. Try again; if that does not help, {where}."
    return tell_bug(logs, "window")


def in_words(seconds: float) -> str:
    """Such as "40 s" and "3 min"."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def split_unit(stage: str) -> tuple[str, str]:
    """The name of a counted stage and what it is counted in: "Downloading torch, MB"."""
    name, _, unit = stage.partition(", ")
    return (name, unit) if unit == "MB" else (stage, "")
