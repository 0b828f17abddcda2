"""Draw the versions of a LoRA at several strengths, to choose the best one:

    python -m scripts.draw_versions --model base.safetensors --loras a-000001.safetensors
        a.safetensors --strengths 0.6 0.8 1 --prompts "zyx, a cat" --save_to FOLDER

Every picture of a prompt begins with the same noise. The pictures, and for each prompt a sheet with
a row for each version and a column for each strength, go into the folder. Flags win over the config
file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.core.events import Control, Report
from scripts.settings.draw_versions import NOT_NEEDED, DrawSettings, read_draw_settings
from scripts.tool_command import run_tool


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, draw, and return the exit code."""
    return run_tool(
        "draw_versions", __doc__, DrawSettings, read_draw_settings, _work, argv, NOT_NEEDED,
        one_thread=False,
    )  # fmt: skip


def _work(settings: DrawSettings, report: Report, control: Control) -> Path:
    from scripts.drawing.versions import draw_versions  # torch: only when really drawing

    return draw_versions(settings, report, control)


if __name__ == "__main__":
    sys.exit(main())
