"""Namings of LoRA files, and resized files of every kind in diffusers: no key is left over."""

from __future__ import annotations

import logging

import diffusers
import numpy as np
import pytest
import safetensors.torch
import torch
from lora_models import build_text_encoders, build_unet
from peft.tuners.lora import LoraLayer
from random_loras import KINDS, flat
from test_loading_elsewhere import pipeline_of

from scripts.core.events import Control
from scripts.lora.layer_keys import read_layer_keys
from scripts.lora.modules import open_lora
from scripts.lora.names import OriginalLayout
from scripts.lora.ranks import Size
from scripts.lora.resize import resize_lora
from scripts.lora.targets import text_encoder_targets, unet_targets
from scripts.lora.tensor_files import write_tensors


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


@pytest.mark.parametrize("kind", sorted(set(KINDS)))
def test_resized_files_load_in_diffusers(kind, tmp_path, caplog):
    """A layer of the kind for each layer of the tiny model, and every one finds its place."""
    torch.manual_seed(0)
    unet, encoders = build_unet("tiny_sd15"), build_text_encoders("tiny_sd15")
    targets = [*text_encoder_targets(encoders), *unet_targets(unet, "sd1")]
    generator = np.random.default_rng(3)
    state = {}
    for target in targets:
        parts = parts_for(tuple(target.layer.weight.shape), kind, generator)
        state |= {f"{target.name}.{part}": torch.from_numpy(array).float()
                  for part, array in parts.items()}  # fmt: skip
        state[f"{target.name}.alpha"] = torch.tensor(2.0)
    path, output = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    safetensors.torch.save_file(state, path, {"ss_base_model_version": "sd_v1"})
    with open_lora(path) as lora:
        (resized,) = resize_lora(lora, [Size(2)], "F32", lambda event: None, Control())
    write_tensors(output, resized.tensors, resized.metadata)

    pipeline = pipeline_of(unet, encoders)
    diffusers.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        pipeline.load_lora_weights(str(output))
    diffusers.utils.logging.disable_propagation()
    said = [record.getMessage() for record in caplog.records]
    assert not [text for text in said if "key" in text.lower() or "unexpected" in text.lower()]
    loaded = [module for model in (unet, *encoders) for module in model.modules()
              if isinstance(module, LoraLayer)]  # fmt: skip
    assert len(loaded) == len(targets)


def parts_for(shape: tuple[int, ...], kind: str, generator) -> dict[str, np.ndarray]:
    """The parts of a layer of this kind and shape, of rank 2; LoRA where the kind has no form."""
    out, rest, kernel = shape[0], shape[1], shape[2:]
    wide = kernel == (3, 3)

    def draw(*sides: int) -> np.ndarray:
        return generator.standard_normal(sides).astype(np.float32) * 0.3

    if kind == "diff":
        return {"diff": draw(*shape)}
    if kind.startswith("loha"):
        if wide and kind == "loha_tucker":
            return {f"hada_{part}": array for number in "12" for part, array in (
                (f"t{number}", draw(2, 2, 3, 3)), (f"w{number}_a", draw(2, out)),
                (f"w{number}_b", draw(2, rest)))}  # fmt: skip
        columns = rest * int(np.prod(kernel))
        return {f"hada_w{number}_{side}": draw(*sides) for number in "12"
                for side, sides in (("a", (out, 2)), ("b", (2, columns)))}  # fmt: skip
    if kind.startswith("lokr"):
        if wide and kind == "lokr_tucker":
            return {"lokr_w1": draw(2, 2), "lokr_t2": draw(2, 2, 3, 3),
                    "lokr_w2_a": draw(2, out // 2), "lokr_w2_b": draw(2, rest // 2)}  # fmt: skip
        return {"lokr_w1": draw(2, 2), "lokr_w2": draw(out // 2, rest // 2, *kernel)}
    if kind == "tucker" and wide:
        return {"lora_up.weight": draw(out, 3, 1, 1), "lora_mid.weight": draw(3, 3, 3, 3),
                "lora_down.weight": draw(3, rest, 1, 1)}  # fmt: skip
    return {
        "lora_up.weight": draw(out, 3, *[1] * len(kernel)),
        "lora_down.weight": draw(3, *shape[1:]),
    }


@pytest.mark.parametrize("rslora", [False, True])
def test_alpha_of_a_file_by_peft_is_that_of_its_config(rslora, tmp_path):
    """peft's own get_delta_weight says what ΔW is; its config holds one alpha and an exception."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=6, target_modules=["to_q", "to_k"], use_rslora=rslora,
                        alpha_pattern={"attn2.to_q": 3}, init_lora_weights=False)  # fmt: skip
    model = get_peft_model(build_unet("tiny_sd15"), config)
    model.save_pretrained(str(tmp_path))
    layers = {name: module for name, module in model.named_modules()
              if isinstance(module, LoraLayer)}  # fmt: skip
    with open_lora(tmp_path / "adapter_model.safetensors") as lora:
        assert len(lora.modules) == len(layers)
        for path, layer in layers.items():
            name = path.removeprefix("base_model.model.").replace(".", "_")
            up, down, scale = lora.modules[f"lora_unet_{name}"].factors()
            whole = layer.get_delta_weight("default").detach().numpy()
            np.testing.assert_allclose(scale * up @ down, flat(whole), rtol=1e-4, atol=1e-6)
