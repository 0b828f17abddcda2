"""The frame of the LoRA tools' commands: flags over a config file, then the work.

    def main(argv=None):
        return run_tool("merge_lora", __doc__, MergeSettings, read_merge_settings, _work, argv)

The work imports NumPy or torch only when it runs, so that --help answers at once.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from scripts.command import refuse_command, run_command
from scripts.core.config import read_config
from scripts.core.declare import overridden
from scripts.core.errors import SuiteError
from scripts.core.events import Control, Done, Note, Report, Start
from scripts.core.flags import FlagParser, add_flags, read_flags

S = TypeVar("S")
# The work runs one module of a LoRA in each thread; matrix products in several threads of their
# own would only get in each other's way.
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def run_tool(
    name: str,
    description: str | None,
    settings_class: type[S],
    read: Callable[[Mapping[str, Any]], tuple[S, list[str]]],
    work: Callable[[S, Report, Control], Path | None],
    argv: Sequence[str] | None = None,
    also: Sequence[str] = (),
    one_thread: bool = True,
) -> int:
    """Read the command line of a tool, do its work, and return the exit code.

    Args:
        name: the module in `scripts`, without `.py`.
        description: what --help says first.
        read: raw values by name -> (settings, notes on what was renamed or left out).
        work: does it; gives the path of the result, if there is one.
        also: flags of other tools that `read` knows what to do with.
        one_thread: whether matrix products get one thread each, for work that makes its own.
    """
    words = sys.argv[1:] if argv is None else argv
    parser = FlagParser(prog=f"python -m scripts.{name}", description=description)
    parser.add_argument("--config", "--config_file", type=Path, metavar="FILE",
                        help="a config file, JSON or TOML")  # fmt: skip
    parser.add_argument("--events", action="store_true",
                        help="write events as JSON lines, read requests from stdin")  # fmt: skip
    add_flags(parser, settings_class, also)
    try:
        given = read_flags(parser, words)
    except SuiteError as error:
        return refuse_command(name, error, words)
    config, events = given.pop("config"), given.pop("events")

    def run(report: Report, control: Control) -> None:
        began = time.monotonic()
        values = read_config(config) if config else {}
        settings, notes = read(overridden(settings_class, values, given))
        report(Start(name))
        for note in notes:
            report(Note(note))
        for variable in ONE_THREAD if one_thread else ():
            os.environ.setdefault(variable, "1")
        path = work(settings, report, control)
        report(Done(None if path is None else str(path), time.monotonic() - began))

    return run_command(name, run, events)
