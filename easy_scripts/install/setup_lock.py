"""One set-up at a time in one folder.

The lock is the operating system's own, on a file in `logs`: it ends with the process that holds
it, so a lock left over from a crash holds nobody up. On Linux and macOS pip inherits it, so that
a set-up that was killed while its pip lives on is still noticed.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scripts.core.errors import SuiteError
from scripts.core.files import explain_os_error

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK_NAME = "setup.lock"
FAR_BYTE = 1 << 20  # Windows locks bytes for readers too: lock one beyond the text


@contextmanager
def setup_lock(logs: Path) -> Iterator[int]:
    """Hold the lock; gives its file descriptor, for children to inherit.

    Raises SuiteError when another set-up holds it, the disk is full, or the folder cannot be
    written to.
    """
    path = logs / LOCK_NAME
    try:
        logs.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SuiteError(explain_os_error(error, path)) from error
        raise SuiteError(
            f"Easy LoRA cannot write into its folder {logs.parent} ({error.strerror}). Move the "
            "folder to a place of your own, such as your documents, and start again."
        ) from error
    try:
        if not _try_to_lock(descriptor):
            raise SuiteError(
                f"Another set-up is already running in this folder{_holder(descriptor)}. "
                "Wait until it has ended, then start again."
            )
        _write_holder(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _write_holder(descriptor: int) -> None:
    """Write down who holds the lock. Only people read it, so a full disk is no reason to stop."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"{os.getpid()} {time.strftime('%H:%M')}\n".encode())


def _holder(descriptor: int) -> str:
    """Who holds the lock, as far as its file tells: " (process 123, since 14:05)"."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    words = os.read(descriptor, 100).decode("ascii", errors="replace").split()
    return f" (process {words[0]}, since {words[1]})" if len(words) == 2 else ""


def _try_to_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, FAR_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
