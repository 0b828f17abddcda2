"""A training run: everything the loop works with, and what is due after a step and an epoch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from scripts.core.events import Control, Report, Saved
from scripts.core.files import write_text
from scripts.dataset.dataset import Dataset
from scripts.dataset.latents import LatentSource
from scripts.lora.file import save_lora
from scripts.lora.metadata import BaseHashes, RunFacts, training_metadata
from scripts.lora.network import LoRANetwork
from scripts.settings.train import TrainSettings
from scripts.training.captions import Captions
from scripts.training.checkpoints import Position, load_state, save_state
from scripts.training.device import Formats
from scripts.training.metrics_log import open_metrics_log
from scripts.training.noise import NoiseSchedule
from scripts.training.optimizers import (
    create_optimizer,
    create_scheduler,
    current_learning_rates,
    evaluation_weights,
)
from scripts.training.plan import Amount, Plan
from scripts.training.preview_files import preview_stem
from scripts.training.previews import EncodedPrompt, Previewer
from scripts.training.progress import Progress
from scripts.training.rescue import Broken
from scripts.training.saving import TAGS_ENDING, Saver

STEPS_BETWEEN_AGREEMENTS = 10  # with several processes: how often they agree on requests


@dataclass
class PreviewWork:
    """Draws the previews. `prompts` gives the encoded prompts, anew when they change."""

    previewer: Previewer
    prompts: Callable[[], list[EncodedPrompt]]


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
    optimizer_title: str
    scheduler: Any
    schedule: NoiseSchedule
    previews: PreviewWork | None
    position: Position = field(default_factory=Position)
    hashes: BaseHashes | None = None  # needed to save

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
        logging_dir = self.settings.logging_dir if self.rank == 0 else None
        self.metrics = open_metrics_log(logging_dir, self.settings.output_name, self.report)
        self._epoch_losses: list[float] = []
        self.rate_factor = 1.0
        self.good: tuple[Path | None, Position] = (None, self.position)  # the last LoRA saved

    def after_step(self, position: Position, loss: Tensor) -> None:
        """What is due after a step: report, log, save, preview."""
        if self.rank != 0:
            return
        self.progress.add(loss)
        if self.progress.due(position.step) or self.saver.saves_after(position):
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
            if self._epoch_losses:
                self.metrics.epoch(position.epoch, statistics.fmean(self._epoch_losses))
                self._epoch_losses.clear()
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
        if self.previews is None or self.rank != 0:
            return
        epoch = position.epoch if position.epoch_done else None
        stem = preview_stem(self.settings.output_name, epoch=epoch, step=position.step)
        with evaluation_weights(self.optimizer):
            self.previews.previewer.render(self.previews.prompts, stem, position.step)

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
        self.metrics.close()

    def _flush(self, position: Position) -> None:
        """Look at the losses and report the step, unless that has been done already."""
        if position.step == self.progress.reported_step:
            return
        rates = current_learning_rates(self.optimizer, self.scheduler)
        losses = self.progress.flush(position.step, position.epoch, rates)
        for steps_ago, loss in zip(reversed(range(len(losses))), losses, strict=True):
            if self.metrics.wanted:
                rates = current_learning_rates(self.optimizer, self.scheduler, steps_ago)
                self.metrics.step(position.step - steps_ago, loss.value, loss.smooth, rates)
            self._epoch_losses.append(loss.value)

    def _any_process(self, asked: bool) -> bool:
        if self.processes == 1:
            return asked
        flag = torch.tensor([float(asked)], device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, reduction="sum").item())

    def begin_optimizer_anew(self, rate_factor: float, position: Position) -> None:
        """A fresh optimiser and schedule, as after `position`, at so much of the rates set."""
        settings, device = self.settings, self.accelerator.device
        made = create_optimizer(settings, self.network.param_groups(settings), device)
        self.optimizer = self.accelerator.prepare_optimizer(made.optimizer)
        self.scheduler = create_scheduler(made.optimizer, settings, self.amount.steps)
        self.rate_factor = rate_factor
        for group in self.optimizer.param_groups:
            group["initial_lr"] *= rate_factor
        self._set_rates(position.step)

    def _set_rates(self, step: int) -> None:
        """Let the schedule go on after `step` steps from the groups' initial_lr."""
        groups, scheduler = self.optimizer.param_groups, self.scheduler
        scheduler.last_epoch = step
        scheduler.base_lrs = [group["initial_lr"] for group in groups]
        for group, factor in zip(groups, scheduler.lr_lambdas, strict=True):
            group["lr"] = group["initial_lr"] * factor(step)

    def _write_lora(self, path: Path, position: Position) -> None:
        if not all(bool(torch.isfinite(weight).all()) for weight in self.parameters):
            raise Broken("the weights became values that are no numbers")
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
                optimizer=self.optimizer_title,
            ),
            self.hashes,
        )
        with evaluation_weights(self.optimizer):
            save_lora(
                path,
                self.network.state_dict_for_file(),
                metadata,
                self.settings.save_precision,
                self.settings.save_model_as,
            )
        self.good = (path, position)

    def _write_state(self, folder: Path, position: Position) -> None:
        scaler = self.accelerator.scaler
        state = {
            "network": self.network.state_dict_for_file(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "rate_factor": self.rate_factor,
        }
        save_state(folder, state, position, self.plan)

    def restore(self, folder: Path) -> None:
        """Go on from the state in `folder`: weights, optimiser and schedule.

        Learning rates and optimizer_args are those of the settings, which may have been changed;
        rates that were halved because the training broke stay so.
        """
        state = load_state(folder)
        wanted = ["initial_lr", *self.settings.optimizer_args]
        kept = [{key: group[key] for key in wanted if key in group}
                for group in self.optimizer.param_groups]  # fmt: skip
        self.network.load_file_state(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.rate_factor = state.get("rate_factor", 1.0)  # states of earlier versions have none
        for group, values in zip(self.optimizer.param_groups, kept, strict=True):
            group.update(values)
            group["initial_lr"] *= self.rate_factor
        self._set_rates(self.scheduler.last_epoch)
        if state["scaler"] is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def _write_tags(self, lora: Path) -> None:
        text = self.dataset.tag_occurrence()
        path = lora.with_name(lora.stem + TAGS_ENDING)
        write_text(path, text)
        self.report(Saved(str(path), what="tags"))
