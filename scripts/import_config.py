"""Turn a config of another tool into ours: `python -m scripts.import_config FILE`.

Prints what became of every key; `--save_to run.json` writes our config. `--json` prints settings
and report as one JSON object.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.command import refuse_command, run_command
from scripts.core.errors import SettingError, SuiteError
from scripts.core.events import Control, Facts, Report, Saved
from scripts.core.files import write_text
from scripts.core.flags import FlagParser
from scripts.settings.import_config import Imported, import_config


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, import, report, and return the exit code."""
    parser = FlagParser(prog="python -m scripts.import_config", description=__doc__)
    parser.add_argument("file", type=Path, help="the config, JSON or TOML")
    parser.add_argument("--save_to", type=Path, metavar="FILE", help="write our config there")
    parser.add_argument("--json", action="store_true", help="print settings and report as JSON")
    parser.add_argument("--events", action="store_true", help="write events as JSON lines")
    words = sys.argv[1:] if argv is None else argv
    try:
        options = parser.parse_args(words)
    except SuiteError as error:
        return refuse_command("import_config", error, words)

    def work(report: Report, _control: Control) -> None:
        imported = import_config(options.file)
        text = None if options.json else "\n".join(imported.lines())
        report(Facts(as_dict(imported), text))
        if options.save_to:
            _save(imported, options.save_to)
            report(Saved(str(options.save_to), what="config"))

    return run_command("import_config", work, options.events)


def as_dict(imported: Imported) -> dict[str, Any]:
    """Settings and report as one JSON-able dict."""
    return {
        "kind": imported.kind.name,
        "summary": imported.summary(),
        "settings": imported.values,
        "report": [dataclasses.asdict(entry) for entry in imported.entries],
        "problems": {error.setting: str(error) for error in imported.problems},
        "missing": list(imported.missing),
    }


def _save(imported: Imported, path: Path) -> None:
    if path.exists():
        raise SettingError("save_to", f"{path} is there already and is not written over. Choose "
                           "another name.")  # fmt: skip
    write_text(path, json.dumps(imported.values, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
