"""Train a LoRA: `python -m scripts.train --config run.json`, or with flags alone.

`--plan` prints what would happen as one JSON object and trains nothing. `--events` writes JSON
lines for a window. Flags win over the config file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.command import run_command
from scripts.core.config import read_config
from scripts.core.declare import add_flags, overridden
from scripts.core.events import Control, Report
from scripts.settings.train import TrainSettings, read_train_settings


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, train, and return the exit code."""
    given = vars(_parser().parse_args(argv))
    if "ACCELERATE_USE_CPU" in os.environ and not given["plan"]:
        from scripts.training.cpu_processes import missing_processes, run_processes

        if number := missing_processes():
            return run_processes(number, "scripts.train", sys.argv[1:] if argv is None else argv)
    config, plan, events = given.pop("config"), given.pop("plan"), given.pop("events")

    def work(report: Report, control: Control) -> None:
        values: dict[str, Any] = read_config(config) if config else {}
        settings, notes = read_train_settings(overridden(TrainSettings, values, given))
        if plan:
            _print_plan(settings, notes)
            return
        from scripts.training.start import train  # torch: only when really training

        train(settings, report, control, notes)

    return run_command("train", work, events)


def _print_plan(settings: TrainSettings, notes: list[str]) -> None:
    from scripts.training.plan import make_plan

    content = make_plan(settings).as_dict()
    content["notes"] = [*notes, *content["notes"]]
    print(json.dumps(content, indent=2, ensure_ascii=True))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.train", description=__doc__)
    parser.add_argument("--config", "--config_file", type=Path, metavar="FILE",
                        help="a config file, JSON or TOML")  # fmt: skip
    parser.add_argument("--plan", action="store_true",
                        help="print what would happen, as JSON, and train nothing")  # fmt: skip
    parser.add_argument("--events", action="store_true",
                        help="write events as JSON lines, read requests from stdin")  # fmt: skip
    add_flags(parser, TrainSettings)
    return parser


if __name__ == "__main__":
    sys.exit(main())
