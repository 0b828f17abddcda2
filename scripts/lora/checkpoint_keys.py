"""Where the weights that a LoRA can change lie in a checkpoint (one file of SD1, SD2 or SDXL).

    checkpoint = open_checkpoint(Path("model.safetensors"))
    place = checkpoint.modules["lora_te2_text_model_encoder_layers_0_self_attn_q_proj"]
    place.key                             # conditioner.embedders.1.model....attn.in_proj_weight
    place.rows(tensor)                    # the third of it that is q

Only the head of the file is read; no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.lora.names import (
    RESNET_PARTS,
    STEM,
    OriginalLayout,
    text_encoder_names,
    text_encoder_prefix,
    unet_names,
)
from scripts.models.families import Family
from scripts.models.file_head import read_head
from scripts.models.original_layout import PROJECTIONS, Source, text_sources, unet_sources
from scripts.models.recognise import family_and_shape, prediction_of
from scripts.models.shapes import UNET_PREFIX, ModelShape, Shapes, TextShape, UNetShape

TEXT_ENCODER, ATTENTION, RESNET, REST = "text_encoder", "attention", "resnet", "rest"

TEXT_LAYER = (*(f"self_attn.{name}" for name in (*PROJECTIONS, "out_proj")), "mlp.fc1", "mlp.fc2")
TRANSFORMER_LAYER = (
    *(f"{attention}.{name}" for attention in ("attn1", "attn2")
      for name in ("to_q", "to_k", "to_v", "to_out.0")),
    "ff.net.0.proj", "ff.net.2",
)  # fmt: skip


@dataclass(frozen=True)
class CheckpointModule:
    """One weight that a LoRA can change, and its place.

    `name` is the module's name in a LoRA file, `key` that of the tensor in the checkpoint, `shape`
    the weight's as the layer has it, (out, in) or (out, in, height, width). `third` tells which
    third of the tensor's rows it is (q, k and v in one matrix), None for the whole; `transposed`
    that the tensor is the weight turned. `part` is text_encoder, attention, resnet (with the
    samplers: what a LoCon adds) or rest (what only few tools train: the U-Net's embeddings, first
    and last convolution, and SDXL's text projection).
    """

    name: str
    key: str
    shape: tuple[int, ...]
    part: str
    third: int | None = None
    transposed: bool = False

    def rows(self, tensor: Any) -> Any:
        """The view of the checkpoint's tensor (NumPy or torch) that is this weight."""
        if self.third is not None:
            height = self.shape[0]
            tensor = tensor[self.third * height : (self.third + 1) * height]
        return tensor.T if self.transposed else tensor


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint by its head: `shapes` of all its tensors by key, `modules` by LoRA name; its
    `layout` is "single_file" (safetensors) or "ckpt". `v_prediction` is None where neither the file
    nor its name tells."""

    path: Path
    family: Family
    layout: str
    shapes: Shapes
    modules: Mapping[str, CheckpointModule]
    v_prediction: bool | None


def open_checkpoint(path: Path | str) -> Checkpoint:
    """The checkpoint at `path`, a .safetensors or .ckpt file; a VAE or text encoder may be missing.

    Raises SuiteError when there is no such file, it is broken, or is something else than Stable
    Diffusion 1.x, 2.x or XL; the message names what it seems to be.
    """
    path = Path(path)
    head = read_head(path)
    family, shape = family_and_shape(path, head, any_input=True)
    modules = {module.name: module for module in modules_of(family, shape, head.shapes)}
    v_prediction = prediction_of(path, family, head).v
    return Checkpoint(path, family, head.layout, head.shapes, modules, v_prediction)


def modules_of(family: Family, shape: ModelShape, shapes: Shapes) -> Iterator[CheckpointModule]:
    """Every weight that a LoRA can change: text encoders in order, then the U-Net.

    Args:
        family: decides the names (`scripts.lora.names`).
        shape: the sizes of the model's parts.
        shapes: of the tensors in the file; what the file lacks is left out.
    """
    for text in shape.texts:
        index = _text_index(text, family)
        paths = [f"encoder.layers.{n}.{end}" for n in range(text.layers) for end in TEXT_LAYER]
        prefix = text_encoder_prefix(index, family.text_encoder_count)
        names = text_encoder_names(paths, prefix)
        sources = text_sources([f"{path}.weight" for path in paths], text)
        for path in paths:
            yield from _module(names[path], sources[f"{path}.weight"], TEXT_ENCODER, shapes)
        if text.projection:
            weight = "text_projection.weight"
            source = text_sources([weight], text)[weight]
            yield from _module(f"{prefix}_text_projection", source, REST, shapes)
    yield from _unet_modules(family, shape.unet, shapes)


def _text_index(text: TextShape, family: Family) -> int:
    """SDXL's second text encoder is open_clip's, also when the first is missing."""
    return int(family.text_encoder_count == 2 and text.open_clip)


def _unet_modules(family: Family, unet: UNetShape, shapes: Shapes) -> Iterator[CheckpointModule]:
    up_attention = frozenset(i for i, depth in enumerate(reversed(unet.depths)) if depth)
    parts = dict(_unet_paths(unet))
    layout = OriginalLayout(unet.layers, up_attention) if family.name == "sdxl" else None
    names = unet_names(parts, layout)
    weights = [f"{path}.weight" for path in parts]
    sources = unet_sources(weights, unet.layers, up_attention, UNET_PREFIX)
    for path, part in parts.items():
        yield from _module(names[path], sources[f"{path}.weight"], part, shapes)


def _unet_paths(unet: UNetShape) -> Iterator[tuple[str, str]]:
    """(path in diffusers' U-Net, part) of each of its Linear layers and convolutions; some more
    where only some resnets have a shortcut."""
    levels = len(unet.channels)
    for path in STEM:
        yield path, REST
    for level in range(levels):
        yield from _block_paths(f"down_blocks.{level}", unet.layers, unet.depths[level])
        if level < levels - 1:
            yield f"down_blocks.{level}.downsamplers.0.conv", RESNET
    yield from _block_paths("mid_block", 2, unet.depths[-1] or 1, attentions=1)
    for level, depth in enumerate(reversed(unet.depths)):
        yield from _block_paths(f"up_blocks.{level}", unet.layers + 1, depth)
        if level < levels - 1:
            yield f"up_blocks.{level}.upsamplers.0.conv", RESNET


def _block_paths(
    block: str, resnets: int, depth: int, attentions: int | None = None
) -> Iterator[tuple[str, str]]:
    for number in range(resnets):
        for part in RESNET_PARTS:
            yield f"{block}.resnets.{number}.{part}", RESNET
    for number in range((resnets if attentions is None else attentions) if depth else 0):
        attention = f"{block}.attentions.{number}"
        yield f"{attention}.proj_in", ATTENTION
        for layer in range(depth):
            for end in TRANSFORMER_LAYER:
                yield f"{attention}.transformer_blocks.{layer}.{end}", ATTENTION
        yield f"{attention}.proj_out", ATTENTION


def _module(name: str, source: Source, part: str, shapes: Shapes) -> Iterator[CheckpointModule]:
    """The module, unless the file lacks it or its tensor is no matrix (a norm)."""
    shape = shapes.get(source.name, ())
    if len(shape) < 2:
        return
    if source.third is not None:
        shape = (shape[0] // 3, *shape[1:])
    if source.transposed:
        shape = shape[::-1]
    yield CheckpointModule(name, source.name, shape, part, source.third, source.transposed)
