"""The reference's recorded steps: its models carry a LoRA, which is merged into ours here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from scripts.lora.names import OriginalLayout, original_path

STEPS = Path(__file__).parents[1] / "data" / "step"


def recorded(case: str) -> dict[str, Tensor]:
    """The tensors of a recorded step."""
    return load_file(STEPS / f"{case}.safetensors")


def merge_reference_lora(unet: nn.Module, text_encoders: Sequence[nn.Module]) -> None:
    """Add the LoRA that the reference had in the step: W + up @ down x alpha / dim."""
    is_xl = len(text_encoders) == 2
    file = "lora_init_sdxl_dim1_alpha1" if is_xl else "lora_init_sd15_dim2_alpha1"
    lora = load_file(STEPS / f"{file}.safetensors")
    layers = {}
    for number, encoder in enumerate(text_encoders):
        prefix = f"lora_te{number + 1}_" if is_xl else "lora_te_"
        for path, layer in encoder.named_modules():
            name = path if path.startswith("text_model.") else f"text_model.{path}"
            layers[prefix + name.replace(".", "_")] = layer
    layout = OriginalLayout.of(unet.config)
    for path, layer in unet.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            name = original_path(path, layout) if is_xl else path
            layers["lora_unet_" + name.replace(".", "_")] = layer
    for key in lora:
        name, _, kind = key.partition(".")
        if kind != "alpha":
            continue
        down, up = lora[f"{name}.lora_down.weight"], lora[f"{name}.lora_up.weight"]
        change = up.flatten(1) @ down.flatten(1) * (lora[key] / down.shape[0])
        with torch.no_grad():
            layers[name].weight += change.view_as(layers[name].weight)
