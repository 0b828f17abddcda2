"""The single file: diffusers' own loader finds the same models in it; so does our recogniser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from scripts.core.safetensors_header import read_header
from scripts.models.families import SD1
from scripts.models.shapes import read_notes, text_shapes, unet_shape, vae_shape
from scripts.practice.original_layout import (
    new_models,
    read_single_file,
    single_file_tensors,
    write_single_file,
)
from scripts.practice.tiny_models import unet_config, vae_config

BASE = Path(__file__).parents[2] / "scripts" / "practice" / "base.safetensors"


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    return new_models().eval()


@pytest.fixture(scope="module")
def written(models, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("practice") / "tiny.safetensors"
    write_single_file(path, models, {"title": "a test"}, torch.float32)
    return path


def as_diffusers_folder(folder: Path, part: str, class_name: str, config: dict) -> str:
    """diffusers' loader wants a config, and offline it wants it in a folder."""
    place = folder / part
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps({"_class_name": class_name, **config}))
    return str(folder)


@torch.no_grad()
def test_diffusers_reads_the_same_unet(models, written, tmp_path):
    folder = as_diffusers_folder(tmp_path, "unet", "UNet2DConditionModel", unet_config())
    read = UNet2DConditionModel.from_single_file(
        str(written), config=folder, subfolder="unet", local_files_only=True
    )
    latents, words = torch.randn(2, 4, 8, 8), torch.randn(2, 77, 48)
    ours, theirs = (unet(latents, 500, words).sample for unet in (models["unet"], read.eval()))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    weights = models["unet"].state_dict()
    assert all(torch.equal(weights[name], value) for name, value in read.state_dict().items())


@torch.no_grad()
def test_diffusers_reads_the_same_vae(models, written, tmp_path):
    folder = as_diffusers_folder(tmp_path, "vae", "AutoencoderKL", vae_config())
    read = AutoencoderKL.from_single_file(
        str(written), config=folder, subfolder="vae", local_files_only=True
    ).eval()
    pictures, vae = torch.rand(1, 3, 64, 64), models["vae"]
    latents = vae.encode(pictures).latent_dist.mean
    again = read.encode(pictures).latent_dist.mean
    torch.testing.assert_close(latents, again, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        vae.decode(latents).sample, read.decode(latents).sample, atol=1e-5, rtol=0
    )
    weights = vae.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in read.state_dict().items())


@torch.no_grad()
def test_what_is_written_is_read_back(models, written):
    read = read_single_file(written)
    for (name, ours), (_, theirs) in zip(
        models.named_parameters(), read.named_parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name


def test_names_are_those_of_stable_diffusion(models):
    tensors = single_file_tensors(models)
    text = "cond_stage_model.transformer.text_model"
    for name in (
        "model.diffusion_model.input_blocks.0.0.weight",
        "model.diffusion_model.time_embed.2.bias",
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
        "model.diffusion_model.input_blocks.3.0.op.weight",
        "model.diffusion_model.middle_block.1.proj_in.weight",
        "model.diffusion_model.output_blocks.2.1.conv.weight",
        "model.diffusion_model.output_blocks.5.2.conv.weight",
        "model.diffusion_model.out.2.weight",
        "first_stage_model.encoder.down.0.block.0.norm1.weight",
        "first_stage_model.decoder.up.3.upsample.conv.weight",
        "first_stage_model.quant_conv.weight",
        f"{text}.embeddings.token_embedding.weight",
        f"{text}.embeddings.position_ids",
        f"{text}.encoder.layers.1.self_attn.q_proj.weight",
        f"{text}.final_layer_norm.bias",
    ):
        assert name in tensors, name
    assert tensors["first_stage_model.decoder.mid.attn_1.q.weight"].shape == (48, 48, 1, 1)
    starts = ("model.diffusion_model.", "first_stage_model.", text)
    assert all(name.startswith(starts) for name in tensors)
    # SD1.5 itself has 686; the step from 48 to 32 channels needs one more skip convolution.
    assert sum(name.startswith(starts[0]) for name in tensors) == 688
    assert sum(name.startswith(starts[1]) for name in tensors) == 248


def test_weights_too_large_for_half_precision_are_refused(tmp_path):
    models = new_models()
    with torch.no_grad():
        models["unet"].conv_in.bias[0] = 1e6
    with pytest.raises(ValueError, match="input_blocks"):
        write_single_file(tmp_path / "x.safetensors", models, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["written", "base"])
def test_our_recogniser_knows_its_shape(file, written):
    path = written if file == "written" else BASE
    header = read_header(path)
    shapes = {name: info.shape for name, info in header.tensors.items()}
    notes = read_notes(header.metadata)
    unet, vae = unet_shape(shapes, SD1, notes), vae_shape(shapes, SD1, notes)
    (text,) = text_shapes(shapes, SD1, notes)
    assert unet.channels == (48, 64, 48, 32) and unet.layers == 2
    assert unet.depths == (1, 1, 1, 0)
    assert unet.heads == (4, 4, 4, 4) and unet.groups == 8 and unet.context_width == 48
    assert vae.channels == (16, 32, 48, 48) and vae.groups == 4
    assert (text.width, text.layers, text.heads) == (48, 2, 4)


def test_the_base_is_small_whole_and_in_half_precision():
    assert BASE.stat().st_size <= 12_000_000
    header = read_header(BASE)
    expected = single_file_tensors(new_models())
    assert set(header.tensors) == set(expected)
    for name, info in header.tensors.items():
        assert info.shape == tuple(expected[name].shape), name
        assert info.dtype == ("I64" if name.endswith("position_ids") else "F16"), name
