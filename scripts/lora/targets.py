"""Which layers of a model may get a LoRA, and their names in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from scripts.lora.names import (
    OriginalLayout,
    text_encoder_names,
    text_encoder_prefix,
    unet_names,
)

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
