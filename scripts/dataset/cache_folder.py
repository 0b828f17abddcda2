"""Where encoded pictures lie: the cache folder, and in it a folder for a run that keeps nothing."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import uuid
import weakref
from pathlib import Path
from typing import BinaryIO

from scripts.core.errors import SettingError, SuiteError
from scripts.core.events import Control, Note, Report
from scripts.core.file_lock import locked, try_lock, unlock
from scripts.core.files import check_output_folder, explain_os_error

log = logging.getLogger(__name__)

RUN_PREFIX = "run_"
ALIVE_NAME = "alive.lock"  # held by a run as long as it lives
GUARD_NAME = "runs.lock"  # held while folders of runs are made or leftovers are removed
WAITING_FOR_GUARD = "Another training is making or clearing its cache; waiting for it."


def usable_cache_folder(folder: Path, report: Report) -> Path:
    """`folder`, or one in the system's temporary folder when nothing can be written there.

    Raises SuiteError when there is no place at all.
    """
    try:
        _check(folder)
    except (SettingError, OSError) as error:
        log.info("The cache folder cannot be used: %s", error)
        instead = _folder_instead()
        try:
            _check(instead)
        except (SettingError, OSError):
            raise SuiteError(
                f"The encoded pictures can be written neither to {folder} nor to {instead}. Make "
                "one of these folders writable, or turn cache_latents off."
            ) from error
        report(Note(f"{folder} cannot be written to: the encoded pictures lie in {instead}."))
        return instead
    return folder


def _check(folder: Path) -> None:
    """See that files can be made and locked there; some network drives know no locks."""
    check_output_folder(folder)
    with (folder / GUARD_NAME).open("a+b") as handle:
        if try_lock(handle):
            unlock(handle)


def _folder_instead() -> Path:
    user = f"_{os.getuid()}" if hasattr(os, "getuid") else ""  # Windows has one for each user
    return Path(tempfile.gettempdir()) / f"easy_lora_cache{user}"


class RunFolder:
    """A cache folder of one run, removed at the end of the run.

    While the run lives it holds a lock in it, so that other runs can tell, and remove, what a
    crashed one left behind. Of several processes only the main one makes, holds and removes it.
    """

    def __init__(
        self, folder: Path, run_id: str | None, is_main: bool, report: Report, control: Control
    ) -> None:
        self.path = folder / f"{RUN_PREFIX}{run_id or uuid.uuid4().hex[:12]}"
        self.lock: BinaryIO | None = None
        if is_main:
            with locked(folder / GUARD_NAME, report, control, WAITING_FOR_GUARD):
                try:
                    self.path.mkdir(exist_ok=True)
                    self.lock = (self.path / ALIVE_NAME).open("a+b")
                    try_lock(self.lock)
                except OSError as error:
                    raise SuiteError(explain_os_error(error, self.path)) from error
        self._finish = weakref.finalize(self, _remove_run_folder, self.path, self.lock)

    def close(self) -> None:
        """Remove the folder; happens at the latest when the process ends in an orderly way."""
        self._finish()


def _remove_run_folder(path: Path, lock: BinaryIO | None) -> None:
    if lock is not None:
        lock.close()
        shutil.rmtree(path, ignore_errors=True)


def remove_leftovers(folder: Path, report: Report, control: Control) -> None:
    """Remove the folders of crashed runs. What cannot be removed stays for the next time."""
    if not any(folder.glob(f"{RUN_PREFIX}*")):
        return
    try:
        with locked(folder / GUARD_NAME, report, control, WAITING_FOR_GUARD):
            for path in folder.glob(f"{RUN_PREFIX}*"):
                if _is_dead(path):
                    shutil.rmtree(path, ignore_errors=True)
    except SuiteError as error:  # a folder that cannot be written to
        log.info("Leftovers of crashed runs stay: %s", error)


def _is_dead(path: Path) -> bool:
    """Whether no run holds the folder; asked under the guard, so none is just being made."""
    try:
        with (path / ALIVE_NAME).open("r+b") as lock:
            return try_lock(lock)
    except FileNotFoundError:  # the run was killed between making the folder and this file
        return True
    except OSError:  # somebody else's, perhaps
        return False
