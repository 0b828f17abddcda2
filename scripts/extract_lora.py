"""Make a LoRA of what two models differ in: `python -m scripts.extract_lora --model_org A
--model_tuned B --save_to C --dim 64`. Both are checkpoints of SD1.x, SD2.x or SDXL.

The result is the best approximation of the difference that the size allows. Flags win over a
config file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.core.events import Control, Report
from scripts.settings.extract import NOT_NEEDED, ExtractSettings, read_extract_settings
from scripts.tool_command import run_tool


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, extract, and return the exit code."""
    return run_tool(
        "extract_lora", __doc__, ExtractSettings, read_extract_settings, _work, argv, NOT_NEEDED
    )


def _work(settings: ExtractSettings, report: Report, control: Control) -> Path:
    from scripts.lora.extract import extract  # NumPy: only when really extracting

    return extract(settings, report, control)


if __name__ == "__main__":
    sys.exit(main())
