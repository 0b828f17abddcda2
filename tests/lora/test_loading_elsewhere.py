"""A finished file in diffusers: no key is left over, and it does what the network did."""

from __future__ import annotations

import logging
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from lora_models import (
    STABLE_DIFFUSION,
    STABLE_DIFFUSION_XL,
    build_text_encoders,
    build_unet,
)
from peft.tuners.lora import LoraLayer
from random_loras import read_deltas
from torch import Tensor, nn

from scripts import resize_lora
from scripts.lora.file import save_lora
from scripts.lora.network import LoRANetwork
from scripts.lora.targets import text_encoder_targets, unet_targets

TOLERANCE = {"float": 1e-5, "fp16": 2e-3, "bf16": 2e-2}  # of the effect of the LoRA


def outputs(unet: nn.Module, text_encoders: list[nn.Module]) -> list[Tensor]:
    """The U-Net's and the text encoders' outputs for fixed inputs."""
    generator = torch.Generator().manual_seed(3)
    width = unet.config.cross_attention_dim
    arguments = {
        "sample": torch.randn(2, 4, 16, 8, generator=generator),
        "timestep": torch.tensor([10, 700]),
        "encoder_hidden_states": torch.randn(2, 7, width, generator=generator),
    }
    if len(text_encoders) == 2:
        time_ids = torch.tensor([[64.0, 64, 0, 0, 64, 64], [80, 64, 8, 0, 64, 64]])
        arguments["added_cond_kwargs"] = {
            "text_embeds": torch.randn(2, 8, generator=generator),
            "time_ids": time_ids,
        }
    tokens = torch.randint(0, 97, (2, 7), generator=generator)
    tokens[:, -1] = 99
    with torch.no_grad():
        found = [unet(**arguments).sample]
        found += [text_encoder(tokens).last_hidden_state for text_encoder in text_encoders]
    return found


def pipeline_of(unet: nn.Module, text_encoders: list[nn.Module]):
    parts = {"vae": None, "unet": unet, "scheduler": DDPMScheduler(), "tokenizer": None,
             "text_encoder": text_encoders[0]}  # fmt: skip
    if len(text_encoders) == 1:
        return StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    return StableDiffusionXLPipeline(
        **parts, tokenizer_2=None, text_encoder_2=text_encoders[1], add_watermarker=False
    )


def save_trained(path: Path, family, unet, text_encoders, settings, precision: str) -> dict:
    """Save a network whose weights are all random; what it put out, and how many layers it has."""
    base = outputs(unet, text_encoders)
    network = LoRANetwork.create(unet, text_encoders, family, settings)
    torch.manual_seed(1)
    for _, layer in network.layers():
        nn.init.normal_(layer.up.weight, std=0.3)
    trained = outputs(unet, text_encoders)
    save_lora(path, network.state_dict_for_file(), {"ss_steps": "1"}, precision)
    network.remove()
    after = outputs(unet, text_encoders)
    for one, other in zip(base, after, strict=True):
        torch.testing.assert_close(one, other)
    return {"base": base, "trained": trained, "layers": len(dict(network.layers()))}


@pytest.mark.parametrize(
    ("model", "conv_dim", "precision"),
    [
        ("tiny_sd15", None, "float"),
        ("tiny_sd15", 3, "fp16"),
        ("tiny_sd15", None, "bf16"),
        ("tiny_sdxl", 3, "float"),
        ("tiny_sdxl", None, "fp16"),
    ],
)
def test_same_output_in_diffusers(model, conv_dim, precision, settings, tmp_path, caplog):
    torch.manual_seed(0)
    unet, text_encoders = build_unet(model), build_text_encoders(model)
    family = STABLE_DIFFUSION_XL if model == "tiny_sdxl" else STABLE_DIFFUSION
    path = tmp_path / "lora.safetensors"
    chosen = settings(conv_dim=conv_dim, network_alpha=3.0)
    known = save_trained(path, family, unet, text_encoders, chosen, precision)

    pipeline = pipeline_of(unet, text_encoders)
    diffusers.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        pipeline.load_lora_weights(str(path))
    diffusers.utils.logging.disable_propagation()
    said = [record.getMessage() for record in caplog.records]
    assert not [text for text in said if "key" in text.lower() or "unexpected" in text.lower()]
    wrapped = sum(
        isinstance(module, LoraLayer)
        for model in (unet, *text_encoders)
        for module in model.modules()
    )
    assert wrapped == known["layers"]

    loaded = outputs(unet, text_encoders)
    for base, trained, there in zip(known["base"], known["trained"], loaded, strict=True):
        effect = (trained - base).abs().max().item()
        assert effect > 0.01
        assert (there - trained).abs().max().item() < TOLERANCE[precision] * effect


def test_a_dynamic_resize_has_its_strength_in_diffusers(tiny_sd15, settings, tmp_path):
    """Each layer has a dim of its own; what diffusers puts out is W + ΔW, layer by layer."""
    whole, path = tmp_path / "whole.safetensors", tmp_path / "lora.safetensors"
    unet, text_encoders = tiny_sd15
    save_trained(whole, STABLE_DIFFUSION, unet, text_encoders,
                 settings(network_dim=6, network_alpha=3.0), "float")  # fmt: skip
    words = ["--model", str(whole), "--save_to", str(path), "--new_rank", "5",
             "--dynamic_method", "sv_fro", "--dynamic_param", "0.8"]  # fmt: skip
    assert resize_lora.main(words) == 0
    changes = read_deltas(path)
    assert len({rank for _, rank, _ in changes.values()}) > 1
    pipeline = pipeline_of(unet, text_encoders)
    pipeline.load_lora_weights(str(path))
    loaded = outputs(unet, text_encoders)
    pipeline.unload_lora_weights()
    for target in (*text_encoder_targets(text_encoders), *unet_targets(unet, "sd1")):
        if target.name in changes:
            weight = target.layer.weight.data
            weight += torch.from_numpy(changes.pop(target.name)[0]).reshape(weight.shape)
    assert not changes
    for there, expected in zip(loaded, outputs(unet, text_encoders), strict=True):
        torch.testing.assert_close(there, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "values",
    [
        {"network_train_unet_only": True},
        {"network_train_text_encoder_only": True},
        {"block_dims": ",".join(str(1 + i % 5) for i in range(25)), "conv_dim": 2},
    ],
)
def test_other_choices_of_layers_load(values, tiny_sd15, settings, tmp_path):
    path = tmp_path / "lora.safetensors"
    known = save_trained(path, STABLE_DIFFUSION, *tiny_sd15, settings(**values), "float")
    pipeline_of(*tiny_sd15).load_lora_weights(str(path))
    for trained, loaded in zip(known["trained"], outputs(*tiny_sd15), strict=True):
        torch.testing.assert_close(loaded, trained, rtol=1e-4, atol=1e-4)
