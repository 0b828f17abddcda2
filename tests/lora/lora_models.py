"""Tiny base models with random weights for the LoRA tests."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from scripts.lora.layer import LoRALayer

DATA = Path(__file__).parents[1] / "data"
STABLE_DIFFUSION = SimpleNamespace(name="sd1")
STABLE_DIFFUSION_XL = SimpleNamespace(name="sdxl")


def build_unet(model: str, device: str = "cpu") -> UNet2DConditionModel:
    config = json.loads((DATA / "models" / f"{model}_config/unet/config.json").read_text())
    with torch.device(device):
        return UNet2DConditionModel.from_config(config).eval()


@torch.no_grad()
def weight_change(layer: LoRALayer) -> torch.Tensor:
    """ΔW = up · down · alpha / dim in the shape of the base layer's weight, float32."""
    change = layer.up.weight.float().flatten(1) @ layer.down.weight.float().flatten(1)
    return change.view(layer.base.weight.shape) * layer.alpha / layer.dim


def build_text_encoders(model: str, device: str = "cpu") -> list[torch.nn.Module]:
    """The text encoders with a vocabulary of 100, which is enough for random tokens."""
    encoders = []
    for folder, kind in (
        ("text_encoder", CLIPTextModel),
        ("text_encoder_2", CLIPTextModelWithProjection),
    ):
        path = DATA / "models" / f"{model}_config" / folder / "config.json"
        if path.exists():
            content = json.loads(path.read_text())
            content.update(vocab_size=100, bos_token_id=98, eos_token_id=99, pad_token_id=99)
            with torch.device(device):
                encoders.append(kind(CLIPTextConfig(**content)).eval())
    return encoders
