"""A lock file that one process holds at a time; the system lets go of it when that one dies."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from scripts.core.errors import SuiteError
from scripts.core.events import Control, Note, Report
from scripts.core.files import explain_os_error

WAITING = "Another training is encoding its pictures; waiting for it."
HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}  # by another process
if os.name == "nt":
    HELD.add(0)  # Wine gives no number


@contextmanager
def locked(path: Path, report: Report, control: Control, waiting: str = WAITING) -> Iterator[None]:
    """Hold a lock file; wait for another run that holds it, until the user stops.

    `waiting` is said when it has to wait for longer than a moment. Raises SuiteError when the
    file cannot be made or locked, and Cancelled.
    """
    try:
        handle = path.open("a+b")
    except OSError as error:
        raise SuiteError(explain_os_error(error, path)) from error
    with handle:
        _wait_for(handle, path, report, control, waiting)
        try:
            yield
        finally:
            unlock(handle)


def _wait_for(handle: BinaryIO, path: Path, report: Report, control: Control, waiting: str) -> None:
    attempts = 0
    try:
        while not try_lock(handle):
            attempts += 1
            if attempts == 2:
                report(Note(waiting))
            control.check()
            time.sleep(0.2)
    except OSError as error:
        raise SuiteError(explain_os_error(error, path)) from error


def try_lock(handle: BinaryIO) -> bool:
    """Take the lock of an open file if it is free; the system lets go of it at the latest when
    the process ends. Raises OSError when the file system knows no locks."""
    handle.seek(0)
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        raise
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
