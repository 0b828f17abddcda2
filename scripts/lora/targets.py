"""Which layers of a model may get a LoRA, their names in a file, and their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from scripts.lora.blocks import BlockSizes, block_lr_weights, block_of, block_sizes
from scripts.lora.names import (
    OriginalLayout,
    text_encoder_names,
    text_encoder_prefix,
    unet_names,
)

if TYPE_CHECKING:
    from scripts.settings.train import TrainSettings

TEXT_PARENTS = ("CLIPAttention", "CLIPSdpaAttention", "CLIPMLP")
UNET_PARENTS = ("Transformer2DModel",)
UNET_CONV_PARENTS = ("ResnetBlock2D", "Downsample2D", "Upsample2D")


@dataclass(frozen=True)
class Target:
    """A layer of a base model that may get a LoRA: its name in a file and its place."""

    name: str
    path: str
    parent: nn.Module
    attribute: str
    layer: nn.Module

    @property
    def is_conv(self) -> bool:
        """Whether it is a convolution wider than 1x1, which has sizes of its own."""
        return isinstance(self.layer, nn.Conv2d) and self.layer.kernel_size != (1, 1)


def text_encoder_targets(text_encoders: Sequence[nn.Module]) -> list[Target]:
    """Every Linear of the attention and MLP blocks of CLIP text encoders."""
    targets = []
    for index, text_encoder in enumerate(text_encoders):
        found = _layers_inside(text_encoder, TEXT_PARENTS)
        prefix = text_encoder_prefix(index, len(text_encoders))
        names = text_encoder_names(found, prefix)
        targets += [Target(names[path], path, *place) for path, place in found.items()]
    return targets


def unet_targets(unet: nn.Module, family_name: str) -> list[Target]:
    """Every Linear and convolution of the U-Net's attention, resnet and sampler blocks.

    Which of them are used, the sizes decide: without conv_dim only those with attention.
    """
    found = _layers_inside(unet, UNET_PARENTS + UNET_CONV_PARENTS)
    layout = OriginalLayout.of(unet.config) if family_name == "sdxl" else None
    names = unet_names(found, layout)
    return [Target(names[path], path, *place) for path, place in found.items()]


def _layers_inside(
    model: nn.Module, parents: Sequence[str]
) -> dict[str, tuple[nn.Module, str, nn.Module]]:
    """path -> (the module that holds it, its attribute, the layer)."""
    found = {}
    for outer_path, outer in model.named_modules():
        if type(outer).__name__ not in parents:
            continue
        for path, layer in outer.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                holder_path, _, attribute = path.rpartition(".")
                holder = outer.get_submodule(holder_path)
                found[f"{outer_path}.{path}"] = (holder, attribute, layer)
    return found


def sizes_from_settings(
    targets: Sequence[Target], family_name: str, settings: TrainSettings
) -> dict[str, tuple[int, float]]:
    """(dim, alpha) by name, for the layers that get a LoRA."""
    blocks = block_sizes(settings, family_name)
    weights = block_lr_weights(settings, family_name)
    sizes = {}
    for target in targets:
        if not target.name.startswith("lora_unet_"):
            sizes[target.name] = (settings.network_dim, settings.alpha)
            continue
        block = block_of(target.name)
        size = _size_in_block(target, blocks, block)
        if size and size[0] and (weights is None or weights[block]):
            sizes[target.name] = size
    return sizes


def _size_in_block(target: Target, blocks: BlockSizes, block: int) -> tuple[int, float] | None:
    if blocks.conv_dims is None and ".attentions." not in target.path:
        return None
    if target.is_conv:
        return blocks.conv_dims[block], blocks.conv_alphas[block]
    return blocks.dims[block], blocks.alphas[block]
