"""Make model files for tests: headers of any size without their data, and small whole files."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from scripts.models.configs import bundled_config
from scripts.models.families import SD1, SD2, Family

Shapes = dict[str, tuple[int, ...]]


def write_header_only(
    path: Path, shapes: Mapping[str, tuple[int, ...]], metadata: dict[str, str] | None = None
) -> Path:
    """A safetensors file with a true header whose tensors all share the same zero bytes.

    The file is as long as its largest tensor, so a model of 7 GB takes no more than its header
    (the rest is a hole in the file).
    """
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    size = 0
    for name, shape in shapes.items():
        length = 2 * math.prod(shape)
        size = max(size, length)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [0, length]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + size)
    return path


def _part(model: type[nn.Module], config: dict) -> nn.Module:
    with torch.device("meta"):
        return model(**{key: value for key, value in config.items() if not key.startswith("_")})


def full_size_unet(family: Family) -> nn.Module:
    """diffusers' U-Net of a family in full size, without memory."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    return _part(UNet2DConditionModel, bundled_config(family, "unet"))


def full_size_vae(family: Family) -> nn.Module:
    """diffusers' VAE in full size, without memory."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return _part(AutoencoderKL, bundled_config(family, "vae"))


def clip_shapes(prefix: str, width: int, layers: int, mlp_width: int) -> Shapes:
    """The tensors of a CLIP text encoder as transformers named them."""
    shapes: Shapes = {
        "embeddings.token_embedding.weight": (49408, width),
        "embeddings.position_embedding.weight": (77, width),
        "embeddings.position_ids": (1, 77),
        "final_layer_norm.weight": (width,),
        "final_layer_norm.bias": (width,),
    }
    for layer in range(layers):
        start = f"encoder.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{start}self_attn.{name}.weight"] = (width, width)
            shapes[f"{start}self_attn.{name}.bias"] = (width,)
        for name in ("layer_norm1", "layer_norm2"):
            shapes[f"{start}{name}.weight"] = shapes[f"{start}{name}.bias"] = (width,)
        shapes |= {
            f"{start}mlp.fc1.weight": (mlp_width, width), f"{start}mlp.fc1.bias": (mlp_width,),
            f"{start}mlp.fc2.weight": (width, mlp_width), f"{start}mlp.fc2.bias": (width,),
        }  # fmt: skip
    return {prefix + name: shape for name, shape in shapes.items()}


def open_clip_shapes(prefix: str, width: int, layers: int, mlp_width: int) -> Shapes:
    """The tensors of a text encoder of open_clip."""
    shapes: Shapes = {
        "token_embedding.weight": (49408, width),
        "positional_embedding": (77, width),
        "text_projection": (width, width),
        "logit_scale": (),
        "ln_final.weight": (width,),
        "ln_final.bias": (width,),
    }
    for layer in range(layers):
        start = f"transformer.resblocks.{layer}."
        shapes |= {
            f"{start}attn.in_proj_weight": (3 * width, width),
            f"{start}attn.in_proj_bias": (3 * width,),
            f"{start}attn.out_proj.weight": (width, width),
            f"{start}attn.out_proj.bias": (width,),
            f"{start}mlp.c_fc.weight": (mlp_width, width), f"{start}mlp.c_fc.bias": (mlp_width,),
            f"{start}mlp.c_proj.weight": (width, mlp_width), f"{start}mlp.c_proj.bias": (width,),
        }  # fmt: skip
        for name in ("ln_1", "ln_2"):
            shapes[f"{start}{name}.weight"] = shapes[f"{start}{name}.bias"] = (width,)
    return {prefix + name: shape for name, shape in shapes.items()}


def text_shapes_of(family: Family) -> Shapes:
    """The text encoders of a published model of the family."""
    if family is SD1:
        return clip_shapes("cond_stage_model.transformer.text_model.", 768, 12, 3072)
    if family is SD2:
        return open_clip_shapes("cond_stage_model.model.", 1024, 24, 4096)
    return clip_shapes("conditioner.embedders.0.transformer.text_model.", 768, 12, 3072) | (
        open_clip_shapes("conditioner.embedders.1.model.", 1280, 32, 5120)
    )


def full_size_shapes(family: Family) -> Shapes:
    """All tensors of a published model of the family, in the original layout."""
    from scripts.models.original_layout import unet_sources, vae_sources
    from scripts.models.shapes import UNET_PREFIX, VAE_PREFIX

    unet, vae = full_size_unet(family), full_size_vae(family)
    attention = frozenset(
        number for number, kind in enumerate(unet.config.up_block_types) if "CrossAttn" in kind
    )
    shapes = text_shapes_of(family)
    names = unet_sources(unet.state_dict(), 2, attention, UNET_PREFIX)
    shapes |= {names[key].name: tuple(value.shape) for key, value in unet.state_dict().items()}
    names = vae_sources(vae.state_dict(), 4, VAE_PREFIX)
    for key, value in vae.state_dict().items():
        shape = tuple(value.shape)
        if ".attn_1." in names[key].name and len(shape) == 2:
            shape += (1, 1)  # 1x1 convolutions there
        shapes[names[key].name] = shape
    for name in ("alphas_cumprod", "betas", "model_ema.decay"):
        shapes[name] = (1000,) if name != "model_ema.decay" else ()
    return shapes
