"""Where LoRA modules lie in a checkpoint, against the layers of diffusers' models."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from lora_models import DATA
from model_files import full_size_shapes, write_header_only
from safetensors.torch import load_file
from test_names import full_model

from scripts.core.errors import SuiteError
from scripts.lora.checkpoint_keys import ATTENTION, RESNET, REST, TEXT_ENCODER, open_checkpoint
from scripts.lora.targets import text_encoder_targets, unet_targets
from scripts.models.families import SD1, SD2, SDXL
from scripts.models.load import load_text_encoders, load_unet
from scripts.models.recognise import recognise


def layers_of(unet, text_encoders, family_name) -> dict[str, torch.Tensor]:
    """The weight of every layer that training knows, by its name in a LoRA file."""
    targets = [*text_encoder_targets(text_encoders), *unet_targets(unet, family_name)]
    return {target.name: target.layer.weight for target in targets}


@pytest.mark.parametrize(
    ("family", "text", "attention", "resnet"),
    [(SD1, 72, 192, 86), (SD2, 138, 192, 86), (SDXL, 264, 722, 66)],
)
def test_published_sizes(family, text, attention, resnet, tmp_path):
    path = write_header_only(tmp_path / "model.safetensors", full_size_shapes(family))
    modules = open_checkpoint(path).modules
    usual = {name: place.shape for name, place in modules.items() if place.part != REST}
    layers = layers_of(*full_model(family.name), family.name)
    assert usual == {name: tuple(weight.shape) for name, weight in layers.items()}
    parts = [place.part for place in modules.values()]
    found = [parts.count(part) for part in (TEXT_ENCODER, ATTENTION, RESNET)]
    assert found == [text, attention, resnet]


@pytest.mark.parametrize("model", ["tiny_sd15", "tiny_sdxl"])
def test_the_places_hold_the_layers_weights(model):
    path = DATA / "models" / f"{model}.safetensors"
    checkpoint = open_checkpoint(path)
    base, tensors = recognise(path), load_file(path)
    layers = layers_of(load_unet(base), load_text_encoders(base), base.family.name)
    usual = {name for name, place in checkpoint.modules.items() if place.part != REST}
    assert usual == set(layers)
    for name, weight in layers.items():
        place = checkpoint.modules[name]
        assert torch.equal(place.rows(tensors[place.key]), weight), name


def test_the_ends_of_the_unet_and_the_text_projection(tmp_path):
    def rest_of(family):
        path = write_header_only(tmp_path / "model.safetensors", full_size_shapes(family))
        places = open_checkpoint(path).modules.values()
        return {place.name: place.key for place in places if place.part == REST}

    unet = "model.diffusion_model."
    assert rest_of(SD1) == {
        "lora_unet_conv_in": f"{unet}input_blocks.0.0.weight",
        "lora_unet_time_embedding_linear_1": f"{unet}time_embed.0.weight",
        "lora_unet_time_embedding_linear_2": f"{unet}time_embed.2.weight",
        "lora_unet_conv_out": f"{unet}out.2.weight",
    }
    sdxl = rest_of(SDXL)
    assert sdxl["lora_te2_text_projection"] == "conditioner.embedders.1.model.text_projection"
    assert sdxl["lora_unet_label_emb_0_2"] == f"{unet}label_emb.0.2.weight"
    assert len(sdxl) == 7


def test_rows_of_a_third_and_of_a_turned_matrix(tmp_path):
    shapes = full_size_shapes(SDXL)
    shapes["conditioner.embedders.1.model.text_projection"] = (1280, 640)
    path = write_header_only(tmp_path / "model.safetensors", shapes)
    modules = open_checkpoint(path).modules
    place = modules["lora_te2_text_model_encoder_layers_3_self_attn_k_proj"]
    assert place.key == (
        "conditioner.embedders.1.model.transformer.resblocks.3.attn.in_proj_weight"
    )
    tensor = torch.arange(3 * 1280 * 1280).reshape(3 * 1280, 1280)
    assert torch.equal(place.rows(tensor), tensor[1280:2560])
    projection = modules["lora_te2_text_projection"]
    tensor = torch.arange(1280 * 640).reshape(1280, 640)
    assert projection.shape == (640, 1280)
    assert torch.equal(projection.rows(tensor), tensor.T)


@pytest.mark.parametrize("missing", ["first_stage_model.", "conditioner.embedders.0."])
def test_a_part_may_be_missing(missing, tmp_path):
    shapes = full_size_shapes(SDXL)
    pruned = {name: shape for name, shape in shapes.items() if not name.startswith(missing)}
    path = write_header_only(tmp_path / "model.safetensors", pruned)
    modules = open_checkpoint(path).modules
    assert sum(place.part == ATTENTION for place in modules.values()) == 722
    assert "lora_te2_text_model_encoder_layers_0_mlp_fc1" in modules
    assert ("lora_te1_text_model_encoder_layers_0_mlp_fc1" in modules) == (
        missing == "first_stage_model."
    )


def test_an_inpainting_model_has_its_places_too(tmp_path):
    shapes = full_size_shapes(SD1)
    shapes["model.diffusion_model.input_blocks.0.0.weight"] = (320, 9, 3, 3)
    path = write_header_only(tmp_path / "model.safetensors", shapes)
    assert len(open_checkpoint(path).modules) == 354


def test_a_lora_is_no_checkpoint():
    lora = DATA / "step" / "lora_init_sd15_dim2_alpha1.safetensors"
    with pytest.raises(SuiteError, match="it seems to be a LoRA"):
        open_checkpoint(lora)


def test_needs_neither_torch_nor_numpy():
    code = (
        "import sys, scripts.lora.checkpoint_keys as keys\n"
        "keys.open_checkpoint('tests/data/models/tiny_sd15.safetensors')\n"
        "print([name for name in ('torch', 'numpy', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=DATA.parents[1], text=True,
                          capture_output=True, check=True)  # fmt: skip
    assert done.stdout.strip() == "[]"
