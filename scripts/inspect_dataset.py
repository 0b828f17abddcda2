"""Look at a data set: `python -m scripts.inspect_dataset --train_data_dir FOLDER`.

Takes the config and the flags of `scripts.train` that concern pictures. `--json` prints one JSON
object, `--events` writes JSON lines for a window, `--thumbnails` writes small copies to the cache.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.command import refuse_command, run_command
from scripts.core.errors import SettingError, SuiteError
from scripts.core.events import Control, Event, Facts, Report
from scripts.core.flags import FlagParser, add_flags, read_flags
from scripts.settings.train import (
    TrainSettings,
    flags_over_config,
    read_train_config,
    read_unfinished_settings,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, inspect, and return the exit code."""
    parser = FlagParser(prog="python -m scripts.inspect_dataset", description=__doc__)
    parser.add_argument("--config", type=Path, metavar="FILE", help="a config of the training")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--events", action="store_true", help="write events as JSON lines")
    parser.add_argument("--thumbnails", action="store_true", help="write thumbnails to the cache")
    parser.add_argument("--headers_only", action="store_true",
                        help="open no picture, tell what headers say")  # fmt: skip
    add_flags(parser, TrainSettings)
    words = sys.argv[1:] if argv is None else argv
    try:
        given = read_flags(parser, words)
    except SuiteError as error:
        return refuse_command("inspect_dataset", error, words)
    config, thumbnails = given.pop("config"), given.pop("thumbnails")
    headers_only = given.pop("headers_only")
    events, as_json = given.pop("events"), given.pop("json")

    def work(report: Report, control: Control) -> None:
        from scripts.dataset.inspection import THUMBNAIL_FOLDER, in_words, inspect_dataset

        values = flags_over_config(given, read_train_config(config) if config else {})
        settings = read_unfinished_settings(values)
        if settings.train_data_dir is None and settings.dataset_config is None:
            raise SettingError("train_data_dir", "No pictures are given. Choose their folder.")

        def at_a_terminal(event: Event) -> None:
            if not isinstance(event, Facts):
                report(event)
            elif event.facts["complete"] or (headers_only and "folders" in event.facts):
                report(Facts(event.facts, None if as_json else in_words(event.facts)))

        inspect_dataset(
            settings, report if events else at_a_terminal, control,
            thumbnails=THUMBNAIL_FOLDER if thumbnails else None, headers_only=headers_only,
        )  # fmt: skip

    return run_command("inspect_dataset", work, events)


if __name__ == "__main__":
    sys.exit(main())
