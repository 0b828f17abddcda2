"""Say whether one model was made from the other: `python -m scripts.compare_models ORIGINAL TUNED`.

Both are checkpoints of SD1.x, SD2.x or SDXL. The answer is there in a second, as only some numbers
of each layer are looked at. `--json` prints the facts as one JSON object, `--events` as JSON lines
for a window.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.command import refuse_command, run_command
from scripts.core.errors import SuiteError
from scripts.core.events import Control, Facts, Report
from scripts.core.flags import FlagParser
from scripts.settings.extract import ExtractSettings
from scripts.tool_command import ONE_THREAD

if TYPE_CHECKING:
    from scripts.lora.compare import ModelPair, Relation


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, compare the models, and return the exit code."""
    parser = FlagParser(prog="python -m scripts.compare_models", description=__doc__)
    parser.add_argument("model_org", type=Path, help="the original model")
    parser.add_argument("model_tuned", type=Path, help="the model that may be made from it")
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    parser.add_argument("--events", action="store_true", help="write events as JSON lines")
    words = sys.argv[1:] if argv is None else argv
    try:
        options = parser.parse_args(words)
    except SuiteError as error:
        return refuse_command("compare_models", error, words)

    def work(report: Report, control: Control) -> None:
        for variable in ONE_THREAD:
            os.environ.setdefault(variable, "1")
        from scripts.lora.compare import compare, open_pair  # NumPy: only when really comparing

        pair = open_pair(ExtractSettings(options.model_org, options.model_tuned))
        facts = facts_of(pair, compare(pair, report, control))
        report(Facts(facts, None if options.json else _in_words(facts)))

    return run_command("compare_models", work, options.events)


def facts_of(pair: ModelPair, relation: Relation) -> dict[str, Any]:
    """The relation as a JSON-able dict."""
    return {
        "model_org": str(pair.original.path),
        "model_tuned": str(pair.tuned.path),
        "family": pair.original.family.name,
        "family_title": pair.original.family.title,
        "layers": relation.layers,
        "equal": relation.equal,
        "difference": relation.difference,
        "related": relation.related,
    }


def _in_words(facts: dict[str, Any]) -> str:
    text = f"Both are {facts['family_title']}"
    if facts["equal"] == facts["layers"]:
        return f"{text}, and seem to be the same model: nothing differs."
    if not facts["related"]:
        return (f"{text}, but hardly related: they differ by {facts['difference']:.0%} of their "
                "weights.")  # fmt: skip
    return (f"{text}; {facts['equal'] / facts['layers']:.0%} of the layers are equal, and the "
            f"weights differ by about {facts['difference']:.1%}.")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
