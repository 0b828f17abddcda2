"""Train a LoRA: `python -m scripts.train --config run.json`, or with flags alone.

`--plan` prints what would happen as one JSON object and trains nothing; `--trial` takes ten steps
and tells how long all would take and, on a graphics card, how many pictures at once fit.
`--events` writes JSON lines for a window. Flags win over the config file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.command import refuse_command, run_command
from scripts.core.errors import SuiteError
from scripts.core.events import Control, Planned, Report
from scripts.core.flags import FlagParser, add_flags, read_flags
from scripts.settings.train import (
    TrainSettings,
    flags_over_config,
    read_train_config,
    read_train_settings,
)
from scripts.settings.train_reading import COMBINED_KEYS, NOT_NEEDED


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, train, and return the exit code."""
    words = sys.argv[1:] if argv is None else argv
    try:
        given = read_flags(_parser(), words)
    except SuiteError as error:
        return refuse_command("train", error, words)
    if "ACCELERATE_USE_CPU" in os.environ and not (given["plan"] or given["trial"]):
        from scripts.training.cpu_processes import missing_processes, run_processes

        if number := missing_processes():
            return run_processes(number, "scripts.train", words)
    config, events = given.pop("config"), given.pop("events")
    plan, trial = given.pop("plan"), given.pop("trial")

    def work(report: Report, control: Control) -> None:
        values = read_train_config(config) if config else {}
        settings, notes = read_train_settings(flags_over_config(given, values))
        if plan:
            report(Planned(_plan(settings, notes)))
            return
        if trial:
            from scripts.training.trial import run_trial

            run_trial(settings, report, control)
            return
        from scripts.training.start import train  # torch: only when really training

        train(settings, report, control, notes)

    return run_command("plan" if plan else "train", work, events)


def _plan(settings: TrainSettings, notes: list[str]) -> dict[str, Any]:
    from scripts.training.plan import make_plan

    content = make_plan(settings).as_dict()
    return {**content, "notes": [*notes, *content["notes"]]}


def _parser() -> FlagParser:
    parser = FlagParser(prog="python -m scripts.train", description=__doc__)
    parser.add_argument("--config", "--config_file", type=Path, metavar="FILE",
                        help="a config file, JSON or TOML")  # fmt: skip
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--plan", action="store_true",
                         help="print what would happen, as JSON, and train nothing")  # fmt: skip
    instead.add_argument("--trial", action="store_true",
                         help="take ten steps, tell how long all would take, and save "
                         "nothing")  # fmt: skip
    parser.add_argument("--events", action="store_true",
                        help="write events as JSON lines, read requests from stdin")  # fmt: skip
    other_tools = sorted({*NOT_NEEDED, *COMBINED_KEYS} - {"config_file"})
    add_flags(parser, TrainSettings, also=other_tools)
    return parser


if __name__ == "__main__":
    sys.exit(main())
