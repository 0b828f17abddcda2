"""The frame around every command: report, log, requests to stop, errors and exit codes."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from scripts.console import Console, silent
from scripts.core.channel import event_lines, listen, move_stdin
from scripts.core.errors import Cancelled, SettingError, SettingErrors, SuiteError
from scripts.core.events import Control, Note, Problem, Report
from scripts.core.exit_codes import BUG, DONE, MENDABLE, NO_MEMORY, STOPPED
from scripts.core.files import LOG_FOLDER
from scripts.core.signals import stop_by_signal

Work = Callable[[Report, Control], None]

log = logging.getLogger(__name__)


def run_command(name: str, work: Work, events: bool = False) -> int:
    """Run `work(report, control)` and return the exit code.

    Args:
        name: the name of the command, which the log file bears.
        work: raises SuiteError, Cancelled, or anything else for a bug.
        events: write JSON lines to stdout and read requests from stdin, for a window.
    """
    main_process = int(os.environ.get("RANK", "0")) == 0
    log_path = _open_log(name)
    control = Control()
    with (
        _reporter(events, main_process, control) as report,
        stop_by_signal(control, partial(_tell_of_stop, report)),
    ):
        if events and main_process:
            listen(control, move_stdin())
        try:
            work(report, control)
        except Cancelled as stopped:
            report(Note(str(stopped)))
            return STOPPED
        except SettingErrors as errors:
            for error in errors.errors:
                report(Problem(str(error), error.setting))
            return MENDABLE
        except SuiteError as error:
            log.info("ended by the user's error", exc_info=True)
            report(Problem(str(error), error.setting if isinstance(error, SettingError) else None))
            return MENDABLE
        except MemoryError:
            log.exception("out of memory")
            report(Problem("The computer ran out of memory. Close other programs and start again."))
            return NO_MEMORY
        except Exception:
            log.exception("unexpected error")
            where = f"please send the log file {log_path}" if log_path else (
                "there is no log of it, because no folder for it can be written to"
            )  # fmt: skip
            report(Problem("Something went wrong that should not have. This is an error of Easy "
                           f"LoRA; {where}."))  # fmt: skip
            return BUG
    return DONE


def refuse_command(name: str, error: SuiteError, words: Sequence[str]) -> int:
    """Say that the command line `words` of `name` cannot be read, and why; the exit code."""

    def work(_report: Report, _control: Control) -> None:
        raise error

    return run_command(name, work, "--events" in words)


@contextmanager
def _reporter(events: bool, main_process: bool, control: Control) -> Iterator[Report]:
    if not main_process:
        yield silent
    elif events:
        with event_lines(control) as report:
            yield report
    else:
        console = Console()
        try:
            yield console
        finally:
            console.close()


def _tell_of_stop(report: Report) -> None:
    with suppress(RuntimeError):  # the signal came while something was being written
        report(Note("Stopping as soon as the work in hand is saved. Asking again ends it at once, "
                    "without saving."))  # fmt: skip


def _open_log(name: str) -> Path | None:
    """Send the log of this process to a new file in the log folder, else in the system's folder
    for temporary files; the path, None when neither can be written to."""
    rank = os.environ.get("RANK", "0")
    stamp = time.strftime("%Y%m%d-%H%M%S")
    file_name = f"{name}-{stamp}-{os.getpid()}{'' if rank == '0' else '-p' + rank}.log"
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for folder in (LOG_FOLDER, Path(tempfile.gettempdir()) / "easy_lora_logs"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handler = logging.FileHandler(folder / file_name, encoding="utf-8")
        except OSError:  # a folder that cannot be written to must not stop the work
            continue
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.addHandler(handler)
        return folder / file_name
    root.addHandler(logging.NullHandler())
    return None
