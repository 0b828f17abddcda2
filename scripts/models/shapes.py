"""The sizes of a model's parts, read from the names and shapes of its tensors.

Widths and depths come from the shapes, so a smaller or larger model of a family is one of it too.
What shapes cannot tell (attention heads, groups of the norms) is the family's standard, or what
the file says under `easy_lora_shape` in its metadata:
{"unet_heads": 4, "unet_groups": 8, "vae_groups": 4, "text_heads": 4, "text2_heads": 4}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scripts.models.families import Family

Shapes = Mapping[str, tuple[int, ...]]

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TOKENS = 77

# Where the text encoders lie (some merged files leave out "text_model"), and whose note is theirs.
TEXT_PLACES = {
    "sd1": (
        (
            ("cond_stage_model.transformer.text_model.", "cond_stage_model.transformer."),
            "text_heads",
        ),
    ),
    "sd2": ((("cond_stage_model.model.",), "text_heads"),),
    "sdxl": (
        (("conditioner.embedders.0.transformer.text_model.",), "text_heads"),
        (("conditioner.embedders.1.model.",), "text2_heads"),
    ),
}


class OddShapes(Exception):
    """The shapes are not those of a model of the family; the message says how."""


@dataclass(frozen=True)
class UNetShape:
    """A U-Net: `channels` per level, from the finest; `depths` are the transformer blocks there.

    `layers` is the number of resnets of a level on the way down. `label_width` is what SDXL's
    pooled text and sizes have together, None for other families.
    """

    channels: tuple[int, ...]
    layers: int
    depths: tuple[int, ...]
    context_width: int
    heads: tuple[int, ...]
    groups: int
    linear_projection: bool
    in_channels: int = 4
    label_width: int | None = None


@dataclass(frozen=True)
class VAEShape:
    """An autoencoder: `channels` per level, from the finest; `layers` resnets a level."""

    channels: tuple[int, ...]
    layers: int
    groups: int
    latent_channels: int = 4


@dataclass(frozen=True)
class TextShape:
    """A CLIP text encoder. `prefix` begins its names in a single file.

    `open_clip` tells that the names are those of open_clip; `projection` is the width of the
    pooled output, None where there is none.
    """

    width: int
    layers: int
    mlp_width: int
    heads: int
    prefix: str
    open_clip: bool
    vocabulary: int = 49408
    projection: int | None = None


@dataclass(frozen=True)
class ModelShape:
    """All parts of a model. `vae` is None where the file has none."""

    unet: UNetShape
    vae: VAEShape | None
    texts: tuple[TextShape, ...]


def read_notes(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What the file itself says of its shape. Raises OddShapes when that is not readable."""
    try:
        notes = json.loads(metadata.get("easy_lora_shape", "{}"))
    except ValueError as error:
        raise OddShapes("the entry easy_lora_shape in its metadata is not readable") from error
    if not isinstance(notes, dict):
        raise OddShapes("the entry easy_lora_shape in its metadata is not readable")
    return notes


def _size(shapes: Shapes, name: str, axis: int) -> int:
    if name not in shapes or len(shapes[name]) <= axis:
        raise OddShapes(f"{name} is missing")
    return shapes[name][axis]


def _count(shapes: Shapes, pattern: str) -> int:
    """One more than the highest number that the pattern's group finds, 0 if there is none."""
    found = (re.match(pattern, name) for name in shapes)
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def unet_shape(
    shapes: Shapes, family: Family, notes: Mapping[str, Any], prefix: str = UNET_PREFIX
) -> UNetShape:
    """The shape of the U-Net in the original layout. Raises OddShapes."""
    levels: list[list[tuple[int, int]]] = [[]]  # per level: (channels, depth) of each resnet
    for number in range(1, _count(shapes, re.escape(prefix) + r"input_blocks\.(\d+)\.")):
        block = f"{prefix}input_blocks.{number}"
        if f"{block}.0.op.weight" in shapes:
            levels.append([])
            continue
        channels = _size(shapes, f"{block}.0.in_layers.2.weight", 0)
        levels[-1].append((channels, _depth(shapes, f"{block}.1")))
    layers = {len(level) for level in levels}
    if len(layers) != 1 or layers == {0} or any(len(set(level)) != 1 for level in levels):
        raise OddShapes("its blocks are not alike within a level")
    channels = tuple(level[0][0] for level in levels)
    depths = tuple(level[0][1] for level in levels)
    _check_middle(shapes, prefix, depths)
    attention = f"{prefix}input_blocks.{_first_attention(depths, layers)}.1"
    groups = int(notes.get("unet_groups", family.groups))
    heads = notes.get("unet_heads") or family.heads(channels)
    shape = UNetShape(
        channels=channels,
        layers=layers.pop(),
        depths=depths,
        context_width=_size(shapes, f"{attention}.transformer_blocks.0.attn2.to_k.weight", 1),
        heads=tuple(heads) if not isinstance(heads, int) else (heads,) * len(channels),
        groups=groups,
        linear_projection=len(shapes[f"{attention}.proj_in.weight"]) == 2,
        in_channels=_size(shapes, f"{prefix}input_blocks.0.0.weight", 1),
        label_width=shapes.get(f"{prefix}label_emb.0.0.weight", (0, None))[1],
    )
    _check_divisions(shape.channels, shape.groups, "U-Net")
    if len(shape.heads) != len(channels) or any(
        width % count for width, count in zip(channels, shape.heads, strict=True)
    ):
        raise OddShapes(f"its widths {channels} do not fit {shape.heads} attention heads")
    return shape


def _depth(shapes: Shapes, block: str) -> int:
    if f"{block}.proj_in.weight" not in shapes:
        return 0
    depth = 0
    while f"{block}.transformer_blocks.{depth}.attn1.to_q.weight" in shapes:
        depth += 1
    return depth


def _check_middle(shapes: Shapes, prefix: str, depths: tuple[int, ...]) -> None:
    """diffusers gives the middle the depth of the last level, or 1 when that has no attention."""
    middle = _depth(shapes, f"{prefix}middle_block.1")
    if middle != (depths[-1] or 1):
        raise OddShapes(f"its middle block has {middle} transformer layers")


def _first_attention(depths: tuple[int, ...], layers: set[int]) -> int:
    level = next((number for number, depth in enumerate(depths) if depth), None)
    if level is None:
        raise OddShapes("it has no attention")
    return 1 + level * (min(layers) + 1)


def _check_divisions(channels: tuple[int, ...], groups: int, part: str) -> None:
    if groups < 1 or any(width % groups for width in channels):
        raise OddShapes(f"the widths {channels} of its {part} do not fit norms of {groups} groups")


def vae_shape(
    shapes: Shapes, family: Family | None, notes: Mapping[str, Any], prefix: str = VAE_PREFIX
) -> VAEShape:
    """The shape of the VAE in the original layout. Raises OddShapes."""
    start = re.escape(prefix)
    levels = _count(shapes, start + r"encoder\.down\.(\d+)\.")
    channels = tuple(
        _size(shapes, f"{prefix}encoder.down.{level}.block.0.conv1.weight", 0)
        for level in range(levels)
    )
    latent_channels = _size(shapes, f"{prefix}decoder.conv_in.weight", 1)
    if latent_channels != 4 or len(channels) != 4:
        raise OddShapes(
            f"its VAE has {latent_channels} latent channels and {len(channels)} levels, not 4 and 4"
        )
    groups = int(notes.get("vae_groups", family.groups if family else 32))
    _check_divisions(channels, groups, "VAE")
    layers = _count(shapes, start + r"encoder\.down\.0\.block\.(\d+)\.")
    return VAEShape(channels, layers, groups, latent_channels)


def text_shapes(shapes: Shapes, family: Family, notes: Mapping[str, Any]) -> tuple[TextShape, ...]:
    """The text encoders of the family that the file holds, in order; fewer if some are missing.

    Raises OddShapes when one is there but is not CLIP's.
    """
    found = []
    for prefixes, note in TEXT_PLACES[family.name]:
        for prefix in prefixes:
            if f"{prefix}embeddings.token_embedding.weight" in shapes:
                found.append(_clip(shapes, prefix, family, notes.get(note)))
                break
            if f"{prefix}token_embedding.weight" in shapes:
                found.append(_open_clip(shapes, prefix, family, notes.get(note)))
                break
    return tuple(found)


def _clip(shapes: Shapes, prefix: str, family: Family, heads: int | None) -> TextShape:
    layers = _count(shapes, re.escape(prefix) + r"encoder\.layers\.(\d+)\.")
    embedding = shapes[f"{prefix}embeddings.token_embedding.weight"]
    mlp_width = _size(shapes, f"{prefix}encoder.layers.0.mlp.fc1.weight", 0)
    positions = _size(shapes, f"{prefix}embeddings.position_embedding.weight", 0)
    return _text_shape(embedding, positions, layers, mlp_width, prefix, False, family, heads)


def _open_clip(shapes: Shapes, prefix: str, family: Family, heads: int | None) -> TextShape:
    layers = _count(shapes, re.escape(prefix) + r"transformer\.resblocks\.(\d+)\.")
    if family.name == "sd2" and layers != 23:
        layers -= 1  # SD2 was made with the layer before the last: the last one is never used
    embedding = shapes[f"{prefix}token_embedding.weight"]
    mlp_width = _size(shapes, f"{prefix}transformer.resblocks.0.mlp.c_fc.weight", 0)
    positions = _size(shapes, f"{prefix}positional_embedding", 0)
    projection = None
    if family.name == "sdxl":
        projection = _size(shapes, f"{prefix}text_projection", 1)
    return _text_shape(
        embedding, positions, layers, mlp_width, prefix, True, family, heads, projection
    )


def _text_shape(
    embedding: tuple[int, ...],
    positions: int,
    layers: int,
    mlp_width: int,
    prefix: str,
    open_clip: bool,
    family: Family,
    heads: int | None,
    projection: int | None = None,
) -> TextShape:
    vocabulary, width = embedding
    if vocabulary != 49408 or positions != TOKENS:
        raise OddShapes(
            f"its text encoder has {vocabulary} words and {positions} places, not 49408 and 77"
        )
    heads = heads or max(1, width // family.head_size)
    if layers < 1 or width % heads:
        raise OddShapes(f"its text encoder's width {width} does not fit {heads} attention heads")
    return TextShape(width, layers, mlp_width, heads, prefix, open_clip, vocabulary, projection)
