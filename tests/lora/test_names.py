"""Names in the file for the full architectures, against names derived in other ways."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import UNet2DConditionModel
from lora_models import DATA, STABLE_DIFFUSION, STABLE_DIFFUSION_XL, build_unet
from safetensors import safe_open
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from scripts.lora.names import OriginalLayout, original_path, text_encoder_names, unet_names
from scripts.lora.network import LoRANetwork

UNETS = {  # the published configs, as far as the names depend on them
    "sd1": {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768},
    "sd2": {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 1024,
            "use_linear_projection": True, "attention_head_dim": (5, 10, 20, 20)},
    "sdxl": {"block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048,
             "use_linear_projection": True, "attention_head_dim": (5, 10, 20),
             "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
             "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
             "transformer_layers_per_block": (1, 2, 10), "addition_embed_type": "text_time",
             "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816},
}  # fmt: skip
TEXT = {"sd1": [(768, 12)], "sd2": [(1024, 23)], "sdxl": [(768, 12), (1280, 32)]}


def full_model(name: str) -> tuple[nn.Module, list[nn.Module]]:
    """A U-Net and text encoders of the published size, without memory for their weights."""
    kinds = (CLIPTextModel, CLIPTextModelWithProjection)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNETS[name])
        text_encoders = [
            kind(CLIPTextConfig(hidden_size=width, intermediate_size=4 * width,
                                num_attention_heads=width // 64, num_hidden_layers=depth))
            for kind, (width, depth) in zip(kinds, TEXT[name], strict=False)
        ]  # fmt: skip
    return unet, text_encoders


def network_of(name: str, settings, **values) -> LoRANetwork:
    family = STABLE_DIFFUSION_XL if name == "sdxl" else STABLE_DIFFUSION
    return LoRANetwork.create(*full_model(name), family, settings(**values))


def keys_of(name: str) -> set[str]:
    with safe_open(DATA / "step" / f"{name}.safetensors", framework="pt") as file:
        return set(file.keys())


@pytest.mark.parametrize(
    ("name", "conv_dim", "text", "unet"),
    [("sd1", None, 72, 192), ("sd1", 4, 72, 278), ("sd2", None, 138, 192), ("sd2", 4, 138, 278),
     ("sdxl", None, 264, 722), ("sdxl", 4, 264, 788)],
)  # fmt: skip
def test_numbers_of_layers(name, conv_dim, text, unet, settings):
    summary = network_of(name, settings, conv_dim=conv_dim).summary()
    assert (summary.text_encoder_layers, summary.unet_layers) == (text, unet)


def test_full_sd15_has_the_keys_of_the_reference(settings):
    """But for one shortcut, which only the tiny model has: it widens at the last level."""
    shortcut = "lora_unet_down_blocks_3_resnets_0_conv_shortcut."
    for conv_dim, file in ((None, "lora_init_sd15_dim2_alpha1"), (1, "lora_init_sd15_dim2_conv1")):
        network = network_of("sd1", settings, conv_dim=conv_dim)
        expected = {key for key in keys_of(file) if not key.startswith(shortcut)}
        assert set(network.state_dict_for_file()) == expected


def test_full_sdxl_has_the_keys_of_the_reference(settings):
    """The reference's second text encoder has 6 layers, and 32 in the full model."""
    found = set(network_of("sdxl", settings).state_dict_for_file())
    deeper = {key for key in found if key.startswith("lora_te2_") and _layer_number(key) >= 6}
    assert found - deeper == keys_of("lora_init_sdxl_dim1_alpha1")
    assert len(deeper) == 26 * 6 * 3


def _layer_number(key: str) -> int:
    return int(key.split("_layers_")[1].split("_")[0])


def test_full_sdxl_locon_has_the_names_of_the_reference(settings):
    network = network_of("sdxl", settings, conv_dim=1, network_train_unet_only=True)
    reference = json.loads((DATA / "step" / "blocks.json").read_text())
    assert {name for name, _ in network.layers()} == set(reference["block_index_of_module"]["sdxl"])


@pytest.mark.parametrize("name", ["sd1", "sd2"])
def test_sd1_and_sd2_names_are_the_diffusers_paths(name, settings):
    """What A1111, Forge and ComfyUI look up: `lora_unet_` and the path with underscores, for each
    weight; `lora_te_text_model_` and the path inside CLIP's text model."""
    unet, text_encoders = full_model(name)
    paths = [path for path, layer in unet.named_modules() if _is_layer(layer)]
    text_paths = [
        f"text_model.{path.removeprefix('text_model.')}"
        for path, layer in text_encoders[0].named_modules()
        if _is_layer(layer)
    ]
    known = {f"lora_unet_{path.replace('.', '_')}" for path in paths}
    known |= {f"lora_te_{path.replace('.', '_')}" for path in text_paths}
    network = network_of(name, settings, conv_dim=4)
    names = {name for name, _ in network.layers()}
    assert names <= known
    left = known - names
    stem = ("conv_in", "conv_out", "time_embedding_linear_1", "time_embedding_linear_2")
    assert left == {f"lora_unet_{part}" for part in stem}


def _is_layer(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear | nn.Conv2d)


def original_parts(levels: list[int], layers_per_block: int, with_middle: bool) -> dict[str, str]:
    """original place -> diffusers place, by going through the blocks as the original U-Net's
    constructor does, with one running number for the input and one for the output blocks.

    `levels`: 1 where a level has attention, 0 where not.
    """
    parts, number = {"input_blocks.0.0": "conv_in"}, 1
    for level, attention in enumerate(levels):
        for layer in range(layers_per_block):
            parts[f"input_blocks.{number}.0"] = f"down_blocks.{level}.resnets.{layer}"
            if attention:
                parts[f"input_blocks.{number}.1"] = f"down_blocks.{level}.attentions.{layer}"
            number += 1
        if level != len(levels) - 1:
            parts[f"input_blocks.{number}.0"] = f"down_blocks.{level}.downsamplers.0"
            number += 1
    middle = ["resnets.0", "attentions.0", "resnets.1"] if with_middle else ["resnets.0"]
    parts |= {f"middle_block.{i}": f"mid_block.{part}" for i, part in enumerate(middle)}
    number = 0
    for level, attention in enumerate(reversed(levels)):
        for layer in range(layers_per_block + 1):
            inside = [f"up_blocks.{level}.resnets.{layer}"]
            if attention:
                inside.append(f"up_blocks.{level}.attentions.{layer}")
            if layer == layers_per_block and level != len(levels) - 1:
                inside.append(f"up_blocks.{level}.upsamplers.0")
            parts |= {f"output_blocks.{number}.{i}": part for i, part in enumerate(inside)}
            number += 1
    return parts


@pytest.mark.parametrize("layers_per_block", [1, 2, 3])
@pytest.mark.parametrize("levels", [[0, 1, 1], [1, 1, 1, 0], [0, 1], [0, 0, 1, 1, 1]])
def test_original_names_for_any_depth(levels, layers_per_block):
    up_attention = frozenset(i for i, has in enumerate(reversed(levels)) if has)
    layout = OriginalLayout(layers_per_block, up_attention)
    for original, place in original_parts(levels, layers_per_block, True).items():
        assert original_path(place, layout) == original


def test_original_names_inside_blocks():
    layout = OriginalLayout(2, frozenset({0, 1}))
    expected = {
        "down_blocks.1.resnets.0.conv1": "input_blocks.4.0.in_layers.2",
        "down_blocks.1.resnets.0.time_emb_proj": "input_blocks.4.0.emb_layers.1",
        "down_blocks.1.resnets.0.conv2": "input_blocks.4.0.out_layers.3",
        "down_blocks.1.resnets.0.conv_shortcut": "input_blocks.4.0.skip_connection",
        "down_blocks.0.downsamplers.0.conv": "input_blocks.3.0.op",
        "up_blocks.0.upsamplers.0.conv": "output_blocks.2.2.conv",
        "mid_block.attentions.0.proj_in": "middle_block.1.proj_in",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "conv_out": "out.2",
    }
    assert {path: original_path(path, layout) for path in expected} == expected
    with pytest.raises(ValueError, match="no place"):
        original_path("controlnet.0.weight", layout)


def test_names_lead_back_to_one_module_each():
    unet = build_unet("tiny_sdxl", "meta")
    paths = [path for path, layer in unet.named_modules() if _is_layer(layer)]
    names = unet_names(paths, OriginalLayout.of(unet.config))
    assert len(set(names.values())) == len(paths) == 794


def test_text_encoder_names_do_not_depend_on_the_version_of_transformers():
    new, old = "encoder.layers.0.mlp.fc1", "text_model.encoder.layers.0.mlp.fc1"
    expected = "lora_te1_text_model_encoder_layers_0_mlp_fc1"
    assert text_encoder_names([new, old], "lora_te1") == {new: expected, old: expected}
