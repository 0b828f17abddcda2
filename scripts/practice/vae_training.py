"""Train the VAE of the practice model from nothing: 64 x 64 pictures to 4 x 8 x 8 latents."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from scripts.practice.schooling import (
    cosine_rate,
    drawn_pictures,
    generator_for,
    load_state,
    save_state,
    to_signed,
)
from scripts.practice.tiny_models import LATENT_SCALE, new_vae


@dataclass(frozen=True)
class VaePlan:
    """How the VAE is trained. The first ``small_steps`` steps use pictures of half size.

    The learning rate falls along a cosine of ``rate_steps`` steps; training ends a little before,
    since by then nothing is lost but time.
    """

    steps: int = 3680
    rate_steps: int = 4600
    small_steps: int = 2300
    small_batch: int = 32
    batch: int = 16
    peak_rate: float = 1.5e-3
    kl_weight: float = 5e-4
    pictures: int = 12000
    seed: int = 11
    save_every: int = 230


def vae_loss(
    vae: AutoencoderKL, pictures: torch.Tensor, kl_weight: float, generator: torch.Generator
) -> torch.Tensor:
    """L1 + MSE of the reconstruction, and a little KL divergence to keep the latents in bounds.

    ``pictures``: (batch, 3, height, width) in -1..1.
    """
    with torch.autocast("cpu", torch.bfloat16):
        posterior = vae.encode(pictures).latent_dist
        rebuilt = vae.decode(posterior.sample(generator)).sample.float()
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    kl = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()
    error = rebuilt - pictures
    return error.abs().mean() + error.square().mean() + kl_weight * kl


def train_vae(folder: Path, plan: VaePlan, say: Callable[[str], None] = print) -> AutoencoderKL:
    """Train, or go on from ``folder/vae.pt``.

    Returns: the trained VAE with whitened latents, in fp32.
    """
    checkpoint = folder / "vae.pt"
    torch.manual_seed(plan.seed)
    vae = new_vae()
    optimiser = torch.optim.AdamW(vae.parameters(), betas=(0.9, 0.99), weight_decay=1e-4)
    first = 0
    if (state := load_state(checkpoint)) is not None:
        vae.load_state_dict(state["model"])
        if state["whitened"]:
            return vae
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    pictures, _ = drawn_pictures(plan.pictures, plan.seed)
    small = functional.avg_pool2d(to_signed(pictures), 2).to(torch.bfloat16)
    begun, recent = time.monotonic(), 0.0
    for step in range(first, plan.steps):
        generator = generator_for(plan.seed, step)
        at_half = step < plan.small_steps
        size = plan.small_batch if at_half else plan.batch
        chosen = torch.randint(len(pictures), (size,), generator=generator)
        batch = small[chosen].float() if at_half else to_signed(pictures[chosen])
        loss = vae_loss(vae, batch, plan.kl_weight, generator)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = cosine_rate(step, plan.rate_steps, plan.peak_rate)
        optimiser.step()
        recent += loss.item()
        if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
            state = {"model": vae.state_dict(), "optimiser": optimiser.state_dict()}
            save_state(checkpoint, state | {"step": step + 1, "whitened": False})
            seconds = time.monotonic() - begun
            say(f"VAE step {step + 1}: loss {recent / plan.save_every:.4f}, {seconds:.0f} s")
            recent = 0.0
    held_back, _ = drawn_pictures(256, plan.seed + 1)
    say(f"VAE: PSNR {reconstruction_psnr(vae, held_back):.2f} dB on pictures it never saw")
    whiten(vae, pictures[:2048])
    save_state(checkpoint, {"model": vae.state_dict(), "step": plan.steps, "whitened": True})
    return vae


@torch.no_grad()
def encode_pictures(vae: AutoencoderKL, pictures: torch.Tensor) -> torch.Tensor:
    """Means of the latents, not yet times LATENT_SCALE. (count, 4, 8, 8)"""
    parts = [vae.encode(to_signed(part)).latent_dist.mean for part in pictures.split(64)]
    return torch.cat(parts)


@torch.no_grad()
def reconstruction_psnr(vae: AutoencoderKL, pictures: torch.Tensor) -> float:
    """Peak signal-to-noise ratio of the reconstructions: 10 log10(peak^2 / MSE), peak 2."""
    errors = []
    for part in pictures.split(64):
        signed = to_signed(part)
        rebuilt = vae.decode(vae.encode(signed).latent_dist.mean).sample.clamp(-1, 1)
        errors.append((rebuilt - signed).square().mean(dim=(1, 2, 3)))
    return float(10 * torch.log10(4.0 / torch.cat(errors).mean()))


@torch.no_grad()
def whiten(vae: AutoencoderKL, pictures: torch.Tensor) -> None:
    """Fold scales and shifts into the 1 x 1 convolutions around the latents, exactly.

    Afterwards latents times LATENT_SCALE have mean 0 and deviation 1 in each channel, and every
    picture decodes as before. With s, m the deviation and mean of a channel and k = s LATENT_SCALE:
    the mean becomes (mean - m) / k, the log-variance loses 2 log k, and post_quant_conv first
    undoes it: z k + m.
    """
    latents = encode_pictures(vae, pictures)
    deviation, mean = latents.std(dim=(0, 2, 3)), latents.mean(dim=(0, 2, 3))  # (4,) each
    k = deviation * LATENT_SCALE
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:4] /= k[:, None, None, None]
    quant.bias[:4] = (quant.bias[:4] - mean) / k
    quant.bias[4:] -= 2 * k.log()
    weight = post.weight[:, :, 0, 0]  # (out, in)
    post.bias += weight @ mean
    post.weight.copy_((weight * k)[:, :, None, None])
