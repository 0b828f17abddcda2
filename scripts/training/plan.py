"""What a training run will be, worked out before anything heavy is loaded (no torch).

`make_plan` reads the header of the base model and the folders of pictures, fills in what was not
set and can be known, and counts batches, epochs and steps. Training follows the plan, so what
`python -m scripts.train --plan` prints is what happens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.declare import as_config
from scripts.core.errors import SettingError, SettingErrors, SuiteError
from scripts.dataset.dataset import Batch, Dataset
from scripts.lora.blocks import block_sizes, rate_groups
from scripts.models.recognise import BaseModel, recognise
from scripts.models.vae_file import recognise_vae
from scripts.settings.train import TrainSettings
from scripts.training.optimizer_choice import validate_optimizer
from scripts.training.prompts import read_prompts
from scripts.training.samplers import sampler_named
from scripts.training.saving import free_output_name
from scripts.training.schedules import learning_rates, read_schedule
from scripts.training.unused_weightings import unused_weightings

MOST_RATES = 20_000  # of each group in the JSON of a plan: enough for any curve on a screen


@dataclass(frozen=True)
class Amount:
    """How much is trained. A step is one change of the weights, over all processes together."""

    batches_per_epoch: int
    steps_per_epoch: int
    epochs: int
    steps: int


@dataclass(frozen=True)
class Plan:
    """A training run before it begins. `settings` has everything filled in that was guessed."""

    settings: TrainSettings
    base: BaseModel
    dataset: Dataset
    amount: Amount
    processes: int
    guesses: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def with_dataset(self, dataset: Dataset) -> Plan:
        """The same plan for a data set from which damaged pictures were left out."""
        amount = count_steps(self.settings, dataset.batches_per_epoch, self.processes)
        return dataclasses.replace(self, dataset=dataset, amount=amount)

    def batches(self, epoch: int) -> list[Batch]:
        """The batches of `epoch` (from 1), of all processes together; a pure function."""
        first_step = (epoch - 1) * self.amount.steps_per_epoch
        pace = 1 / (self.settings.gradient_accumulation_steps * self.processes)
        return self.dataset.epoch(epoch, first_step, pace, self.amount.steps)

    def as_dict(self) -> dict[str, Any]:
        """The plan as one JSON-able object, for the wizard and for people.

        `learning_rates` are those of each `learning_rates_every`-th step, beginning with the
        first: of every step, unless there are more than MOST_RATES.
        """
        every = math.ceil(self.amount.steps / MOST_RATES)
        groups = {
            group.name: group.rate for group in rate_groups(self.settings, self.base.family.name)
        }
        return {
            "base_model": {
                "path": str(self.base.path),
                "family": self.base.family.name,
                "title": self.base.title,
                "v_prediction": bool(self.settings.v_parameterization),
            },
            **self.dataset.plan(),
            **dataclasses.asdict(self.amount),
            "learning_rates": learning_rates(self.settings, self.amount.steps, groups, every),
            "learning_rates_every": every,
            "settings": as_config(self.settings),
            "guesses": list(self.guesses),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def make_plan(settings: TrainSettings, processes: int = 1, output_name: str | None = None) -> Plan:
    """The plan for `settings` on so many processes.

    `output_name` is a name that this training holds already; without it a free one is looked for.
    Raises SettingErrors or SuiteError naming everything that keeps the run from starting.
    """
    _check_paths(settings)
    base = _recognise(settings)
    # They are about what the model predicts, which the user may have said.
    base_notes = base.notes if settings.v_parameterization is None else ()
    settings, guesses = fill_in(settings, base)
    output_name = output_name or free_output_name(settings)
    if output_name != settings.output_name:
        guesses.append(f"The LoRA is saved as {output_name}: {settings.output_name} is taken in "
                       "the output folder.")  # fmt: skip
        settings = dataclasses.replace(settings, output_name=output_name)
    notes = _check_parts(settings, base)
    side = base.family.resolution(settings.v_parameterization)
    dataset = Dataset.from_settings(settings, default_resolution=(side, side))
    if dataset.batches_per_epoch == 0:
        raise SettingError("train_data_dir", "No picture can be used for training. Look at the "
                           "names of the folders and at the pictures.")  # fmt: skip
    amount = count_steps(settings, dataset.batches_per_epoch, processes)
    return Plan(
        settings,
        base,
        dataset,
        amount,
        processes,
        guesses=(*guesses, *dataset.guesses),
        warnings=(*_warnings(settings, base, amount), *dataset.warnings),
        notes=(
            *base_notes, *notes, *read_schedule(settings, amount.steps)[1], *dataset.notes,
        ),
    )  # fmt: skip


def _recognise(settings: TrainSettings) -> BaseModel:
    """The base model. Raises SettingError of the file that is wrong: the VAE's or the model's."""
    name = "vae"
    try:
        if settings.vae is not None:
            recognise_vae(settings.vae)
        name = "pretrained_model_name_or_path"
        return recognise(settings.pretrained_model_name_or_path, settings.vae)
    except SettingError:
        raise
    except SuiteError as error:
        raise SettingError(name, str(error)) from error


def fill_in(settings: TrainSettings, base: BaseModel) -> tuple[TrainSettings, list[str]]:
    """Fill in what the base model tells, and say why.

    Raises SettingError when a setting says something else than the file.
    """
    guesses: list[str] = []
    known: dict[str, Any] = {}
    is_v2 = base.family.name == "sd2"
    if settings.v2 is not None and settings.v2 != is_v2:
        raise SettingError("v2", f"v2 is {str(settings.v2).lower()}, but the base model is "
                           f"{base.family.title}. Remove v2 or choose another model.")  # fmt: skip
    known["v2"] = is_v2
    if settings.v_parameterization is None:
        known["v_parameterization"] = bool(base.v_prediction)
        if base.v_prediction:
            guesses.append("v_parameterization is on: the base model is a v-prediction model.")
    elif (
        base.v_prediction is not None
        and not base.v_prediction_is_guess
        and settings.v_parameterization != base.v_prediction
    ):
        kind = "a v-prediction model" if base.v_prediction else "not a v-prediction model"
        raise SettingError("v_parameterization", f"The base model is {kind}, but "
                           f"v_parameterization is {str(settings.v_parameterization).lower()}. "
                           "Remove v_parameterization.")  # fmt: skip
    if base.zero_terminal_snr and not settings.zero_terminal_snr:
        known["zero_terminal_snr"] = True
        guesses.append("zero_terminal_snr is on: the base model was made with it.")
    if settings.resolution is None and settings.dataset_config is None:
        is_velocity = known.get("v_parameterization", settings.v_parameterization)
        side = base.family.resolution(is_velocity)
        known["resolution"] = (side, side)
        guesses.append(f"The resolution is {side}: what {base.family.title} was made for.")
    if settings.network_alpha is None and not settings.dim_from_weights:
        known["network_alpha"] = settings.alpha
        guesses.append(f"network_alpha is {settings.alpha:g}: half of network_dim.")
    return dataclasses.replace(settings, **known), guesses


def count_steps(settings: TrainSettings, batches: int, processes: int) -> Amount:
    """Epochs and steps from the number of batches an epoch, as sd-scripts counts them.

    A process takes every `processes`-th batch; `gradient_accumulation_steps` batches make a step,
    and what is left at the end of an epoch makes one too. `max_train_epochs` goes before
    `max_train_steps`.
    """
    per_process = math.ceil(batches / processes)
    steps_per_epoch = math.ceil(per_process / settings.gradient_accumulation_steps)
    if settings.max_train_epochs is not None:
        epochs = settings.max_train_epochs
        steps = epochs * steps_per_epoch
    else:
        steps = settings.max_train_steps
        epochs = math.ceil(steps / steps_per_epoch)
    return Amount(batches, steps_per_epoch, epochs, steps)


def _check_parts(settings: TrainSettings, base: BaseModel) -> list[str]:
    """Look at block weights, schedule, optimiser and prompts for their errors; their notes.

    Raises SettingErrors with the errors of all of them.
    """
    checks: list[Callable[[], Any]] = [
        lambda: block_sizes(settings, base.family.name),
        lambda: rate_groups(settings, base.family.name),
        lambda: read_schedule(settings, settings.max_train_steps)[0],
        lambda: validate_optimizer(settings),
        lambda: unused_weightings(settings, bool(settings.v_parameterization)),
        lambda: sampler_named(settings.sample_sampler),
        lambda: _check_prompts(settings),
    ]
    errors, notes = [], []
    for check in checks:
        try:
            found = check()
        except SettingError as error:
            errors.append(error)
            continue
        except SettingErrors as several:
            errors += several.errors
            continue
        if isinstance(found, list) and all(isinstance(note, str) for note in found):
            notes += found
    if errors:
        raise SettingErrors(list({error.setting: error for error in errors}.values()))
    return notes


def _check_prompts(settings: TrainSettings) -> None:
    if settings.sample_prompts is not None:
        read_prompts(settings.sample_prompts, settings.resolution or (512, 512), settings.seed)


def _check_paths(settings: TrainSettings) -> None:
    """Report every input path that is not there, all at once."""
    errors = []
    needed = {"pretrained_model_name_or_path": "file or folder",
              "vae": "file or folder", "train_data_dir": "folder", "reg_data_dir": "folder",
              "dataset_config": "file", "network_weights": "file", "resume": "folder",
              "conditioning_data_dir": "folder"}  # fmt: skip
    for name, kind in needed.items():
        path: Path | None = getattr(settings, name)
        if path is None:
            continue
        if not path.exists():
            missing = {"folder": f"There is no folder {path}.", "file": f"There is no file {path}."}
            sentence = missing.get(kind, f"There is no file or folder {path}.")
            errors.append(SettingError(name, f"{sentence} Choose it again."))
        elif kind == "folder" and not path.is_dir():
            errors.append(SettingError(name, f"{path} is a file, not a folder. Choose a folder."))
        elif kind == "file" and not path.is_file():
            errors.append(SettingError(name, f"{path} is a folder, not a file. Choose a file."))
    prompts = settings.sample_prompts
    if isinstance(prompts, Path) and not prompts.is_file():
        errors.append(SettingError("sample_prompts", f"There is no file {prompts}. "
                                   "Choose it again."))  # fmt: skip
    if errors:
        raise SettingErrors(errors)


def _warnings(settings: TrainSettings, base: BaseModel, amount: Amount) -> list[str]:
    warnings = []
    if settings.clip_skip and settings.clip_skip > 1 and base.family.name == "sdxl":
        warnings.append("clip_skip is not used with SDXL, which always takes the layer before "
                        "the last.")  # fmt: skip
    if settings.network_dim < settings.alpha:
        warnings.append(f"network_alpha {settings.alpha:g} is above network_dim "
                        f"{settings.network_dim}: the training may burn. Half of dim is "
                        "usual.")  # fmt: skip
    when = (settings.sample_every_n_steps, settings.sample_every_n_epochs)
    if settings.sample_prompts and not any((*when, settings.sample_at_first)):
        warnings.append("There are prompts for previews, but no time to draw them: set "
                        "sample_every_n_epochs, for example to 1.")  # fmt: skip
    if any(when) and not settings.sample_prompts:
        warnings.append("No previews are drawn: there are no prompts for them. Set "
                        "sample_prompts.")  # fmt: skip
    if amount.steps < amount.steps_per_epoch:
        warnings.append(f"The training ends after {amount.steps} of the {amount.steps_per_epoch} "
                        "steps of one epoch: some pictures are never seen.")  # fmt: skip
    return warnings
