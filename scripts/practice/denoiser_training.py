"""Train text encoder and U-Net of the practice model together, on latents made beforehand."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn

from scripts.practice.caption_tokens import CONTEXT, SHORT_CONTEXT, CaptionTokens
from scripts.practice.draw import Scene
from scripts.practice.schooling import (
    drawn_pictures,
    generator_for,
    load_state,
    plateau_rate,
    save_state,
)
from scripts.practice.tiny_models import LATENT_SCALE, new_text_encoder, new_unet
from scripts.practice.vae_training import encode_pictures
from scripts.training.noise import NoiseSchedule


@dataclass(frozen=True)
class DenoiserPlan:
    """How U-Net and text encoder are trained.

    In the last ``falling_steps`` the learning rate falls and captions have their full length.
    """

    steps: int = 6500
    falling_steps: int = 1700
    batch: int = 32
    peak_rate: float = 1.0e-3
    ema_decay: float = 0.998
    min_snr_gamma: float = 5.0
    pictures: int = 16000
    seed: int = 23
    save_every: int = 250


def denoising_loss(
    models: nn.ModuleDict,
    latents: torch.Tensor,
    ids: torch.Tensor,
    generator: torch.Generator,
    gamma: float,
) -> torch.Tensor:
    """Mean squared error of the predicted noise, weighted min(SNR, gamma) / SNR.

    Min-SNR weighting for noise prediction: Hang et al. 2023, arXiv 2303.09556, equation 7.

    Args:
        latents: (batch, 4, 8, 8), scaled.
        ids: (batch, context) token ids.
    """
    schedule = NoiseSchedule()
    times = torch.randint(1000, (len(latents),), generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    noisy = schedule.add_noise(latents, noise, times)
    words = models["text_encoder"](ids).last_hidden_state  # (batch, context, 48)
    predicted = models["unet"](noisy, times, words, return_dict=False)[0]
    snr = schedule.snr[times]
    weight = snr.clamp(max=gamma) / snr
    return ((predicted - noise).square().mean(dim=(1, 2, 3)) * weight).mean()


@dataclass
class _Lesson:
    """All that a checkpoint holds."""

    models: nn.ModuleDict
    average: nn.ModuleDict
    optimiser: torch.optim.Optimizer
    step: int = 0

    def state(self) -> dict[str, object]:
        return {
            "models": self.models.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }

    def load(self, state: dict[str, object]) -> None:
        self.models.load_state_dict(state["models"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


def _new_models() -> nn.ModuleDict:
    return nn.ModuleDict({"unet": new_unet(), "text_encoder": new_text_encoder()})


def _new_lesson(plan: DenoiserPlan) -> _Lesson:
    torch.manual_seed(plan.seed)
    models, average = _new_models(), _new_models()
    average.load_state_dict(models.state_dict())
    average.requires_grad_(False)
    optimiser = torch.optim.AdamW(models.parameters(), betas=(0.9, 0.99), weight_decay=0.0)
    return _Lesson(models, average, optimiser)


def _cached_latents(
    folder: Path, vae: AutoencoderKL, plan: DenoiserPlan
) -> tuple[torch.Tensor, list[Scene]]:
    """Scaled latents (pictures, 4, 8, 8) of the training pictures, and their scenes."""
    pictures, scenes = drawn_pictures(plan.pictures, plan.seed)
    cache = folder / "latents.pt"
    if (state := load_state(cache)) is None:
        state = {"latents": encode_pictures(vae, pictures) * LATENT_SCALE}
        save_state(cache, state)
    return state["latents"], scenes


def _one_step(
    lesson: _Lesson,
    plan: DenoiserPlan,
    data: tuple[torch.Tensor, list[Scene]],
    tokens: CaptionTokens,
) -> float:
    """One optimiser step and one step of the moving average. Returns the loss."""
    latents, scenes = data
    step = lesson.step
    generator = generator_for(plan.seed, step)
    rng = np.random.default_rng((plan.seed, step))
    chosen = rng.integers(len(scenes), size=plan.batch)
    context = SHORT_CONTEXT if step < plan.steps - plan.falling_steps else CONTEXT
    ids = tokens.padded([tokens.disturbed(scenes[i], rng) for i in chosen], context)
    loss = denoising_loss(lesson.models, latents[chosen], ids, generator, plan.min_snr_gamma)
    lesson.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(lesson.models.parameters(), 1.0)
    for group in lesson.optimiser.param_groups:
        group["lr"] = plateau_rate(step, plan.steps, plan.falling_steps, plan.peak_rate)
    lesson.optimiser.step()
    decay = min(plan.ema_decay, (step + 1) / (step + 10))
    weights, averages = list(lesson.models.parameters()), list(lesson.average.parameters())
    with torch.no_grad():
        torch._foreach_lerp_(averages, weights, 1 - decay)
    lesson.step += 1
    return loss.item()


def train_denoiser(
    folder: Path,
    vae: AutoencoderKL,
    tokens: CaptionTokens,
    plan: DenoiserPlan,
    say: Callable[[str], None] = print,
) -> nn.ModuleDict:
    """Train, or go on from ``folder/denoiser.pt``.

    Returns: the averaged weights as ``unet`` and ``text_encoder``, in fp32.
    """
    lesson = _new_lesson(plan)
    checkpoint = folder / "denoiser.pt"
    if (state := load_state(checkpoint)) is not None:
        lesson.load(state)
    if lesson.step < plan.steps:
        data = _cached_latents(folder, vae, plan)
        say(f"latents ready: {len(data[1])}")
    begun, recent = time.monotonic(), 0.0
    while lesson.step < plan.steps:
        recent += _one_step(lesson, plan, data, tokens)
        if lesson.step % plan.save_every == 0 or lesson.step == plan.steps:
            save_state(checkpoint, lesson.state())
            seconds = time.monotonic() - begun
            say(f"U-Net step {lesson.step}: loss {recent / plan.save_every:.4f}, {seconds:.0f} s")
            recent = 0.0
    return lesson.average
