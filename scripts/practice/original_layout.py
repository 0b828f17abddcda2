"""The practice model as one file in the layout of the first Stable Diffusion code: write, read."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from scripts.core.files import replace_atomically
from scripts.models.original_layout import text_sources, unet_sources, vae_sources
from scripts.models.shapes import UNET_PREFIX, VAE_PREFIX, TextShape
from scripts.practice.tiny_models import (
    SHAPE_NOTES,
    new_text_encoder,
    new_unet,
    new_vae,
    text_config,
    unet_config,
    vae_config,
)

TEXT_PREFIX = "cond_stage_model.transformer.text_model."


def new_models() -> nn.ModuleDict:
    """``vae``, ``unet`` and ``text_encoder``, untrained."""
    return nn.ModuleDict({"vae": new_vae(), "unet": new_unet(), "text_encoder": new_text_encoder()})


def file_names(models: nn.ModuleDict) -> dict[str, str]:
    """The name in the single file of each parameter of ``models``."""
    unet, vae, text = unet_config(), vae_config(), text_config()
    up_attention = frozenset(
        number for number, kind in enumerate(unet["up_block_types"]) if "CrossAttn" in kind
    )
    text_shape = TextShape(
        width=text["hidden_size"],
        layers=text["num_hidden_layers"],
        mlp_width=text["intermediate_size"],
        heads=text["num_attention_heads"],
        prefix=TEXT_PREFIX,
        open_clip=False,
    )
    names = {part: [name for name, _ in model.named_parameters()] for part, model in models.items()}
    layers, levels = unet["layers_per_block"], len(vae["block_out_channels"])
    sources = {
        "unet": unet_sources(names["unet"], layers, up_attention, UNET_PREFIX),
        "vae": vae_sources(names["vae"], levels, VAE_PREFIX),
        "text_encoder": text_sources(names["text_encoder"], text_shape),
    }
    return {
        f"{part}.{name}": source.name for part in sources for name, source in sources[part].items()
    }


def single_file_tensors(models: nn.ModuleDict) -> dict[str, Tensor]:
    """All tensors under the names, and in the shapes, that an SD1 single file has."""
    parameters = dict(models.named_parameters())
    tensors = {}
    for name, target in file_names(models).items():
        value = parameters[name].detach()
        if ".attn_1." in target and value.dim() == 2:
            value = value[:, :, None, None]  # the VAE's attention was made of 1 x 1 convolutions
        tensors[target] = value
    positions = torch.arange(text_config()["max_position_embeddings"])
    tensors[f"{TEXT_PREFIX}embeddings.position_ids"] = positions[None]
    return tensors


def write_single_file(
    path: Path,
    models: nn.ModuleDict,
    metadata: dict[str, str],
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write the file, with ``easy_lora_shape`` in its header telling what shapes cannot.

    Raises ValueError if a weight is not finite in ``dtype``.
    """
    tensors = {}
    for name, tensor in single_file_tensors(models).items():
        value = tensor.to(dtype) if tensor.is_floating_point() else tensor
        if not torch.isfinite(value).all():
            raise ValueError(f"{name} does not fit into {dtype}")
        tensors[name] = value.contiguous()
    notes = {"easy_lora_shape": json.dumps(SHAPE_NOTES), "format": "pt"}
    with replace_atomically(path) as unfinished:
        save_file(tensors, str(unfinished), metadata=metadata | notes)


@torch.no_grad()
def read_single_file(path: Path) -> nn.ModuleDict:
    """The practice model in such a file, in fp32 on the CPU."""
    models = new_models()
    tensors = load_file(str(path))
    parameters = dict(models.named_parameters())
    for name, target in file_names(models).items():
        parameters[name].copy_(tensors[target].reshape(parameters[name].shape))
    return models.eval()
