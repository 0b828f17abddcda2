"""Which pictures a grid of versions and strengths has, how they are called, and its sheets."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scripts.drawing.lora_versions import Version
from scripts.drawing.sheet import Row, write_sheet
from scripts.training.preview_files import preview_name
from scripts.training.prompts import Prompt

PROMPT_WIDTH, PROMPT_LINES = 88, 3  # of the prompt on a sheet
WITHOUT = "without"


@dataclass(frozen=True)
class Cell:
    """One picture: the version (None: the base model alone), its strength, the prompt; the first
    and the last as places in their lists."""

    version: int | None
    strength: float
    prompt: int


@dataclass(frozen=True)
class Grid:
    """All pictures of a drawing: each version at each strength, for each prompt.

    Strength 0 is the same for all versions and is drawn once. `moment` is part of every name, so
    that a second drawing never writes over the first.
    """

    folder: Path
    versions: tuple[Version, ...]
    strengths: tuple[float, ...]
    prompts: tuple[Prompt, ...]
    moment: str

    def cells(self) -> list[Cell]:
        """The pictures in the order in which they are drawn: version by version."""
        prompts = range(len(self.prompts))
        alone = [Cell(None, 0.0, prompt) for prompt in prompts if 0 in self.strengths]
        return alone + [
            Cell(version, strength, prompt)
            for version in range(len(self.versions))
            for strength in self.strengths
            if strength != 0
            for prompt in prompts
        ]

    def path_of(self, cell: Cell) -> Path:
        """Where the picture is written."""
        stem = WITHOUT
        if cell.version is not None:
            stem = f"{self.versions[cell.version].label}_{cell.strength:g}"
        return self.folder / preview_name(stem, self.prompts[cell.prompt], self.moment)

    def sheet_of(self, prompt: int) -> Path:
        """Where the sheet of a prompt is written."""
        number = f"_{prompt:02d}" if len(self.prompts) > 1 else ""
        return self.folder / f"versions{number}_{self.moment}.png"

    def write_sheets(self, drawn: Mapping[Cell, Path], model: str) -> list[Path]:
        """Write the sheet of each prompt that has pictures; missing ones stay empty.

        `model` is the name of the base model. Raises SuiteError when a sheet cannot be written.
        """
        written = []
        for number, prompt in enumerate(self.prompts):
            if not any(cell.prompt == number for cell in drawn):
                continue
            headings = [f"strength {one:g}" if one else WITHOUT for one in self.strengths]
            how = f"Seed {prompt.seed}, {prompt.steps} steps, guidance {prompt.guidance:g}, {model}"
            notes = [*_lines(prompt.text), how]
            path = self.sheet_of(number)
            rows = self._rows(drawn, number)
            write_sheet(path, rows, headings, "Versions and strengths", notes, captions_left=True)
            written.append(path)
        return written

    def _rows(self, drawn: Mapping[Cell, Path], prompt: int) -> list[Row]:
        def strip(version: int, strength: float) -> list[np.ndarray | None]:
            cell = Cell(version if strength else None, strength or 0.0, prompt)
            return [_pixels(drawn[cell]) if cell in drawn else None]

        labels = [version.label for version in self.versions] or ["base model"]
        return [
            Row(label, [strip(number, strength) for strength in self.strengths])
            for number, label in enumerate(labels)
        ]

    def facts(self, drawn: Mapping[Cell, Path], sheets: Sequence[Path]) -> dict[str, Any]:
        """The table as a JSON-able dict: what was drawn with which file, strength and prompt."""
        pictures = [
            {
                "lora": None if cell.version is None else str(self.versions[cell.version].path),
                "strength": cell.strength,
                "prompt": self.prompts[cell.prompt].text,
                "seed": self.prompts[cell.prompt].seed,
                "path": str(path),
            }
            for cell, path in drawn.items()
        ]
        return {
            "loras": [str(version.path) for version in self.versions],
            "labels": [version.label for version in self.versions],
            "strengths": list(self.strengths),
            "prompts": [prompt.text for prompt in self.prompts],
            "pictures": pictures,
            "sheets": [str(path) for path in sheets],
        }


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _lines(text: str) -> list[str]:
    return textwrap.wrap(text, PROMPT_WIDTH, max_lines=PROMPT_LINES, placeholder=" ...") or ["-"]
