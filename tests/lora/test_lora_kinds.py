"""Namings of LoRA files, and the alphas that stand beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lora_models import build_unet
from peft.tuners.lora import LoraLayer
from random_loras import flat
from safetensors.torch import save_file

from scripts.core.errors import SuiteError
from scripts.inspect_lora import main as inspect_main
from scripts.lora.layer_keys import read_layer_keys
from scripts.lora.modules import open_lora
from scripts.lora.names import OriginalLayout, original_path
from scripts.lora.peft_alpha import stated_alpha
from scripts.lora.targets import unet_targets
from scripts.merge_lora import main as merge_main


@pytest.mark.parametrize(
    ("key", "name", "part"),
    [
        ("unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight",
         "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0", "lora_up.weight"),
        ("mid_block.attentions.0.proj_in.lora_A.weight",
         "lora_unet_mid_block_attentions_0_proj_in", "lora_down.weight"),
        ("text_encoder.encoder.layers.1.mlp.fc1.lora_linear_layer.down.weight",
         "lora_te_text_model_encoder_layers_1_mlp_fc1", "lora_down.weight"),
        ("base_model.model.text_model.encoder.layers.1.self_attn.q_proj.lora_B.default.weight",
         "lora_te_text_model_encoder_layers_1_self_attn_q_proj", "lora_up.weight"),
        ("unet.up_blocks.1.attentions.0.proj_out.lora_magnitude_vector.weight",
         "lora_unet_up_blocks_1_attentions_0_proj_out", "dora_scale"),
        ("unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q_lora.down.weight",
         "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q", "lora_down.weight"),
        ("text_encoder.text_model.encoder.layers.1.self_attn.to_v_lora.up.weight",
         "lora_te_text_model_encoder_layers_1_self_attn_v_proj", "lora_up.weight"),
        ("text_encoder.text_model.encoder.layers.1.self_attn.to_out_lora.down.weight",
         "lora_te_text_model_encoder_layers_1_self_attn_out_proj", "lora_down.weight"),
        ("text_encoders.clip_l.transformer.text_model.encoder.layers.1.mlp.fc1.lora_up.weight",
         "lora_te_text_model_encoder_layers_1_mlp_fc1", "lora_up.weight"),
        ("text_encoders.clip_g.transformer.text_model.encoder.layers.1.mlp.fc1.lora_up.weight",
         "lora_te2_text_model_encoder_layers_1_mlp_fc1", "lora_up.weight"),
    ],
)  # fmt: skip
def test_names_of_other_programs(key, name, part):
    assert read_layer_keys({key: (4, 4)}, {}).layers == {name: {part: key}}


def test_names_of_sdxl_by_its_paths_become_those_of_the_original_layout(tiny_sdxl):
    """Both namings of every layer of diffusers' SDXL U-Net: peft's, and paths in underscores."""
    unet, _ = tiny_sdxl
    if OriginalLayout.of(unet.config) != OriginalLayout(2, frozenset({0, 1})):
        pytest.fail("the tiny model has another layout than SDXL: take another model")
    for target in unet_targets(unet, "sdxl"):
        path = target.path
        for key in (f"unet.{path}.lora_A.weight",
                    f"lora_unet_{path.replace('.', '_')}.lora_down.weight"):  # fmt: skip
            found = read_layer_keys({key: (4, 8)}, {"ss_base_model_version": "sdxl_base_v1-0"})
            assert list(found.layers) == [target.name]


@pytest.mark.parametrize("naming", ["comfyui", "kohya"])
def test_names_of_sd1_in_the_original_layout_become_diffusers(naming):
    """Of every layer of the U-Net, by the way there, which has its own test; the width of the
    captions tells the family."""
    width = {"comfyui": "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k",
             "kohya": "lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k"}  # fmt: skip
    down, truth = {f"{width[naming]}.lora_down.weight": (4, 768)}, {}
    unet = build_unet("tiny_sd15", "meta")
    layout = OriginalLayout(2, frozenset({1, 2, 3}))
    if OriginalLayout.of(unet.config) != layout:
        pytest.fail("the tiny model has another layout than SD1: take another model")
    for path, layer in unet.named_modules():
        if not isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            continue
        original = original_path(path, layout)
        start = "diffusion_model." if naming == "comfyui" else "lora_unet_"
        name = original if naming == "comfyui" else original.replace(".", "_")
        truth[f"{start}{name}.lora_up.weight"] = f"lora_unet_{path.replace('.', '_')}"
    found = read_layer_keys(down | dict.fromkeys(truth, (8, 4)), {})
    assert found.family == "sd1" and len(truth) > 200
    assert {parts["lora_up.weight"]: name for name, parts in found.layers.items()} == truth


@pytest.mark.parametrize(("config", "alpha"), [
    ({"lora_alpha": 6, "alpha_pattern": {"*": 2}}, 6),
    ({"lora_alpha": 6, "alpha_pattern": ["to_q"]}, 6),
    ({"lora_alpha": 6, "alpha_pattern": {"*": 2, "to_q": 3}}, 3),
    ({"lora_alpha": 6, "alpha_pattern": {"mid_block.to_q": 4, "to_q": 3}}, 4),
    ({"lora_alpha": float("nan")}, None),
    ({"lora_alpha": "6"}, None),
])  # fmt: skip
def test_odd_configs_of_peft_break_nothing(config, alpha):
    assert stated_alpha(config, "base_model.model.mid_block.to_q.lora_A.weight", 4) == alpha


@pytest.mark.parametrize("rslora", [False, True])
def test_alpha_of_a_file_by_peft_is_that_of_its_config(rslora, tmp_path):
    """peft's own get_delta_weight says what ΔW is; its config holds one alpha and an exception.
    A merge of it alone and a copy with other metadata, which lie elsewhere, have the same ΔW."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=6, target_modules=["to_q", "to_k"], use_rslora=rslora,
                        alpha_pattern={"attn2.to_q": 3}, init_lora_weights=False)  # fmt: skip
    model = get_peft_model(build_unet("tiny_sd15"), config)
    model.save_pretrained(str(tmp_path))
    layers = {name: module for name, module in model.named_modules()
              if isinstance(module, LoraLayer)}  # fmt: skip
    adapter = tmp_path / "adapter_model.safetensors"
    merged, edited = tmp_path / "new" / "merged.safetensors", tmp_path / "new" / "e.safetensors"
    assert merge_main(["--models", str(adapter), "--ratios", "1", "--save_to", str(merged)]) == 0
    assert inspect_main([str(adapter), "--set", "a=b", "--save_to", str(edited)]) == 0
    for file in (adapter, merged, edited):
        with open_lora(file) as lora:
            assert len(lora.modules) == len(layers)
            for path, layer in layers.items():
                name = path.removeprefix("base_model.model.").replace(".", "_")
                up, down, scale = lora.modules[f"lora_unet_{name}"].factors()
                whole = layer.get_delta_weight("default").detach().numpy()
                np.testing.assert_allclose(scale * up @ down, flat(whole), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("magnitude", "fits"), [(6, True), (8, True), (5, False)])
def test_a_magnitude_is_one_for_each_output_or_input(magnitude, fits, tmp_path):
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    shapes = {"lora_up.weight": (6, 2), "lora_down.weight": (2, 8), "dora_scale": (magnitude,)}
    path = tmp_path / "dora.safetensors"
    save_file({f"{name}.{part}": torch.ones(shape) for part, shape in shapes.items()}, path)
    if fits:
        with open_lora(path) as lora:
            assert lora.modules[name].network_type == "dora"
    else:
        with (
            pytest.raises(SuiteError, match=r"the parts of .* do not fit together"),
            open_lora(path),
        ):
            pass
