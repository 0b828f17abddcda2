"""The files of previews: their names, and the text in them that says how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from scripts.core.files import replace_atomically
from scripts.training.prompts import Prompt


def preview_stem(output_name: str, *, epoch: int | None = None, step: int = 0) -> str:
    """How the names of a round of previews begin, as sd-scripts writes it.

    `<output_name>_e000001` after an epoch, `<output_name>_000100` after a step.
    """
    return f"{output_name}_e{epoch:06d}" if epoch is not None else f"{output_name}_{step:06d}"


def preview_name(stem: str, prompt: Prompt, moment: str) -> str:
    """The whole name: `<stem>_<number of the prompt>_<moment>_<seed>.png`, as sd-scripts'."""
    return f"{stem}_{prompt.number:02d}_{moment}_{prompt.seed}.png"


def write_picture(path: Path, pixels: np.ndarray, parameters: str) -> None:
    """Write (height, width, 3) uint8 as a PNG with `parameters` as its text, atomically.

    Raises SuiteError when the disk is full or the place cannot be written to.
    """
    information = PngInfo()
    information.add_text("parameters", parameters)
    with replace_atomically(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", pnginfo=information)


def picture_parameters(prompt: Prompt, sampler_title: str, more: Mapping[str, Any]) -> str:
    """How a picture was made, as the web interfaces write it into PNG files and read it.

    `more` is put at the end of the last line; what is None is left out.
    """
    facts = {
        "Steps": prompt.steps, "Sampler": sampler_title, "CFG scale": f"{prompt.guidance:g}",
        "Seed": prompt.seed, "Size": f"{prompt.width}x{prompt.height}", **more,
    }  # fmt: skip
    lines = [prompt.text]
    if prompt.negative:
        lines.append(f"Negative prompt: {prompt.negative}")
    lines.append(", ".join(f"{name}: {fact}" for name, fact in facts.items() if fact is not None))
    return "\n".join(lines)
