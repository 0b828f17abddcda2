"""Merge LoRAs into one, or into a checkpoint: `python -m scripts.merge_lora --models A B
--ratios 0.7 0.3 --save_to C`. `--sd_model base.safetensors` makes a checkpoint.

The result is the true weighted sum of what the LoRAs do. Flags win over a config file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.core.events import Control, Report
from scripts.settings.merge import NOT_NEEDED, MergeSettings, read_merge_settings
from scripts.tool_command import run_tool


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, merge, and return the exit code."""
    return run_tool(
        "merge_lora", __doc__, MergeSettings, read_merge_settings, _work, argv, also=NOT_NEEDED
    )


def _work(settings: MergeSettings, report: Report, control: Control) -> Path:
    if settings.sd_model is not None:
        from scripts.lora.merge_checkpoint import merge_into_checkpoint

        return merge_into_checkpoint(settings, report, control)
    from scripts.lora.merge import merge_loras

    return merge_loras(settings, report, control)


if __name__ == "__main__":
    sys.exit(main())
