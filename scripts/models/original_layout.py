"""Where each parameter of diffusers' and transformers' models lies in a single file.

The single file has the names of the first Stable Diffusion code ("ldm", "sgm") or of open_clip.
Each function gives, for the names of one model's parameters, the source of each: the name in the
file, and which part of that tensor it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from scripts.lora.names import OriginalLayout, original_path
from scripts.models.shapes import TextShape


@dataclass(frozen=True)
class Source:
    """A tensor of the file. `third` picks one third of its rows (q, k, v kept in one matrix);
    `transposed` turns a matrix; a 1x1 convolution is flattened where a matrix is wanted."""

    name: str
    third: int | None = None
    transposed: bool = False


def unet_sources(
    parameters: Iterable[str], layers: int, up_attention: frozenset[int], prefix: str
) -> dict[str, Source]:
    """Sources of a UNet2DConditionModel; `up_attention` are its up blocks with attention."""
    layout = OriginalLayout(layers, up_attention)
    sources = {}
    for parameter in parameters:
        path, _, kind = parameter.rpartition(".")
        sources[parameter] = Source(f"{prefix}{original_path(path, layout)}.{kind}")
    return sources


VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def vae_sources(parameters: Iterable[str], levels: int, prefix: str) -> dict[str, Source]:
    """Sources of an AutoencoderKL with so many levels; the decoder's are numbered backwards."""
    return {parameter: Source(prefix + _vae_name(parameter, levels)) for parameter in parameters}


def _vae_name(parameter: str, levels: int) -> str:
    name = parameter.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    found = re.match(r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name)
    if found:
        part, side, block, kind, layer, rest = found.groups()
        level = int(block) if side == "down" else levels - 1 - int(block)
        inner = f"block.{layer}" if kind == "resnets" else f"{side}sample"
        return f"{part}.{side}.{level}.{inner}.{rest}"
    found = re.match(r"(encoder|decoder)\.mid_block\.(\w+)\.(\d+)\.(.+)\.(weight|bias)", name)
    if found:
        part, kind, layer, rest, ending = found.groups()
        if kind == "attentions":
            return f"{part}.mid.attn_1.{VAE_ATTENTION[rest]}.{ending}"
        return f"{part}.mid.block_{int(layer) + 1}.{rest}.{ending}"
    return name


OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
PROJECTIONS = ("q_proj", "k_proj", "v_proj")


def text_sources(parameters: Iterable[str], shape: TextShape) -> dict[str, Source]:
    """Sources of a CLIPTextModel or CLIPTextModelWithProjection."""
    sources = {}
    for parameter in parameters:
        name = parameter.removeprefix("text_model.")
        source = _open_clip_source(name) if shape.open_clip else Source(name)
        sources[parameter] = Source(shape.prefix + source.name, source.third, source.transposed)
    return sources


def _open_clip_source(name: str) -> Source:
    if name == "text_projection.weight":
        # open_clip computes x @ P, a Linear x @ W.T
        return Source("text_projection", transposed=True)
    if name in OPEN_CLIP:
        return Source(OPEN_CLIP[name])
    number, _, rest = name.removeprefix("encoder.layers.").partition(".")
    path, _, kind = rest.rpartition(".")
    block = f"transformer.resblocks.{number}"
    projection = path.removeprefix("self_attn.")
    if projection in PROJECTIONS:
        return Source(f"{block}.attn.in_proj_{kind}", third=PROJECTIONS.index(projection))
    return Source(f"{block}.{OPEN_CLIP_LAYER[path]}.{kind}")
