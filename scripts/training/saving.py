"""When a LoRA or a state is saved, under which free name, and which older ones go."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from scripts.core.errors import SuiteError
from scripts.core.events import Report, Saved
from scripts.core.files import explain_os_error
from scripts.core.saved_names import NUMBERED, STATE, epoch_stem, name_of_state, step_stem
from scripts.settings.train import TrainSettings

if TYPE_CHECKING:  # it imports torch, and the plan does without
    from scripts.training.checkpoints import Position


TAGS_ENDING = "-tags.txt"


def free_output_name(settings: TrainSettings) -> str:
    """The output name, with -2, -3, ... behind it when an earlier result bears it already.

    A training that is resumed keeps the name that its state bears, unless it had been finished.
    """
    name, number = settings.output_name, 1
    while _taken(settings, name):
        number += 1
        name = f"{settings.output_name}-{number}"
    return name


def _taken(settings: TrainSettings, name: str) -> bool:
    folder = settings.output_dir
    if folder is None or not folder.is_dir():
        return False
    result = folder / f"{name}.{settings.save_model_as}"
    if result.exists() or _held_by_another(_mark(folder, name)):
        return True
    own = settings.resume and name_of_state(settings.resume)
    if own and own.lower() == name.lower():  # as Windows compares names
        return False
    ending = rf"{NUMBERED}({STATE}|\.{settings.save_model_as})|{STATE}|{TAGS_ENDING}"
    pattern = re.compile(f"{re.escape(name)}({ending})", re.IGNORECASE)
    return any(pattern.fullmatch(entry.name) for entry in folder.iterdir())


def _mark(folder: Path, name: str) -> Path:
    """The file that says that a running training will save under `name`."""
    return folder / f".{name}.in-use"


def _held_by_another(mark: Path) -> bool:
    """Whether a training that still runs holds the mark; one that crashed does not."""
    try:
        process, _, started = mark.read_text().partition(" ")
        holder = psutil.Process(int(process))
        still_it = f"{holder.create_time():.0f}" == started  # the number may be another's by now
    except (OSError, ValueError, psutil.Error):
        return False
    return still_it and holder.pid != os.getpid()


@contextmanager
def output_name_held(settings: TrainSettings) -> Iterator[str]:
    """Hold a free output name for this training, so that no other one takes it meanwhile.

    Raises SuiteError when the output folder cannot be written to.
    """
    while True:
        name = free_output_name(settings)
        mark = _mark(settings.output_dir, name)
        try:
            if mark.exists() and not _held_by_another(mark):
                mark.unlink()
            with mark.open("x") as file:
                file.write(f"{os.getpid()} {psutil.Process().create_time():.0f}")
            break
        except FileExistsError:  # another training was faster
            time.sleep(0.05)
        except OSError as error:
            raise SuiteError(explain_os_error(error, mark)) from error
    try:
        yield name
    finally:
        with suppress(OSError):
            mark.unlink()


@dataclass
class Saver:
    """Saves LoRAs and states at the right moments and removes this run's outdated ones.

    `write_lora(path, position)` and `write_state(folder, position)` do the writing.
    """

    settings: TrainSettings
    epochs: int
    report: Report
    write_lora: Callable[[Path, Position], None]
    write_state: Callable[[Path, Position], None]

    def __post_init__(self) -> None:
        self._by_epoch: list[tuple[int, list[Path]]] = []
        self._by_step: list[tuple[int, list[Path]]] = []

    @property
    def every_n_epochs(self) -> int | None:
        """Save after every so many epochs; None for never. A ratio of n means n saves in all."""
        ratio = self.settings.save_n_epoch_ratio
        return max(1, self.epochs // ratio) if ratio else self.settings.save_every_n_epochs

    def saves_after(self, position: Position) -> bool:
        """Whether this step is one to save at."""
        every = self.settings.save_every_n_steps
        return bool(every) and position.step % every == 0

    def after_step(self, position: Position, steps: int) -> None:
        """Save if this step is one to save at; the last step is saved as the result itself."""
        if not self.saves_after(position) or position.step == steps:
            return
        made = self._save(step_stem(self.settings.output_name, position.step), position)
        self._by_step.append((position.step, made))
        if self.settings.save_last_n_steps is not None:
            self._remove(self._by_step, position.step - self.settings.save_last_n_steps)

    def after_epoch(self, position: Position) -> None:
        """Save if this epoch is one to save at; the last epoch is saved as the result itself."""
        every = self.every_n_epochs
        if not every or position.epoch % every or position.epoch >= self.epochs:
            return
        made = self._save(epoch_stem(self.settings.output_name, position.epoch), position)
        self._by_epoch.append((position.epoch, made))
        if self.settings.save_last_n_epochs is not None:
            self._remove(self._by_epoch, position.epoch - self.settings.save_last_n_epochs * every)

    def now(self, position: Position) -> tuple[Path, Path]:
        """Save LoRA and state at once, because someone asked; where they are."""
        made = self._save(
            step_stem(self.settings.output_name, position.step), position, with_state=True
        )
        return made[0], made[1]

    def result(self, position: Position) -> Path:
        """Save the finished LoRA, and the state if states are saved."""
        return self._save(self.settings.output_name, position)[0]

    def _save(self, stem: str, position: Position, with_state: bool = False) -> list[Path]:
        folder = self.settings.output_dir
        lora = folder / f"{stem}.{self.settings.save_model_as}"
        self.write_lora(lora, position)
        self.report(Saved(str(lora)))
        if not (self.settings.save_state or with_state):
            return [lora]
        state = folder / f"{stem}{STATE}"
        self.write_state(state, position)
        self.report(Saved(str(state), what="state"))
        return [lora, state]

    @staticmethod
    def _remove(saves: list[tuple[int, list[Path]]], last_outdated: int) -> None:
        """Remove what this run saved up to and with `last_outdated`, as the settings ask for."""
        while saves and saves[0][0] <= last_outdated:
            for path in saves.pop(0)[1]:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
