"""Draw many small pictures with a base model and a LoRA file, at any strength of the LoRA."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from scripts.lora.network import LoRANetwork
from scripts.models.conditioning import unet_conditioning
from scripts.models.load import load_text_encoders, load_tokenizers, load_unet, load_vae
from scripts.models.recognise import recognise
from scripts.models.text import CaptionEncoder
from scripts.practice.draw import SIZE
from scripts.settings.train import TrainSettings
from scripts.training.device import choose_device
from scripts.training.samplers import create_scheduler, sampler_named
from scripts.training.sampling import decode, draw_start_noise, sample_latents


class Renderer:
    """A base model with a LoRA loaded from its file; everything is loaded once."""

    def __init__(self, base_model: Path, lora: Path) -> None:
        device = choose_device()
        base = recognise(base_model)
        settings = TrainSettings(network_weights=lora, dim_from_weights=True)
        self._family = base.family
        self._device = device
        self._unet = load_unet(base, torch.float32, device)
        self._vae = load_vae(base, torch.float32, device)
        text_encoders = load_text_encoders(base, torch.float32, device)
        self._encoder = CaptionEncoder(load_tokenizers(base), text_encoders, base.family, settings)
        self._network = LoRANetwork.create(self._unet, text_encoders, base.family, settings)
        self._network.eval()

    @torch.no_grad()
    def draw(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        strength: float,
        steps: int,
        guidance: float,
    ) -> np.ndarray:
        """One picture for each prompt and seed: (len(prompts), 64, 64, 3) uint8."""
        self._network.set_multiplier(strength)
        noise, _ = draw_start_noise(seeds, SIZE, SIZE)
        latents = sample_latents(
            self._unet,
            create_scheduler(sampler_named("ddim")),
            unet_conditioning(self._encoder.encode(prompts)),
            unet_conditioning(self._encoder.encode([""] * len(prompts))),
            noise.to(self._device),
            steps,
            guidance,
        )
        return decode(self._vae, latents, self._family.latent_scale)
