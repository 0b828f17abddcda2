"""Say what a LoRA file is: `python -m scripts.inspect_lora FILE`.

`--json` prints the facts as one JSON object, `--events` as JSON lines for a window. `--spectrum`
adds what the LoRA would keep at smaller sizes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from scripts.command import run_command
from scripts.core.errors import SuiteError
from scripts.core.events import Control, Facts, Report
from scripts.core.flags import FlagParser
from scripts.tool_command import ONE_THREAD


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, look at the file, and return the exit code."""
    parser = FlagParser(prog="python -m scripts.inspect_lora", description=__doc__)
    parser.add_argument("model", type=Path, help="a LoRA file")
    parser.add_argument("--spectrum", action="store_true",
                        help="also tell what smaller sizes would keep")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    parser.add_argument("--events", action="store_true", help="write events as JSON lines")
    words = sys.argv[1:] if argv is None else argv
    try:
        options = parser.parse_args(words)
    except SuiteError as error:
        return run_command("inspect_lora", partial(_refuse, error), "--events" in words)

    def work(report: Report, control: Control) -> None:
        for variable in ONE_THREAD:
            os.environ.setdefault(variable, "1")
        from scripts.lora.inspect import facts_of  # NumPy: only when really looking
        from scripts.lora.modules import open_lora

        with open_lora(options.model) as lora:
            facts = facts_of(lora)
            if options.spectrum:
                from scripts.lora.spectrum import spectrum

                facts["spectrum"] = spectrum(lora, report, control)
        report(Facts(facts, None if options.json else _in_words(facts)))

    return run_command("inspect_lora", work, options.events)


def _in_words(facts: dict[str, Any]) -> str:
    """The facts for a terminal."""
    lines = [f"{facts['family_title'] or 'of an unknown kind'}, {facts['size_bytes'] / 1e6:.1f} MB"]
    for part, dims in facts["dims"].items():
        alphas = ", ".join(facts["alphas"][part])
        lines.append(f"  {part}: {facts['modules'][part]} layers, dim {', '.join(dims)}, "
                     f"alpha {alphas}")  # fmt: skip
    if facts["trigger_words"]:
        tags = ", ".join(f"{tag} ({count})" for tag, count in facts["trigger_words"])
        lines.append(f"  tags: {tags}")
    lines += [f"  {key.removeprefix('ss_')}: {value}" for key, value in facts["training"].items()]
    if spectrum := facts.get("spectrum"):
        rows = zip(spectrum["ranks"], spectrum["kept"], spectrum["bytes"], strict=True)
        lines += [f"  at dim {rank}: keeps {kept:.1%}, {size / 1e6:.1f} MB"
                  for rank, kept, size in rows]  # fmt: skip
    return "\n".join([*lines, *facts["problems"]])


def _refuse(error: SuiteError, _report: Report, _control: Control) -> None:
    raise error


if __name__ == "__main__":
    sys.exit(main())
