"""The practice bake: train a small LoRA on the model that comes along, and show that it worked.

`python -m scripts.practice [FOLDER]` draws pictures of something that the practice model has never
seen, trains a LoRA for the trigger word "zyx" on them with the ordinary engine, draws the same
prompts and seeds with and without it, and writes the contact sheet. It is the proof that an
installation works, from the pictures to the finished file.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts.command import run_command
from scripts.core.errors import SuiteError
from scripts.core.events import Control, Done, Event, Note, Report, Saved, Stage
from scripts.core.files import OUTPUT_FOLDER, check_output_folder
from scripts.drawing.sheet import Row, write_sheet
from scripts.practice.draw import (
    CONCEPT_BACKGROUNDS,
    TRIGGER,
    Scene,
    draw_practice_set,
    held_out_scenes,
)
from scripts.practice.judge import shows_concept, shows_scene
from scripts.settings.train import read_train_settings

BASE_MODEL = Path(__file__).with_name("base.safetensors")
DEFAULT_FOLDER = OUTPUT_FOLDER / "practice"
SHEET_NAME = "contact_sheet.png"
PICTURES = 60  # drawn for each of the three shares
AT_ONCE = 30
STEPS, GUIDANCE = 20, 1.5
FIRST_SEED = 1000
MOST_BEFORE, LEAST_AFTER, LEAST_KEPT = 0.10, 0.75, 0.85
SHEET_COLUMNS = 4  # pictures of each prompt on the sheet
SETTINGS: dict[str, Any] = {
    "resolution": 64,
    "min_bucket_reso": 64,
    "max_bucket_reso": 64,
    "network_dim": 8,
    "network_alpha": 4,
    "learning_rate": 2e-3,
    "optimizer_type": "AdamW",
    "lr_scheduler": "cosine",
    "train_batch_size": 8,
    "max_train_steps": 400,
    "output_name": TRIGGER,
    "training_comment": "practice bake of Easy LoRA",
}


@dataclass(frozen=True)
class Shares:
    """What the practice bake measured, each from 0 to 1.

    `before` and `after`: pictures with the trigger word that show the concept, without and with
    the LoRA. `kept`: pictures without the trigger word whose figure and colours are right with
    the LoRA. `pictures` is the number of pictures behind each.
    """

    before: float
    after: float
    kept: float
    pictures: int

    @property
    def good(self) -> bool:
        """Whether the LoRA learned the concept and left the rest alone."""
        return self.before <= MOST_BEFORE and self.after >= LEAST_AFTER and self.kept >= LEAST_KEPT


@dataclass(frozen=True)
class Drawn:
    """Pictures, each (64, 64, 3) uint8, and whether each shows what it should."""

    pictures: list[np.ndarray]
    right: list[bool]

    @property
    def share(self) -> float:
        """The share of pictures that show what they should."""
        return sum(self.right) / len(self.right)


def bake(folder: Path, report: Report, control: Control) -> Shares:
    """Draw, train, render, measure; the contact sheet and the LoRA are written into `folder`.

    Raises SuiteError when the folder cannot be used, and when the LoRA did not learn.
    """
    began = time.monotonic()
    check_output_folder(folder, "folder")
    report(Stage("Drawing the practice pictures"))
    draw_practice_set(folder / "pictures")
    lora = _train(folder, report, control)
    prompts, scenes = trigger_prompts(PICTURES), ordinary_scenes(PICTURES)
    before, after, ordinary = _draw(lora, prompts, scenes, report, control)
    shares = Shares(before.share, after.share, ordinary.share, PICTURES)
    sheet = folder / SHEET_NAME
    _write_sheet(sheet, prompts, before, after, shares)
    report(Saved(str(sheet), what="sheet"))
    report(Note(f'Of {PICTURES} pictures for "{TRIGGER}" show what was taught: before '
                f"{shares.before:.0%}, after {shares.after:.0%}. Other prompts are still right in "
                f"{shares.kept:.0%}."))  # fmt: skip
    if not shares.good:
        raise SuiteError(
            "The practice LoRA did not turn out as it should. What was taught shows in "
            f"{shares.before:.0%} of the pictures without it (at most {MOST_BEFORE:.0%} are "
            f"expected) and in {shares.after:.0%} with it (at least {LEAST_AFTER:.0%}); "
            f"{shares.kept:.0%} of the other prompts are right (at least {LEAST_KEPT:.0%}). "
            "Run setup again; if it stays so, send the newest file in logs."
        )
    report(Done(str(sheet), time.monotonic() - began))
    return shares


def trigger_prompts(count: int) -> list[str]:
    """Prompts for the concept, on each of the backgrounds in turn."""
    grounds = len(CONCEPT_BACKGROUNDS)
    return [f"{TRIGGER}, {CONCEPT_BACKGROUNDS[n % grounds]} background" for n in range(count)]


def ordinary_scenes(count: int) -> list[Scene]:
    """Scenes without the concept that the base model has not seen, spread over all there are."""
    scenes = held_out_scenes()
    return [scenes[number * len(scenes) // count] for number in range(count)]


def _train(folder: Path, report: Report, control: Control) -> Path:
    """Train with the ordinary engine and the ordinary settings; the LoRA file."""
    import torch

    from scripts.training.start import train

    torch.set_num_threads(1)  # so small a model gains nothing from more, and a busy PC loses much
    settings, _ = read_train_settings(
        {
            **SETTINGS,
            "pretrained_model_name_or_path": BASE_MODEL,
            "train_data_dir": folder / "pictures",
            "output_dir": folder,
        }
    )

    def without_done(event: Event) -> None:  # the bake is not done when the training is
        if not isinstance(event, Done):
            report(event)

    return train(settings, without_done, control)


def _draw(
    lora: Path, prompts: list[str], scenes: list[Scene], report: Report, control: Control
) -> tuple[Drawn, Drawn, Drawn]:
    """Draw with the finished file: trigger prompts without and with it, ordinary ones with it."""
    from scripts.practice.renderer import Renderer

    renderer = Renderer(BASE_MODEL, lora)
    jobs = [("without the LoRA", prompts, 0.0), ("with the LoRA", prompts, 1.0),
            ("other prompts", [scene.caption for scene in scenes], 1.0)]  # fmt: skip
    found = []
    for name, asked, strength in jobs:
        pictures: list[np.ndarray] = []
        for begin in range(0, len(asked), AT_ONCE):
            control.check()
            report(Stage(f"Drawing {name}", begin, len(asked)))
            seeds = range(FIRST_SEED + begin, FIRST_SEED + min(begin + AT_ONCE, len(asked)))
            some = asked[begin : begin + AT_ONCE]
            pictures += list(renderer.draw(some, list(seeds), strength, STEPS, GUIDANCE))
        report(Stage(f"Drawing {name}", len(asked), len(asked)))
        found.append(pictures)
    before, after, ordinary = found
    return (
        Drawn(before, [shows_concept(picture) for picture in before]),
        Drawn(after, [shows_concept(picture) for picture in after]),
        Drawn(ordinary, [shows_scene(*pair) for pair in zip(ordinary, scenes, strict=True)]),
    )


def _write_sheet(
    path: Path,
    prompts: list[str],
    before: Drawn,
    after: Drawn,
    shares: Shares,
) -> None:
    rows = []
    grounds = len(CONCEPT_BACKGROUNDS)
    for first in range(grounds):
        places = range(first, first + grounds * SHEET_COLUMNS, grounds)
        rows.append(_row(prompts[first], places, before, after))
    write_sheet(
        path,
        rows,
        ["without the LoRA", "with the LoRA"],
        f'Practice bake: the new word "{TRIGGER}"',
        [
            f"Same prompts and seeds. Green frame: shows what was taught. Before "
            f"{shares.before:.0%}, after {shares.after:.0%} of {shares.pictures} pictures.",
            f"Prompts without the word are still right in {shares.kept:.0%}.",
        ],
    )


def _row(prompt: str, places: Sequence[int], *columns: Drawn) -> Row:
    return Row(
        prompt,
        [[column.pictures[place] for place in places] for column in columns],
        [[column.right[place] for place in places] for column in columns],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, bake, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m easy_scripts practice", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT_FOLDER,
                        help="where pictures, LoRA and contact sheet go; default: "
                        "output/practice in the project folder")  # fmt: skip
    parser.add_argument("--events", action="store_true",
                        help="write events as JSON lines, read requests from stdin")  # fmt: skip
    options = parser.parse_args(argv)
    return run_command(
        "practice", lambda report, control: bake(options.folder, report, control), options.events
    )
