"""Ten steps to see how long a training takes: `python -m scripts.train --config run.json --trial`.

The models are loaded and the steps taken as the training would, but around random latents: no
picture is encoded and nothing is written but the pace, which the next advice goes by. On a
graphics card the trial then looks for the largest batch that fits.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from scripts.console import show_seconds
from scripts.core.errors import SettingError, SuiteError
from scripts.core.events import Control, Event, Facts, Report, Stage
from scripts.core.files import CACHE_FOLDER
from scripts.settings.calibration import PACES_NAME, Pace, read
from scripts.settings.train import TrainSettings
from scripts.training.batch_search import Measured, Tried, largest_fitting
from scripts.training.device import (
    choose_formats,
    describe_device,
    is_out_of_memory,
    make_accelerator,
    too_little_memory,
)
from scripts.training.freed_memory import keep_freed_memory
from scripts.training.paces import keep_paces, pace_of
from scripts.training.plan import Plan, make_plan
from scripts.training.trial_steps import Trial, prepare_trial

# What does not belong to the steps. A state or a file of prompts may not even be there any more.
LEFT_OUT = {"resume": None, "sample_prompts": None, "sample_every_n_epochs": None,
            "sample_every_n_steps": None, "sample_at_first": False,
            "logging_dir": None}  # fmt: skip
ON_A_PROCESSOR = "On a processor a larger batch gains nothing."

log = logging.getLogger(__name__)


def run_trial(settings: TrainSettings, report: Report, control: Control) -> dict[str, Any]:
    """Take ten steps as the settings say and report what they cost, as one Facts event.

    The facts, which are returned too: `device`; `batch`, the pictures at once that were set, and
    `batches_in_step`, gradient_accumulation_steps; `seconds_per_step`, `seconds_per_picture` and
    `memory_bytes` there (None where the memory ran out, bytes also on a processor); `steps` and
    `seconds` of the whole training; `largest_batch` that fits (None: not looked for, 0: none),
    what was `tried`, and a `note` or None.

    Raises SuiteError for what the user can mend (too little memory among it), and Cancelled.
    """
    settings = dataclasses.replace(settings, **LEFT_OUT)
    formats = choose_formats(settings)
    accelerator = make_accelerator(formats)
    if accelerator.num_processes > 1:
        raise SuiteError("A trial runs in one process. Start it without accelerate launch.")
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    plan = make_plan(settings, output_name=settings.output_name)

    def stages_only(event: Event) -> None:
        if isinstance(event, Stage):
            report(event)

    try:
        trial = prepare_trial(plan, formats, accelerator, stages_only, control)
        measured, tried = trial.carry_out()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        log.exception("out of memory")
        raise SuiteError(too_little_memory(accelerator.device)) from error
    finally:
        accelerator.end_training()
    facts = _facts(plan, trial, measured, tried)
    report(Facts(facts, in_words(facts)))
    if measured is None:
        raise _too_large(trial, largest_fitting(tried))
    keep_paces(_paces(trial, measured, tried), CACHE_FOLDER)
    return facts


def _facts(
    plan: Plan, trial: Trial, measured: Measured | None, tried: list[Tried]
) -> dict[str, Any]:
    seconds, memory = measured or (None, None)
    return {
        "device": describe_device(trial.run.accelerator.device),
        "batch": trial.sample.batch,
        "batches_in_step": plan.settings.gradient_accumulation_steps,
        "seconds_per_step": seconds,
        "seconds_per_picture": None if seconds is None else seconds / trial.pictures_in_step,
        "memory_bytes": memory,
        "steps": plan.amount.steps,
        "seconds": None if seconds is None else seconds * plan.amount.steps,
        "largest_batch": largest_fitting(tried) if trial.card else None,
        "tried": [dataclasses.asdict(one) for one in tried],
        "note": None if trial.card else ON_A_PROCESSOR,
    }


def in_words(facts: dict[str, Any]) -> str:
    """The facts of a trial as a person reads them."""
    sentences = []
    step, memory = facts["seconds_per_step"], facts["memory_bytes"]
    if step is not None:
        costs = f"{_short(step)} s" + ("" if memory is None else f" and {memory / 1e9:.1f} GB")
        sentences.append(f"A step takes {costs}, all {facts['steps']:,} steps about "
                         f"{show_seconds(facts['seconds'])}.")  # fmt: skip
    largest = facts["largest_batch"]
    if largest:
        sentences.append(f"Up to {largest} picture{'s' if largest > 1 else ''} at once fit"
                         f"{'' if largest > 1 else 's'}.")  # fmt: skip
    elif largest == 0:
        sentences.append("Not even one picture at a time fits.")
    if facts["note"]:
        sentences.append(facts["note"])
    return " ".join(sentences)


def _short(seconds: float) -> str:
    return f"{seconds:.2g}" if seconds < 10 else f"{seconds:.0f}"


def _too_large(trial: Trial, largest: int) -> SuiteError:
    """The error for a card that is too small for the batch that was set."""
    if not largest:
        return SuiteError(too_little_memory(trial.run.accelerator.device))
    return SettingError("train_batch_size", "The graphics card ran out of memory with "
                        f"{trial.sample.batch} pictures at once. Lower train_batch_size to "
                        f"{largest}.")  # fmt: skip


def _paces(trial: Trial, measured: Measured, tried: list[Tried]) -> list[Pace | None]:
    """The paces to keep: of the batch that was set, and of others that no bake has measured."""
    known = {pace.key for pace in read(CACHE_FOLDER / PACES_NAME)}
    each = trial.run.settings.gradient_accumulation_steps
    others = [
        pace_of(trial.run, one.seconds_per_picture * one.batch * each, one.memory_bytes, one.batch)
        for one in tried
        if one.fits and one.batch != trial.sample.batch
    ]
    fresh = [pace for pace in others if pace is not None and pace.key not in known]
    return [*fresh, pace_of(trial.run, *measured, trial.sample.batch)]
