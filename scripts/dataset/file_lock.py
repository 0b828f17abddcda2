"""A lock file that one process holds at a time; the system lets go of it when that one dies."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from scripts.core.errors import SuiteError
from scripts.core.events import Control, Note, Report
from scripts.core.files import explain_os_error


@contextmanager
def locked(path: Path, report: Report, control: Control) -> Iterator[None]:
    """Hold a lock file; wait for another run that holds it, until the user stops."""
    try:
        handle = path.open("a+b")
    except OSError as error:
        raise SuiteError(explain_os_error(error, path)) from error
    with handle:
        told = False
        while not try_lock(handle):
            if not told:
                report(Note("Another training is encoding its pictures; waiting for it."))
                told = True
            control.check()
            time.sleep(0.2)
        try:
            yield
        finally:
            unlock(handle)


def try_lock(handle: BinaryIO) -> bool:
    """Take the lock of an open file if it is free; the system lets go of it at the latest when
    the process ends."""
    handle.seek(0)
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def unlock(handle: BinaryIO) -> None:
    """Give the lock back."""
    handle.seek(0)
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(handle.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle.fileno(), fcntl.LOCK_UN)
