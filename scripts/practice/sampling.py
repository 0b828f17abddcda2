"""Pictures from the practice model: deterministic DDIM with classifier-free guidance."""

from __future__ import annotations

from functools import cache

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from scripts.practice.tiny_models import LATENT_SCALE


@cache
def signal_and_noise() -> tuple[torch.Tensor, torch.Tensor]:
    """SD1's schedule: sqrt(alpha-bar) and sqrt(1 - alpha-bar) of each of the 1000 time steps."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    kept = torch.cumprod(1 - betas, dim=0)
    return kept.sqrt().float(), (1 - kept).sqrt().float()


@torch.no_grad()
def sample_latents(
    unet: UNet2DConditionModel,
    words: torch.Tensor,
    no_words: torch.Tensor,
    noise: torch.Tensor,
    steps: int = 20,
    guidance: float = 3.0,
) -> torch.Tensor:
    """DDIM (Song et al. 2020, arXiv 2010.02502, equation 12, sigma 0).

    Args:
        words: encoded prompts (batch, 77, width).
        no_words: the encoded empty prompt (1, 77, width).
        noise: (batch, 4, 8, 8).

    Returns: latents, scaled, the shape of ``noise``.
    """
    signal, noise_level = signal_and_noise()
    both = torch.cat([no_words.expand(len(words), -1, -1), words])
    times = torch.linspace(999, 0, steps + 1).round().long().tolist()[:-1]
    latents = noise
    for now, then in zip(times, [*times[1:], None], strict=True):
        without, with_words = unet(latents.repeat(2, 1, 1, 1), now, both).sample.chunk(2)
        predicted = without + guidance * (with_words - without)
        clean = (latents - noise_level[now] * predicted) / signal[now]
        if then is None:
            return clean
        latents = signal[then] * clean + noise_level[then] * predicted
    return latents


@torch.no_grad()
def decode_latents(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Scaled latents to pictures: (batch, 64, 64, 3) uint8."""
    signed = vae.decode(latents / LATENT_SCALE).sample.clamp(-1, 1)
    return ((signed + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
