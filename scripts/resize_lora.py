"""Make LoRAs smaller: `python -m scripts.resize_lora --model A.safetensors --new_rank 32`.

What is kept is the best approximation that the new size allows. Several sizes (--new_rank 8,16,32),
several files and whole folders are done in one go. Flags win over the config file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.core.events import Control, Report
from scripts.settings.resize import NOT_NEEDED, ResizeSettings, read_resize_settings
from scripts.tool_command import run_tool


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, resize, and return the exit code."""
    return run_tool(
        "resize_lora", __doc__, ResizeSettings, read_resize_settings, _work, argv, NOT_NEEDED
    )


def _work(settings: ResizeSettings, report: Report, control: Control) -> Path:
    from scripts.lora.resize_jobs import resize  # NumPy: only when really resizing

    return resize(settings, report, control)


if __name__ == "__main__":
    sys.exit(main())
