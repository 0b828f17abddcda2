"""Prepare a training run and carry it out: `train(settings, report, control)`.

Only what a phase needs is in memory: the text encoders leave when they are not trained and all
captions are encoded, the VAE leaves when all pictures are, and the U-Net comes last.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from scripts.core.errors import SettingError, SuiteError
from scripts.core.events import Control, Done, Note, Report, Saved, Stage, Start
from scripts.core.files import CACHE_FOLDER, check_output_folder, write_text
from scripts.dataset.dataset import Dataset
from scripts.dataset.latents import LatentSource, prepare_latents
from scripts.dataset.tags import tag_occurrence
from scripts.lora.file import load_lora, save_lora
from scripts.lora.metadata import BaseHashes, RunFacts, training_metadata
from scripts.lora.network import LoRANetwork
from scripts.models.load import (
    load_text_encoders,
    load_tokenizers,
    load_unet,
    load_vae,
    vae_key,
)
from scripts.models.text import CaptionEncoder
from scripts.settings.train import TrainSettings
from scripts.training.captions import Captions
from scripts.training.checkpoints import Position, load_state, read_position, save_state
from scripts.training.device import Formats, choose_formats, describe_device, make_accelerator
from scripts.training.loop import STEPS_BETWEEN_AGREEMENTS, run_loop
from scripts.training.metrics_log import MetricsLog
from scripts.training.noise import NoiseSchedule
from scripts.training.optimizers import create_optimizer, create_scheduler
from scripts.training.plan import Amount, Plan, make_plan
from scripts.training.previews import Previewer
from scripts.training.progress import Progress
from scripts.training.saving import Saver

log = logging.getLogger(__name__)


def train(settings: TrainSettings, report: Report, control: Control) -> Path:
    """Train a LoRA as the settings say; the path of the finished file.

    Raises SuiteError for what the user can mend, Cancelled after a stop (with everything saved).
    """
    began = time.monotonic()
    check_output_folder(settings.output_dir)
    formats = choose_formats(settings)
    accelerator = make_accelerator(formats)
    plan = make_plan(settings, accelerator.num_processes)
    accelerator.wait_for_everyone()  # all processes have chosen the name before it is taken
    report(Start("train", plan.amount.steps, plan.amount.epochs))
    for text in (*formats.notes, *plan.notes, *plan.guesses, *plan.warnings):
        report(Note(text))
    report(Note(f"{plan.amount.steps} steps, {plan.amount.epochs} epochs, on "
                f"{describe_device(accelerator.device)}."))  # fmt: skip
    try:
        run = prepare(plan, formats, accelerator, report, control)
        try:
            path = run_loop(run)
        finally:
            run.close()
    except torch.OutOfMemoryError as error:
        log.exception("out of memory")
        raise SuiteError(
            "The graphics card ran out of memory. Turn on gradient_checkpointing, or lower "
            "train_batch_size or resolution, and close other programs that use the card."
        ) from error
    finally:
        accelerator.end_training()
    report(Done(str(path), time.monotonic() - began))
    return path


@dataclass
class Run:
    """Everything that the loop works with. One is made by `prepare` for each process."""

    plan: Plan
    formats: Formats
    accelerator: Accelerator
    report: Report
    control: Control
    captions: Captions
    latents: LatentSource
    unet: nn.Module
    network: LoRANetwork
    optimizer: Any
    scheduler: Any
    schedule: NoiseSchedule
    previewer: Previewer | None
    hashes: BaseHashes
    position: Position = field(default_factory=Position)

    def __post_init__(self) -> None:
        self.settings: TrainSettings = self.plan.settings
        self.amount: Amount = self.plan.amount
        self.dataset: Dataset = self.plan.dataset
        self.parameters = self.network.trainable_parameters()
        self.processes = self.accelerator.num_processes
        self.rank = self.accelerator.process_index
        self.latent_scale = self.plan.base.family.latent_scale
        self.v_prediction = bool(self.settings.v_parameterization)
        self.started = time.time()
        self.progress = Progress(
            self.amount.steps, self.position.step, self.report, self.accelerator.device
        )
        self.saver = Saver(
            self.settings, self.amount.epochs, self.report, self._write_lora, self._write_state
        )
        self.metrics = MetricsLog.open(self.settings, self.report) if self.rank == 0 else None

    def after_step(self, position: Position, loss: Tensor) -> None:
        """What is due after a step: report, log, save, preview."""
        if self.rank != 0:
            return
        self.progress.add(loss)
        if self.progress.due(position.step):
            self._flush(position)
        self.saver.after_step(position, self.amount.steps)
        every = self.settings.sample_every_n_steps
        if (every and position.step % every == 0) or self.control.take("preview"):
            self.preview(position)
        if self.control.take("save"):
            self.saver.now(position)

    def after_epoch(self, position: Position) -> None:
        """What is due after an epoch: save, preview."""
        if self.rank == 0:
            self._flush(position)
            self.saver.after_epoch(position)
            every = self.settings.sample_every_n_epochs
            if every and position.epoch % every == 0:
                self.preview(position)
        self.accelerator.wait_for_everyone()

    def stop_asked(self, position: Position) -> bool:
        """Whether to stop after this step; all processes give the same answer."""
        if self.processes == 1:
            return self.control.stop_asked
        if position.step % STEPS_BETWEEN_AGREEMENTS and position.step != 1:
            return False
        return self._any_process(self.control.stop_asked)

    def stop_after_epoch_asked(self) -> bool:
        """Whether to stop after this epoch; all processes give the same answer."""
        return self._any_process(self.control.take("stop_after_epoch"))

    def save_now(self, position: Position) -> tuple[Path, Path]:
        """Save LoRA and state because the training stops here; where they are."""
        places = (Path(), Path())
        if self.rank == 0:
            self._flush(position)
            places = self.saver.now(position)
        self.accelerator.wait_for_everyone()
        return places

    def preview(self, position: Position) -> None:
        """Draw the previews; a stop that is asked for meanwhile is left to the loop."""
        if self.previewer is not None and self.rank == 0:
            self.previewer.draw(position, self.report, self.control)

    def finish(self, position: Position) -> Path:
        """Save the result; its path."""
        path = self.settings.output_dir / (
            f"{self.settings.output_name}.{self.settings.save_model_as}"
        )
        if self.rank == 0:
            self._flush(position)
            path = self.saver.result(position)
            if self.settings.tag_occurrence_txt_file:
                self._write_tags(path)
        self.accelerator.wait_for_everyone()
        return path

    def close(self) -> None:
        """Let go of files that are open: the latent cache and the log."""
        self.latents.close()
        if self.metrics is not None:
            self.metrics.close()

    def _flush(self, position: Position) -> None:
        rates: dict[str, float] = {}
        for group in self.optimizer.param_groups:
            rates.setdefault(group.get("name", "lora"), float(group["lr"]))
        losses = self.progress.flush(position.step, position.epoch, rates)
        if self.metrics is not None:
            self.metrics.write(position.step, losses, rates)

    def _any_process(self, asked: bool) -> bool:
        if self.processes == 1:
            return asked
        flag = torch.tensor([float(asked)], device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, reduction="sum").item())

    def _write_lora(self, path: Path, position: Position) -> None:
        metadata = training_metadata(
            self.settings,
            self.plan.base,
            self.dataset.metadata(),
            self.network.summary(),
            RunFacts(
                epoch=position.epoch,
                step=position.step,
                epochs=self.amount.epochs,
                steps=self.amount.steps,
                batches_per_epoch=self.amount.batches_per_epoch,
                processes=self.processes,
                mixed_precision=self.formats.mixed_precision,
                started=self.started,
                finished=time.time(),
            ),
            self.hashes,
        )
        save_lora(
            path,
            self.network.state_dict_for_file(),
            metadata,
            self.settings.save_precision,
            self.settings.save_model_as,
        )

    def _write_state(self, folder: Path, position: Position) -> None:
        scaler = self.accelerator.scaler
        state = {
            "network": self.network.state_dict_for_file(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
        save_state(folder, state, position, self.plan)

    def restore(self, folder: Path) -> None:
        """Go on from the state in `folder`: weights, optimiser, schedule and position."""
        state = load_state(folder)
        self.network.load_file_state(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if state["scaler"] is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def _write_tags(self, lora: Path) -> None:
        text = tag_occurrence(self.dataset, self.settings.sort_tag_occurrence_alphabetically)
        path = lora.with_name(f"{lora.stem}-tags.txt")
        write_text(path, text)
        self.report(Saved(str(path), what="tags"))


def prepare(
    plan: Plan, formats: Formats, accelerator: Accelerator, report: Report, control: Control
) -> Run:
    """Load the models, encode what can be encoded ahead, and build network and optimiser."""
    settings, base, device = plan.settings, plan.base, accelerator.device
    position = read_position(settings.resume, plan) if settings.resume else Position()
    hashes = BaseHashes.begin(base, settings.vae)  # in a thread: gigabytes are read for it
    torch.manual_seed(settings.seed)

    report(Stage("Loading the text encoder"))
    tokenizers = load_tokenizers(base)
    text_encoders = load_text_encoders(base, formats.base, device)
    encoder = CaptionEncoder(tokenizers, text_encoders, base.family, settings)
    captions = Captions(encoder, device)
    previewer = Previewer.create(settings, base, encoder)
    if settings.text_encoder_rate == 0:
        if previewer is not None:
            previewer.encode_ahead()
        if captions.encode_ahead(_captions_to_come(plan), report, control):
            encoder = None
            text_encoders = []

    report(Stage("Loading the VAE"))
    vae_source = settings.vae or base
    vae = load_vae(vae_source, formats.vae, device)
    latents = prepare_latents(
        plan.dataset, vae, vae_key(vae), settings, CACHE_FOLDER / "latents", report, control,
        is_main=accelerator.is_main_process, wait=accelerator.wait_for_everyone,
    )  # fmt: skip
    del vae
    if device.type == "cuda":
        torch.cuda.empty_cache()

    report(Stage("Loading the U-Net"))
    unet = load_unet(base, formats.base, device)
    if formats.fp8_base:
        unet.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=formats.base)
    torch.manual_seed(settings.seed)
    network = _make_network(unet, text_encoders, plan)
    network.to(device=device, dtype=formats.lora)
    _set_modes(unet, text_encoders, network, settings)
    optimizer, notes = create_optimizer(settings, network.param_groups(settings), device)
    for note in notes:
        report(Note(note))
    scheduler = create_scheduler(optimizer, settings, plan.amount.steps)
    run = Run(
        plan=plan,
        formats=formats,
        accelerator=accelerator,
        report=report,
        control=control,
        captions=captions,
        latents=latents,
        unet=unet,
        network=network,
        optimizer=accelerator.prepare_optimizer(optimizer),
        scheduler=scheduler,
        schedule=NoiseSchedule(settings.zero_terminal_snr).to(device),
        previewer=previewer,
        hashes=hashes,
        position=position,
    )
    if previewer is not None:
        previewer.attach(unet, network, device, formats, vae_source)
    if settings.resume:
        run.restore(settings.resume)
    return run
