"""Carry out a training: `train(settings, report, control)`.

Only what a phase needs is in memory: the VAE leaves when all pictures are encoded, before
`build_run` loads the other models.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn

from scripts.core.errors import SuiteError
from scripts.core.events import Control, Done, Note, Report, Stage, Start
from scripts.core.files import CACHE_FOLDER, check_output_folder
from scripts.dataset.latents import LatentSource, prepare_latents
from scripts.lora.metadata import BaseHashes
from scripts.models.load import load_vae, vae_key
from scripts.settings.train import TrainSettings
from scripts.training.build import build_run
from scripts.training.device import (
    Formats,
    choose_formats,
    describe_device,
    is_out_of_memory,
    make_accelerator,
    too_little_memory,
)
from scripts.training.freed_memory import keep_freed_memory
from scripts.training.loop import run_loop
from scripts.training.optimizers import try_out
from scripts.training.paces import keep_paces, pace_of
from scripts.training.plan import Plan, make_plan
from scripts.training.run import Run
from scripts.training.saving import output_name_held

log = logging.getLogger(__name__)


def train(
    settings: TrainSettings, report: Report, control: Control, notes: Sequence[str] = ()
) -> Path:
    """Train a LoRA as the settings say; the path of the finished file.

    `notes` are reported first; they are what reading the settings had to say.
    Raises SuiteError for what the user can mend, Cancelled after a stop (with everything saved).
    """
    began = time.monotonic()
    check_output_folder(settings.output_dir)
    formats = choose_formats(settings)
    accelerator = make_accelerator(formats)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    with _held_name(settings, accelerator) as name:
        plan = make_plan(settings, accelerator.num_processes, name)
        amount = plan.amount
        report(Start("train", amount.steps, amount.epochs, amount.steps_per_epoch))
        for text in (*notes, *formats.notes, *plan.notes, *plan.guesses, *plan.warnings):
            report(Note(text))
        report(Note(f"{plan.amount.steps} steps, {plan.amount.epochs} epochs, on "
                    f"{describe_device(accelerator.device)}."))  # fmt: skip
        path = _carry_out(plan, formats, accelerator, report, control)
    report(Done(str(path), time.monotonic() - began))
    return path


@contextmanager
def _held_name(settings: TrainSettings, accelerator: Accelerator) -> Iterator[str]:
    """A free output name, held by the main process and known to all."""
    with ExitStack() as held:
        name = [""]
        if accelerator.is_main_process:
            name = [held.enter_context(output_name_held(settings))]
        if accelerator.num_processes > 1:
            broadcast_object_list(name)
        yield name[0]


def _carry_out(
    plan: Plan, formats: Formats, accelerator: Accelerator, report: Report, control: Control
) -> Path:
    try:
        run = prepare(plan, formats, accelerator, report, control)
        try:
            path = run_loop(run)
            if run.rank == 0 and run.progress.pace is not None:
                keep_paces([pace_of(run, run.progress.pace)], CACHE_FOLDER)
            return path
        finally:
            run.close()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        log.exception("out of memory")
        raise SuiteError(
            f"{too_little_memory(accelerator.device)} What was saved before is still good."
        ) from error
    finally:
        accelerator.end_training()


def prepare(
    plan: Plan, formats: Formats, accelerator: Accelerator, report: Report, control: Control
) -> Run:
    """Encode the pictures, then load the models and build network and optimiser."""
    convolutions = plan.settings.conv_dim is not None or plan.base.family.name == "sd1"
    try_out(plan.settings, accelerator.device, convolutions)  # before anyone waits for pictures
    plan, latents, vae = _encode_pictures(plan, formats, accelerator, report, control)
    run = build_run(plan, latents, formats, accelerator, report, control, vae=vae)
    # In a thread. Not earlier: it would take processor and disk from the loading of the models.
    run.hashes = BaseHashes.begin(plan.base, plan.settings.vae)
    return run


def _encode_pictures(
    plan: Plan, formats: Formats, accelerator: Accelerator, report: Report, control: Control
) -> tuple[Plan, LatentSource, nn.Module | None]:
    """The plan without pictures that turned out damaged, the latents, and the VAE if it stays."""
    report(Stage("Loading the VAE"))
    vae = load_vae(plan.settings.vae or plan.base, formats.vae, accelerator.device)
    run_id = [uuid.uuid4().hex[:12]]
    if accelerator.num_processes > 1:
        broadcast_object_list(run_id)
    latents = prepare_latents(
        plan.dataset, vae, vae_key(vae), plan.settings, CACHE_FOLDER, report, control,
        is_main=accelerator.is_main_process, wait=accelerator.wait_for_everyone,
        run_id=run_id[0],
    )  # fmt: skip
    if latents.dataset is not plan.dataset:
        for warning in latents.dataset.warnings[len(plan.dataset.warnings) :]:
            report(Note(warning))
        plan = plan.with_dataset(latents.dataset)
    if not latents.needs_vae:
        vae = None
        if accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
    return plan, latents, vae
