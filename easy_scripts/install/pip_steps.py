"""Running programs of the private environment: everything they print goes to the log.

pip's progress comes out as events; its failures as one sentence.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from easy_scripts.install.failures import HANGING, download_broke_off, explain_failure
from easy_scripts.install.lines import Lines
from easy_scripts.launcher.handover import child_environment, without_advice
from easy_scripts.launcher.project import Project
from scripts.core.errors import SuiteError

TAIL = 200  # lines of output in which the cause of a failure is looked for
TRIES = 5  # of a step whose download breaks off
RESUME_RETRIES = "20"  # times that pip takes up a download that broke off where it stopped
SECONDS_TO_END = 10
RAW_PROGRESS = re.compile(r"^Progress (\d+) of (\d+)")
OnLine = Callable[[str], None]


class StepFailed(SuiteError):
    """A step of set-up failed; the message says why and where the log is.

    try_again: whether a download broke off, so that the same step may go well the next time;
    hung: whether the step was ended because nothing came of it any more.
    """

    def __init__(self, message: str, try_again: bool = False, hung: bool = False) -> None:
        super().__init__(message)
        self.try_again, self.hung = try_again, hung


@dataclass(frozen=True)
class Workshop:
    """What every step needs: the project, the open log, its path, the set-up's lock."""

    project: Project
    log: TextIO
    log_path: Path
    lock: int

    def write(self, line: str) -> None:
        """Write a line to the log."""
        self.log.write(line.rstrip() + "\n")
        self.log.flush()


def run_logged(
    workshop: Workshop,
    command: Sequence[str],
    doing: str,
    on_line: OnLine | None = None,
    variables: Mapping[str, str] | None = None,
    silence: float | None = None,
) -> None:
    """Run `command`, its output to the log and line by line to `on_line`.

    doing: the beginning of the sentence if it fails: "torch could not be installed";
    variables: more for its environment; silence: the seconds without a word after which it is
    ended.
    Raises StepFailed.
    """
    workshop.write(f"\n> {' '.join(command)}")
    tail: deque[str] = deque(maxlen=TAIL)
    try:
        with _started(workshop, command, variables or {}) as process:
            for line in Lines(process.stdout, silence):
                if on_line:
                    on_line(line.rstrip())
                if not RAW_PROGRESS.match(line):
                    workshop.write(line)
                    tail.append(line)
            code = process.wait()
    except TimeoutError as error:
        workshop.write(f"(nothing more for {silence:.0f} seconds: ended)")
        raise StepFailed(f"{doing}: {HANGING} Log: {workshop.log_path}", hung=True) from error
    except OSError as error:
        tail.append(str(error))
        workshop.write(str(error))
        code = 1
    if code != 0:
        workshop.write(f"(ended with {code})")
        sentence = explain_failure(tail, code, doing)
        raise StepFailed(f"{sentence} Log: {workshop.log_path}", download_broke_off(tail))


@contextmanager
def _started(
    workshop: Workshop, command: Sequence[str], variables: Mapping[str, str]
) -> Iterator[subprocess.Popen]:
    """The running process; ended with us, if we are stopped."""
    workshop.project.workspace.mkdir(parents=True, exist_ok=True)
    temporary = str(workshop.project.workspace)
    # what a set-up that is stopped has fetched stays for the next one, and in this folder
    kept = os.environ.get("PIP_CACHE_DIR") or str(workshop.project.downloads / "pip")
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        cwd=temporary,
        # downloads are unpacked on the drive whose free space was checked
        env=child_environment(
            without_advice(os.environ),
            {
                "TMPDIR": temporary,
                "TEMP": temporary,
                "TMP": temporary,
                "PIP_RESUME_RETRIES": RESUME_RETRIES,
                "PIP_CACHE_DIR": kept,
                **variables,
            },
        ),
        pass_fds=() if sys.platform == "win32" else (workshop.lock,),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=SECONDS_TO_END)
            except subprocess.TimeoutExpired:  # what hangs in a driver may outlive even this
                process.kill()


def pip_install(
    workshop: Workshop, arguments: Sequence[str], doing: str, on_line: OnLine | None = None
) -> None:
    """`pip install` in the environment, wheels only; anew when a download broke off.

    Raises StepFailed.
    """
    command = [
        str(workshop.project.python),
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "--no-warn-script-location",
        "--only-binary=:all:",
        *arguments,
    ]
    for left in reversed(range(TRIES)):
        try:
            run_logged(workshop, command, doing, on_line)
            return
        except StepFailed as error:
            if not error.try_again or not left:
                raise
