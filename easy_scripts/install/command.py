"""python -m easy_scripts setup: make the private environment, or put it in order.

Shows one line per step in the console, or a window after a double-click; the rest goes to a log
in `logs`.
"""

from __future__ import annotations

import _thread
import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from easy_scripts.install.kinds import KINDS
from easy_scripts.install.make_environment import (
    AUTO,
    NothingFits,
    Wishes,
    check_environment,
    describe_plan,
    make_environment,
)
from easy_scripts.install.self_test import BAKING, Proof, bake, ready_line
from easy_scripts.install.words import in_words
from easy_scripts.launcher.clicked import clicked
from easy_scripts.launcher.judge import judge
from easy_scripts.launcher.project import Project
from easy_scripts.wizard.time_left import TimeLeft
from scripts.core.channel import event_lines, listen
from scripts.core.errors import SuiteError
from scripts.core.events import Control, Done, Event, Note, Problem, Report, Stage
from scripts.core.exit_codes import DONE, MENDABLE, STOPPED

PROCESSOR = " To use the processor instead, run: python -m easy_scripts setup --kind cpu"
OBEY_EVERY = 0.1  # seconds between looks whether the window asked to stop


class Console:
    """Prints the events of set-up: one line per step, a moving count where there is a terminal."""

    def __init__(self, stream: TextIO | None = None, errors: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._errors = errors or sys.stderr
        self._moving = self._stream.isatty()
        self._open_line = 0
        self._time_left = TimeLeft()

    def __call__(self, event: Event) -> None:
        """Print one event."""
        if isinstance(event, Stage) and event.total:
            left = self._time_left.seconds(event.name, event.done, event.total, time.monotonic())
            wait = f", {in_words(left)} left" if left is not None else ""
            self._count(f"      {event.name}: {event.done} of {event.total}{wait}")
        elif isinstance(event, Stage):
            self._line(f"  ... {event.name}")
        elif isinstance(event, Note):
            self._line(f"  {event.text}")
        elif isinstance(event, Problem):
            self._end_count()
            self._errors.write(f"{event.message}\n")
        elif isinstance(event, Done):
            seconds = round(event.seconds or 0)
            self._line(f"  Set-up is complete ({seconds // 60} min {seconds % 60} s).")

    def _count(self, text: str) -> None:
        if self._moving:
            self._stream.write("\r" + text.ljust(self._open_line))
            self._stream.flush()
            self._open_line = len(text)

    def _line(self, text: str) -> None:
        self._end_count()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def _end_count(self) -> None:
        if self._open_line:
            self._stream.write("\n")
            self._stream.flush()
        self._open_line = 0


def ensure_environment(project: Project, wishes: Wishes, report: Report | None = None) -> int:
    """Make the environment, telling it to `report`, else in the console; the exit code."""
    previous = signal.signal(signal.SIGTERM, _stop)
    tell = report or Console()
    try:
        make_environment(project, wishes, tell)
    except SuiteError as error:
        way_out = PROCESSOR if isinstance(error, NothingFits) and report is None else ""
        tell(Problem(f"{error}{way_out}"))
        return MENDABLE
    except KeyboardInterrupt:
        tell(Problem("Set-up was stopped. Start it again: it goes on where it stopped."))
        return STOPPED
    finally:
        signal.signal(signal.SIGTERM, previous)
    return DONE


def _stop(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def finish(project: Project, with_bake: bool, report: Report, in_window: bool = False) -> int:
    """The practice bake and the line that set-up ends with; the exit code."""
    stamp = judge(project).stamp
    if with_bake:
        report(Stage(BAKING))
    proof = bake(project, stamp, report if in_window else None) if with_bake else Proof()
    if proof.code == STOPPED:
        report(Note("The practice bake was stopped; everything is set up."))
        return STOPPED
    report(Note(ready_line(stamp, proof, in_window)))
    return proof.code


def run_for_window(project: Project, wishes: Wishes, with_bake: bool) -> int:
    """Set up with events as JSON lines; "stop" on stdin, or its end, stops."""
    control, ended = Control(), threading.Event()
    # where whoever started us has it ignored, as shells do in the background, nothing would stop us
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def obey() -> None:
        listen(control, sys.stdin)
        while not ended.wait(OBEY_EVERY):
            if control.stop_asked:
                _thread.interrupt_main()
                return

    with event_lines(control) as report:
        threading.Thread(target=obey, daemon=True).start()
        try:
            code = ensure_environment(project, wishes, report)
            return code or finish(project, with_bake, report, in_window=True)
        except KeyboardInterrupt:
            return STOPPED
        finally:
            ended.set()


def make_parser() -> argparse.ArgumentParser:
    """The arguments of `setup`."""
    parser = argparse.ArgumentParser(
        prog="easy_scripts setup",
        description="Make Easy LoRA's private environment (the folder .venv), or put it in order. "
        "Everything stays inside the project folder.",
    )
    kinds = "; ".join(f"{kind.name}: {kind.title}" for kind in KINDS.values())
    parser.add_argument(
        "--kind",
        choices=[AUTO, *KINDS],
        help=f"the build of PyTorch. auto looks at the machine; {kinds}. "
        "Without it: what was asked for last time, at first auto.",
    )
    parser.add_argument(
        "--check", action="store_true", help="only look whether everything is in order"
    )
    parser.add_argument(
        "--events", action="store_true", help="write JSON lines, for a window that watches"
    )
    parser.add_argument(
        "--no-window", action="store_true", help="stay in the console after a double-click too"
    )
    parser.add_argument(
        "--no-bake", action="store_true", help="leave out the practice bake at the end"
    )
    return parser


def window_if_clicked(
    project: Project, arguments: Sequence[str], reason: str | None = None
) -> int | None:
    """After a double-click, show set-up's window; its exit code. None: stay in the console.

    reason: why a tool needs it before its own window can open.
    """
    if not clicked(os.environ):
        return None
    try:
        from easy_scripts.install.setup_window import open_setup_window

        window = open_setup_window(project, arguments, reason)
    except (ImportError, SuiteError) as error:  # no Tk, no screen
        _ask_in_console(project, str(error))
        return None
    print("Set-up goes on in its own window; this one closes with it.", flush=True)
    return window.stay()


def _ask_in_console(project: Project, why: str) -> None:
    """Where there is no window, what will be done is shown here, and begins when it is wanted."""
    print(f"The window of set-up cannot be shown: {why}")
    print(describe_plan(project, Wishes()))
    _wait_for_enter("Press Enter to begin, or close this window. ")


def _wait_for_enter(why: str) -> None:
    with suppress(EOFError):  # nobody sits there
        input(why)


def main(arguments: Sequence[str]) -> int:
    """Run `setup` with its arguments; the exit code."""
    options = make_parser().parse_args(arguments)
    project = Project()
    wishes = Wishes(kind=options.kind)
    if options.events:
        return run_for_window(project, wishes, not options.no_bake)
    if not (options.check or options.no_window):
        code = window_if_clicked(project, arguments)
        if code is not None:
            return code
    if not options.check:
        print(f"Setting up Easy LoRA in {project.root}", flush=True)
        code = ensure_environment(project, wishes)
        code = code or finish(project, not options.no_bake, Console())
        if code == DONE and clicked(os.environ):  # a failure is shown until a key is pressed
            _wait_for_enter("Press Enter to close this window; run_training.bat trains a LoRA. ")
        return code
    try:
        shortcoming = check_environment(project, wishes, Console())
    except SuiteError as error:
        shortcoming = str(error)
    if shortcoming:
        sys.stderr.write(f"{shortcoming} Run: python -m easy_scripts setup\n")
        return MENDABLE
    print("Everything is in order.")
    return DONE
