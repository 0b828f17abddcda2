"""Make a LoRA of what two models differ in: `python -m scripts.extract_lora --model_org A
--model_tuned B --save_to C --dim 64`. Both are checkpoints of SD1.x, SD2.x or SDXL.

The result is the best approximation of the difference that the size allows. `--queue FILE` names
a list of sizes; a LoRA of each is saved in the folder `--save_to`. Flags win over a config file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scripts.core.errors import Cancelled, SettingError
from scripts.core.events import Control, Report
from scripts.core.files import WEIGHT_ENDINGS, check_output_file
from scripts.settings.extract import NOT_NEEDED, ExtractSettings, read_extract_settings
from scripts.settings.resize import size_title
from scripts.tool_command import run_tool


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, extract, and return the exit code."""
    return run_tool(
        "extract_lora", __doc__, ExtractSettings, read_extract_settings, _work, argv, NOT_NEEDED
    )


def _work(settings: ExtractSettings, report: Report, control: Control) -> Path:
    from scripts.lora.extract import extract  # NumPy: only when really extracting

    if settings.queue is None:
        return extract(settings, report, control)
    jobs, made = _jobs(settings), 0
    try:
        for job in jobs:
            extract(job, report, control)
            made += 1
    except Cancelled as stopped:
        if not made:
            raise
        raise Cancelled(f"Stopped: {made} of {len(jobs)} files were made.") from stopped
    return settings.save_to.absolute()


def _jobs(settings: ExtractSettings) -> list[ExtractSettings]:
    """An extraction for each size of the list. Raises SettingError before anything is made."""
    from scripts.lora.size_queue import extract_dims

    if settings.save_to.suffix.lower() in WEIGHT_ENDINGS:
        raise SettingError("save_to", f"Several files are made, and {settings.save_to.name} is one "
                           "file. Give a folder.")  # fmt: skip
    jobs = []
    for dim, conv_dim in extract_dims(settings.queue):
        title = size_title(dim, None, settings.dynamic_method, settings.dynamic_param)
        title += "" if conv_dim is None else f"-conv{conv_dim}"  # without: no convolutions at all
        path = settings.save_to / f"{settings.model_tuned.stem}-{title}.safetensors"
        jobs.append(replace(settings, dim=dim, conv_dim=conv_dim, save_to=path, queue=None))
    for job in jobs:
        check_output_file(
            job.result, [settings.model_org, settings.model_tuned], settings.overwrite
        )
    return jobs


if __name__ == "__main__":
    sys.exit(main())
