"""What is no base model is refused in a plain sentence that names what it seems to be."""

import json
import struct

import pytest
from model_files import full_size_shapes, open_clip_shapes, write_header_only

from scripts.core.errors import SuiteError
from scripts.models.families import SD1, SDXL
from scripts.models.other_kinds import KINDS
from scripts.models.recognise import recognise

# Names as the published files of each kind have them.
OTHERS = {
    "a LoHa (a kind of LoRA)": ["lora_unet_mid_block_attentions_0_proj_in.hada_w1_a"],
    "a LoKr (a kind of LoRA)": ["lora_unet_mid_block_attentions_0_proj_in.lokr_w1"],
    "an OFT network (a kind of LoRA)": ["lora_unet_mid_block_attentions_0_proj_in.oft_diag"],
    "a DoRA (a kind of LoRA)": ["lora_te_x.dora_scale", "lora_te_x.lora_down.weight"],
    "a LoRA for Flux": ["transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight"],
    "a LoRA for Stable Diffusion 3 or another model with joint attention": [
        "transformer.transformer_blocks.0.attn.add_k_proj.lora_B.weight"
    ],
    "a LoRA": ["lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"],
    "a LoRA in the format of PEFT": [
        "base_model.model.down_blocks.0.attentions.0.proj_in.lora_A.weight"
    ],
    "a LoRA in the format of diffusers": ["unet.down_blocks.0.proj_in.lora.down.weight"],
    "a LyCORIS file (a kind of LoRA)": ["lora_unet_mid_block_attentions_0_proj_in.diff"],
    "a hypernetwork": ["768.0.linear.0.weight"],
    "an embedding (textual inversion)": ["emb_params"],
    "an IP-Adapter": ["ip_adapter.1.to_k_ip.weight", "image_proj.proj.weight"],
    "a T2I-Adapter": ["body.0.block1.weight"],
    "a motion module of AnimateDiff": [
        "down_blocks.0.motion_modules.0.temporal_transformer.norm.weight"
    ],
    "a ControlNet": ["controlnet_cond_embedding.conv_in.weight", "down_blocks.0.x"],
    "a ControlNet-LLLite": ["lllite_unet_input_blocks_4_1.down.0.weight"],
    "a ControlNet-LoRA": ["lora_controlnet", "input_blocks.0.0.weight"],
    "a Stable Diffusion 3 model": [
        "model.diffusion_model.joint_blocks.0.context_block.adaLN_modulation.1.bias",
        "first_stage_model.encoder.conv_in.weight",
    ],
    "a Chroma model": ["distilled_guidance_layer.in_proj.bias", "double_blocks.0.img_attn.qkv.w"],
    "a Flux.2 model": ["single_stream_modulation.lin.weight", "double_blocks.0.img_attn.qkv.w"],
    "a Hunyuan video model": ["txt_in.individual_token_refiner.blocks.0.norm1.weight"],
    "a Flux model": ["double_blocks.0.img_attn.norm.key_norm.scale"],
    "an AuraFlow model": ["model.double_layers.0.attn.w2q.weight"],
    "a Lumina or Z-Image model": ["cap_embedder.0.weight"],
    "a Qwen image model": ["transformer_blocks.0.img_mod.1.weight"],
    "an LTX video model": ["model.diffusion_model.patchify_proj.weight"],
    "a Mochi video model": ["blocks.0.attn.qkv_x.weight"],
    "a Wan video model": ["head.modulation"],
    "a HiDream model": ["double_stream_blocks.0.block.adaLN_modulation.1.bias"],
    "a Cosmos model": ["net.x_embedder.proj.1.weight"],
    "a Sana model": ["blocks.0.cross_attn.q_linear.weight", "blocks.0.mlp.point_conv.conv.weight"],
    "a PixArt model": ["adaln_single.linear.weight", "caption_projection.linear_1.weight"],
    "a HunyuanDiT model": ["blocks.0.default_modulation.1.weight"],
    "a Kandinsky model": ["add_embedding.image_norm.weight", "encoder_hid_proj.weight"],
    "a Würstchen or Stable Cascade model": ["clip_txt_mapper.weight"],
    "a DeepFloyd IF model": ["encoder_proj.weight", "unet.0.weight"],
    "a Stable Audio model": ["pretransform.model.decoder.layers.0.weight"],
    "a T5 text encoder": ["encoder.block.0.layer.0.SelfAttention.q.weight"],
    "a CLIP vision model": ["vision_model.embeddings.class_embedding"],
    "a CLIP text encoder": ["text_model.embeddings.token_embedding.weight"],
    "a language model": ["model.layers.0.self_attn.q_proj.weight"],
    "a TAESD preview decoder": ["1.weight", "3.conv.0.weight"],
    "a VAE": ["encoder.conv_in.weight", "decoder.conv_in.weight"],
    "an upscaler": ["body.0.rdb1.conv1.weight", "conv_first.weight"],
    "a segmentation or detection model": ["image_encoder.pos_embed"],
    "the state of a training": ["optimizer.state.0.exp_avg"],
}
BESIDE = {
    "a Playground 2.5 model": ["edm_mean", "edm_std"],
    "a ControlNet": ["control_model.time_embed.0.weight"],
    "a Stable Video Diffusion model": [
        "model.diffusion_model.input_blocks.1.0.time_stack.in_layers.0.weight"
    ],
    "a motion module of AnimateDiff": [
        "model.diffusion_model.input_blocks.1.motion_modules.0.weight"
    ],
}


def test_every_kind_of_the_table_is_tried():
    assert {kind.title for kind in KINDS} == set(OTHERS) | set(BESIDE)


@pytest.mark.parametrize("title", OTHERS)
def test_other_kinds_by_their_names(title, tmp_path):
    path = write_header_only(tmp_path / "file.safetensors", dict.fromkeys(OTHERS[title], (2, 2)))
    with pytest.raises(SuiteError) as caught:
        recognise(path)
    message = str(caught.value)
    assert message.startswith(f"file.safetensors is not a base model: it seems to be {title}. ")
    assert "Choose" in message


@pytest.mark.parametrize("title", BESIDE)
def test_kinds_that_hold_a_whole_unet_too(title, tmp_path):
    family = SDXL if "Playground" in title else SD1
    shapes = full_size_shapes(family) | dict.fromkeys(BESIDE[title], (4,))
    with pytest.raises(SuiteError, match=title):
        recognise(write_header_only(tmp_path / "file.safetensors", shapes))


def test_true_models_are_not_taken_for_others(tiny_sd15, tiny_sdxl):
    """The table must leave base models alone, even with junk that trainers leave in them."""
    assert recognise(tiny_sd15).family.name == "sd1"
    assert recognise(tiny_sdxl).family.name == "sdxl"


def test_the_reference_lora_is_refused(tmp_path):
    from pathlib import Path

    lora = Path(__file__).parents[1] / "data/metadata/trained_lora.safetensors"
    with pytest.raises(SuiteError, match=r"seems to be a LoRA\. .*network_weights"):
        recognise(lora)


def test_parts_of_models(tmp_path):
    unet = {"input_blocks.0.0.weight": (320, 4, 3, 3), "out.2.weight": (4, 320, 3, 3)}
    with pytest.raises(SuiteError, match="only a U-Net: its text encoder and VAE are missing"):
        recognise(write_header_only(tmp_path / "unet.safetensors", unet))
    unet = {"conv_in.weight": (320, 4, 3, 3), "down_blocks.0.resnets.0.conv1.weight": (1,)}
    with pytest.raises(SuiteError, match="diffusers folder"):
        recognise(write_header_only(tmp_path / "unet.safetensors", unet))
    text = open_clip_shapes("", 8, 1, 8)
    with pytest.raises(SuiteError, match="a CLIP text encoder"):
        recognise(write_header_only(tmp_path / "text.safetensors", text))
    ema = {"model_ema.diffusion_modelinput_blocks00weight": (320, 4, 3, 3)}
    with pytest.raises(SuiteError, match="EMA"):
        recognise(write_header_only(tmp_path / "ema.safetensors", ema))


def test_unknown_and_empty_files(tmp_path):
    with pytest.raises(SuiteError, match="known here"):
        recognise(write_header_only(tmp_path / "odd.safetensors", {"something": (2,)}))
    with pytest.raises(SuiteError, match="no tensors"):
        recognise(write_header_only(tmp_path / "none.safetensors", {}))
    (tmp_path / "zero.safetensors").write_bytes(b"")
    with pytest.raises(SuiteError, match="0 bytes"):
        recognise(tmp_path / "zero.safetensors")
    (tmp_path / "zero.ckpt").write_bytes(b"")
    with pytest.raises(SuiteError, match="0 bytes"):
        recognise(tmp_path / "zero.ckpt")
    with pytest.raises(SuiteError, match="There is no file"):
        recognise(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"<!DOCTYPE html><html><title>Log in</title>", "web page"),
        (b"\n  <html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"GGUF\x03\x00\x00\x00", "GGUF"),
        (b'{"error":"unauthorized"}', "text file"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"Rar!\x1a\x07\x01\x00", "unpack"),
    ],
)
@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
def test_other_files_under_the_name_of_a_model(start, words, ending, tmp_path):
    path = tmp_path / f"model.{ending}"
    path.write_bytes(start + bytes(100))
    with pytest.raises(SuiteError, match=words):
        recognise(path)


def test_a_header_may_be_as_long_as_a_sign_of_another_file(tmp_path):
    """The first byte of a safetensors file is part of a length: "<" and "{" are lengths too."""
    for first in b"<{\n ":
        text = b"{}" + b" " * (0x100 + first - 2)
        path = tmp_path / "file.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text)
        with pytest.raises(SuiteError, match="no tensors"):
            recognise(path)


def test_a_truncated_file(tiny_sd15, tmp_path):
    data = tiny_sd15.read_bytes()
    path = tmp_path / "half.safetensors"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SuiteError, match="cut off"):
        recognise(path)
    path.write_bytes(data[:1000])
    with pytest.raises(SuiteError, match="not a readable safetensors file"):
        recognise(path)


def test_headers_that_lie(tmp_path):
    for header in ({"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 400]}}, {"a": 3}, []):
        text = json.dumps(header).encode()
        path = tmp_path / "lie.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(400))
        with pytest.raises(SuiteError):
            recognise(path)
