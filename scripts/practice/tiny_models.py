"""The sizes of the practice model: the modules of SD1.5, all of them, only thin and few.

Everything that a LoRA for SD1.5 touches is there under the same names: four U-Net levels of two
layers, attention in the first three (192 LoRA modules), a CLIP text encoder (6 per layer).
"""

from __future__ import annotations

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

UNET_HEADS = 4
UNET_GROUPS = 8
VAE_GROUPS = 4
TEXT_HEADS = 4

# What the shapes of the tensors cannot tell; goes into the header of the single file.
SHAPE_NOTES = {
    "unet_heads": UNET_HEADS,
    "unet_groups": UNET_GROUPS,
    "vae_groups": VAE_GROUPS,
    "text_heads": TEXT_HEADS,
}

LATENT_SCALE = 0.18215  # latents are stored times this, as in all of the SD1 family


def vae_config() -> dict[str, object]:
    return {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": (16, 32, 48, 48),
        "layers_per_block": 2,
        "norm_num_groups": VAE_GROUPS,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "sample_size": 64,
        "scaling_factor": LATENT_SCALE,
    }


def unet_config() -> dict[str, object]:
    return {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (48, 64, 48, 32),
        "layers_per_block": 2,
        "cross_attention_dim": 48,
        "attention_head_dim": UNET_HEADS,  # diffusers' name for the number of heads in SD1.5
        "norm_num_groups": UNET_GROUPS,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    }


def text_config() -> dict[str, object]:
    return {
        "vocab_size": 49408,
        "hidden_size": 48,
        "intermediate_size": 192,
        "projection_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": TEXT_HEADS,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "pad_token_id": 49407,
    }


def new_vae() -> AutoencoderKL:
    return AutoencoderKL(**vae_config())


def new_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(**unet_config())


def new_text_encoder() -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig(**text_config()))
