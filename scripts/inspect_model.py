"""Say what a base model is, from its head alone: `python -m scripts.inspect_model FILE`.

`--json` prints the facts as one JSON object, `--events` as JSON lines for a window. Standard
library only: the answer for a file of any size is there at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.command import refuse_command, run_command
from scripts.core.errors import SuiteError
from scripts.core.events import Control, Facts, Report
from scripts.core.flags import FlagParser
from scripts.models.recognise import BaseModel, recognise


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, look at the file, and return the exit code."""
    parser = FlagParser(prog="python -m scripts.inspect_model", description=__doc__)
    parser.add_argument("model", type=Path, help="a .safetensors or .ckpt file, or a folder")
    parser.add_argument("--vae", type=Path, help="the VAE file that is used in place of its own")
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    parser.add_argument("--events", action="store_true", help="write events as JSON lines")
    words = sys.argv[1:] if argv is None else argv
    try:
        options = parser.parse_args(words)
    except SuiteError as error:
        return refuse_command("inspect_model", error, words)

    def work(report: Report, _control: Control) -> None:
        base = recognise(options.model, options.vae)
        text = None if options.json else "\n".join((f"{base.title}.", *base.notes))
        report(Facts(facts_of(base), text))

    return run_command("inspect_model", work, options.events)


def facts_of(base: BaseModel) -> dict[str, Any]:
    """What is known of a base model as a JSON-able dict; `resolution` is the side in pixels."""
    return {
        "path": str(base.path),
        "title": base.title,
        "family": base.family.name,
        "layout": base.layout,
        "size_bytes": base.size_bytes,
        "v_prediction": base.v_prediction,
        "v_prediction_is_guess": base.v_prediction_is_guess,
        "zero_terminal_snr": base.zero_terminal_snr,
        "resolution": base.resolution,
        "notes": list(base.notes),
    }


if __name__ == "__main__":
    sys.exit(main())
