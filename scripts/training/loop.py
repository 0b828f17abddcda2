"""The training loop: epochs, steps, saves, previews, stop.

Every batch seeds torch's generator from (seed, batch number, process), and an epoch's batches are
a pure function of (seed, epoch): a resumed training needs weights, optimiser and position, and
goes on bit for bit as the unbroken one would have.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scripts.core.errors import Cancelled
from scripts.models.transfer import to_device
from scripts.training.checkpoints import Position
from scripts.training.noise import draw_noise
from scripts.training.rescue import Broken, go_back
from scripts.training.step import denoising_loss

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.dataset.dataset import Batch
    from scripts.training.run import Run


def run_loop(run: Run) -> Path:
    """Train from `run.position` to the end and save the result; its path.

    A training that breaks goes back once to where it was good.

    Raises Cancelled after a stop that was asked for, with LoRA and state saved, and SuiteError
    when it breaks again.
    """
    position = run.position
    if run.settings.sample_at_first and position.step == 0:
        run.preview(position)
    while True:
        try:
            return go_through(run, position)
        except Broken as broken:
            position = go_back(run, broken)


def go_through(run: Run, position: Position) -> Path:
    """Train from `position` to the end and save the result; its path. Raises Cancelled, Broken."""
    first_epoch = position.epoch + 1 if position.epoch_done else position.epoch
    for epoch in range(first_epoch, run.amount.epochs + 1):
        groups = steps_of_epoch(run, epoch)
        begun = position.step_in_epoch if epoch == position.epoch else 0
        for number in range(begun, len(groups)):
            if position.step >= run.amount.steps:
                break
            upcoming = groups[number + 1][0] if number + 1 < len(groups) else None
            loss = take_step(run, groups[number], epoch, number, upcoming)
            position = Position(epoch, position.step + 1, number + 1)
            run.after_step(position, loss)
            if position.step < run.amount.steps and run.stop_asked(position):
                stop(run, position)
        position = replace(position, epoch_done=True)
        run.after_epoch(position)
        if run.stop_after_epoch_asked() and position.step < run.amount.steps:
            stop(run, position)
    return run.finish(position)


def steps_of_epoch(run: Run, epoch: int) -> list[list[Batch]]:
    """The batches that this process takes in `epoch`, grouped into steps.

    Process r of P takes batches r, r + P, ...; when they do not divide evenly the first ones
    are taken again, so that all processes make the same number of steps.
    """
    accumulation = run.settings.gradient_accumulation_steps
    batches = run.plan.batches(epoch)
    missing = -len(batches) % run.processes
    padded = [*batches, *(batches * missing)[:missing]]
    mine = padded[run.rank :: run.processes]
    return [mine[i : i + accumulation] for i in range(0, len(mine), accumulation)]


def take_step(
    run: Run, group: list[Batch], epoch: int, number: int, upcoming: Batch | None
) -> Tensor:
    """One change of the weights from the batches of `group`; the mean loss (0-d, on the device).

    `upcoming` is the batch after these, whose pictures may be read ahead.

    The gradient is the sum over the batches divided by `gradient_accumulation_steps`, also for a
    shorter group at the end of an epoch, as sd-scripts has it.
    """
    settings, accelerator = run.settings, run.accelerator
    accumulation = settings.gradient_accumulation_steps
    total = torch.zeros((), device=accelerator.device)
    following = [*group[1:], upcoming]
    for offset, (batch, after) in enumerate(zip(group, following, strict=True)):
        seed_batch(settings.seed, epoch, number * accumulation + offset, run.rank)
        with accelerator.autocast():
            loss = loss_of_batch(run, batch, after)
        accelerator.backward(loss / accumulation)
        total += loss.detach()
    if run.processes > 1:
        average_gradients(run)
    if settings.max_grad_norm > 0:
        accelerator.clip_grad_norm_(run.parameters, settings.max_grad_norm)
    run.optimizer.step()
    if not accelerator.optimizer_step_was_skipped:
        run.scheduler.step()
    run.optimizer.zero_grad(set_to_none=True)
    if settings.scale_weight_norms:
        run.network.scale_weight_norms(settings.scale_weight_norms)
    return total / len(group)


def loss_of_batch(run: Run, batch: Batch, upcoming: Batch | None) -> Tensor:
    """The loss of one batch, with its graph: latents, text, noise, prediction, error."""
    device = run.accelerator.device
    stored = run.latents.fetch(batch, upcoming)
    mean, std = to_device(stored.mean, device), to_device(stored.std, device)
    mask = None if stored.mask is None else to_device(stored.mask, device)
    # Each use draws anew from the VAE's distribution.
    latents = (mean + std * torch.randn_like(std)) * run.latent_scale
    conditioning = run.captions.conditioning(
        [example.caption for example in batch.examples], stored
    )
    draw = draw_noise(latents, run.settings)
    weights = to_device(torch.tensor([item.loss_weight for item in batch.examples]), device)
    result = denoising_loss(
        run.unet, run.schedule, run.settings, latents, conditioning, draw, weights, mask,
        v_prediction=run.v_prediction,
    )  # fmt: skip
    return result.loss


def seed_batch(seed: int, epoch: int, number: int, rank: int) -> None:
    """Seed torch for one batch: noise, timesteps and dropout follow from where it stands."""
    text = f"{seed} {epoch} {number} {rank}".encode()
    torch.manual_seed(int.from_bytes(hashlib.sha256(text).digest()[:8], "little"))


def average_gradients(run: Run) -> None:
    """Replace every gradient by its mean over the processes, in one message.

    A weight without a gradient counts as one with gradient 0: which weights have none may differ
    between the processes (module_dropout).
    """
    for weight in run.parameters:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    flat = torch.cat([weight.grad.flatten() for weight in run.parameters])
    flat = run.accelerator.reduce(flat, reduction="mean")
    begin = 0
    for weight in run.parameters:
        end = begin + weight.numel()
        weight.grad.copy_(flat[begin:end].view_as(weight))
        begin = end


def stop(run: Run, position: Position) -> None:
    """Save LoRA and state and raise Cancelled with a sentence that says where."""
    lora, state = run.save_now(position)
    raise Cancelled(
        f"Stopped after step {position.step} of {run.amount.steps}. The LoRA as it is now: {lora}. "
        f"To go on later, set resume to {state}."
    )
