"""The names of LoRA layers in a file, from the paths of the modules in diffusers' models.

kohya's format: a prefix for the model (`lora_unet`, `lora_te`, `lora_te1`, `lora_te2`) and the
path with underscores for dots. SD1.x and SD2.x use diffusers' paths; for SDXL the U-Net's path is
that of the original layout (input_blocks, middle_block, output_blocks), computed by rule here
for any number of blocks. A1111, Forge, ComfyUI and diffusers map exactly these names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

RESNET_PARTS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
STEM = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def text_encoder_prefix(index: int, count: int) -> str:
    """The prefix of text encoder `index` (from 0) of `count`: lora_te, or lora_te1, lora_te2."""
    return "lora_te" if count == 1 else f"lora_te{index + 1}"


def text_encoder_names(paths: Iterable[str], prefix: str) -> dict[str, str]:
    """File name by module path for layers of a CLIP text encoder.

    The names in files begin with `text_model.`, which newer versions of transformers leave out
    of the module paths.
    """
    names = {}
    for path in paths:
        full = path if path.startswith("text_model.") else f"text_model.{path}"
        names[path] = f"{prefix}_{full.replace('.', '_')}"
    return names


def unet_names(paths: Iterable[str], layout: OriginalLayout | None = None) -> dict[str, str]:
    """File name by module path for layers of diffusers' UNet2DConditionModel.

    `layout` is needed for SDXL; without it (SD1.x, SD2.x) files keep diffusers' paths.
    """
    names = {}
    for path in paths:
        full = path if layout is None else original_path(path, layout)
        names[path] = f"lora_unet_{full.replace('.', '_')}"
    return names


@dataclass(frozen=True)
class OriginalLayout:
    """What of a U-Net decides its block numbers in the original (sgm) layout.

    `layers_per_block` counts the resnets of a down block; an up block has one more.
    `up_attention` holds the numbers of the up blocks with attention.
    """

    layers_per_block: int
    up_attention: frozenset[int]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> OriginalLayout:
        """The layout of a U-Net from its diffusers config."""
        attention = (i for i, kind in enumerate(config["up_block_types"]) if "CrossAttn" in kind)
        return cls(config["layers_per_block"], frozenset(attention))


def original_path(path: str, layout: OriginalLayout) -> str:
    """The path in the original layout of a module path in diffusers' U-Net.

    A down block takes a number for each resnet and one for its downsampler, an up block one for
    each resnet; block 0 of the input is the first convolution. Within a number stand the resnet
    (0), the attention (1) and the upsampler (last).

    Raises ValueError for a path that the layout has no place for.
    """
    if path in STEM:
        return STEM[path]
    found = re.match(r"(?:(down|up)_blocks\.(\d+)|mid_block)\.(\w+)\.(\d+)(?:\.(.+))?$", path)
    if not found or found[3] not in ("resnets", "attentions", "downsamplers", "upsamplers"):
        raise ValueError(f"The original layout has no place for {path}.")
    side, block, kind, layer, rest = found.groups()
    place = _place(side, int(block or 0), kind, int(layer), layout)
    if kind == "resnets":
        rest = RESNET_PARTS.get(rest, rest)
    elif kind == "downsamplers" and rest == "conv":
        rest = "op"
    return place if rest is None else f"{place}.{rest}"


@cache
def diffusers_places(layout: OriginalLayout) -> dict[str, str]:
    """The place in diffusers' U-Net by that in the original layout, with underscores: the other
    way of `original_path`, as far as the four blocks of each side go."""
    ends = list(STEM)
    for side, block in ((side, block) for side in ("down", "up") for block in range(4)):
        layers = layout.layers_per_block + (side == "up")
        for kind in ("resnets", "attentions"):
            ends += [f"{side}_blocks.{block}.{kind}.{layer}" for layer in range(layers)]
        ends.append(f"{side}_blocks.{block}.{side}samplers.0")
    ends += ["mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1"]
    return {original_path(end, layout).replace(".", "_"): end.replace(".", "_") for end in ends}


def _place(side: str | None, block: int, kind: str, layer: int, layout: OriginalLayout) -> str:
    entries = layout.layers_per_block + 1
    part = int(kind == "attentions")
    if side is None:
        return f"middle_block.{2 * layer + part}"
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * entries}.0"
    if kind == "upsamplers":
        part = 2 if block in layout.up_attention else 1
        return f"output_blocks.{(block + 1) * entries - 1}.{part}"
    if side == "down":
        return f"input_blocks.{1 + block * entries + layer}.{part}"
    return f"output_blocks.{block * entries + layer}.{part}"
