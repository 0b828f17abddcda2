"""What the U-Net is told besides the noisy latents: text, and for SDXL the sizes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scripts.models.text import TextOutput

Sizes = tuple[Tensor, Tensor, Tensor]


def size_embeddings(original_hw: Tensor, crop_top_left: Tensor, target_hw: Tensor) -> Tensor:
    """The six numbers that SDXL is told of each picture: diffusers' `time_ids`.

    Args:
        original_hw: (batch, 2), height and width of the picture before anything was done to it.
        crop_top_left: (batch, 2), what was cut off at the top and on the left, in pixels.
        target_hw: (batch, 2), height and width of what is trained on.

    Returns: (batch, 6); the U-Net makes a 256-wide sine embedding of each.
    """
    return torch.cat([original_hw, crop_top_left, target_hw], dim=1)


def unet_conditioning(text: TextOutput, sizes: Sizes | None = None) -> dict[str, Any]:
    """Keyword arguments for `unet(latents, timesteps, **arguments)`.

    `sizes` are (original_hw, crop_top_left, target_hw), each (batch, 2); needed where the text has
    a pooled output (SDXL), of no use elsewhere.

    Raises ValueError when SDXL is given no sizes.
    """
    arguments: dict[str, Any] = {"encoder_hidden_states": text.hidden}
    if text.pooled is not None:
        if sizes is None:
            raise ValueError("SDXL needs the sizes of the pictures")
        # float32 whatever the text is in: bf16 would make 1368 of 1365
        time_ids = size_embeddings(*sizes).to(text.pooled.device, torch.float32)
        arguments["added_cond_kwargs"] = {"text_embeds": text.pooled, "time_ids": time_ids}
    return arguments
