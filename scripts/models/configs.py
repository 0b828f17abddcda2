"""The configs of diffusers and transformers for a model, from the bundled ones and its shape."""

from __future__ import annotations

import json
from typing import Any

from scripts.core.errors import SuiteError
from scripts.models.families import Family
from scripts.models.shapes import TextShape, UNetShape, VAEShape
from scripts.models.tokenizer import BUNDLED


def bundled_config(family: Family, part: str) -> dict[str, Any]:
    """The family's standard config of a part: unet, vae, text_encoder, text_encoder_2.

    Raises SuiteError when the file is missing, that is, when this copy is not whole.
    """
    path = BUNDLED / family.name / f"{part}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SuiteError(f"The file {path} is missing or broken. Download Easy LoRA again.") from (
            error
        )


def unet_config(family: Family, shape: UNetShape) -> dict[str, Any]:
    """Keyword arguments for UNet2DConditionModel."""
    attention = [depth > 0 for depth in shape.depths]
    config = bundled_config(family, "unet") | {
        "in_channels": shape.in_channels,
        "block_out_channels": shape.channels,
        "layers_per_block": shape.layers,
        "cross_attention_dim": shape.context_width,
        "attention_head_dim": shape.heads,  # diffusers' old name for the number of heads
        "norm_num_groups": shape.groups,
        "use_linear_projection": shape.linear_projection,
        "transformer_layers_per_block": tuple(depth or 1 for depth in shape.depths),
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attention],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in attention[::-1]],
    }
    if shape.label_width is not None:
        config["projection_class_embeddings_input_dim"] = shape.label_width
    return _without_class(config)


def vae_config(family: Family, shape: VAEShape) -> dict[str, Any]:
    """Keyword arguments for AutoencoderKL."""
    levels = len(shape.channels)
    config = bundled_config(family, "vae") | {
        "block_out_channels": shape.channels,
        "layers_per_block": shape.layers,
        "norm_num_groups": shape.groups,
        "latent_channels": shape.latent_channels,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
    }
    return _without_class(config)


def text_config(family: Family, shape: TextShape, index: int) -> dict[str, Any]:
    """Keyword arguments for CLIPTextConfig of text encoder `index` (from 0)."""
    part = "text_encoder" if index == 0 else f"text_encoder_{index + 1}"
    return bundled_config(family, part) | {
        "hidden_size": shape.width,
        "intermediate_size": shape.mlp_width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "projection_dim": shape.projection or shape.width,
    }


def _without_class(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if not key.startswith("_")}
