"""Models as diffusers folders, and as .ckpt: the same parts as from the single file."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scripts.core.errors import SuiteError
from scripts.models.families import SD1, SDXL
from scripts.models.load import load_text_encoders, load_unet, load_vae
from scripts.models.recognise import recognise

CONFIGS = Path(__file__).parents[1] / "data" / "models"


def as_folder(model: Path, folder: Path) -> Path:
    """The model as a diffusers folder, with the configs of the reference data."""
    shutil.copytree(CONFIGS / f"{model.stem}_config", folder)
    base = recognise(model)
    load_unet(base).save_pretrained(folder / "unet")
    load_vae(base).save_pretrained(folder / "vae")
    for part, encoder in zip(
        ("text_encoder", "text_encoder_2"), load_text_encoders(base), strict=False
    ):
        save_file(
            {name: tensor.clone() for name, tensor in encoder.state_dict().items()},
            folder / part / "model.safetensors",
        )
    return folder


@pytest.fixture(scope="module")
def folders(tiny_models, tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    return {name: as_folder(path, root / name) for name, path in tiny_models.items()}


@pytest.fixture
def folder(folders, tmp_path) -> Path:
    """A copy of the SD1.5 folder, to be changed."""
    return Path(shutil.copytree(folders["tiny_sd15"], tmp_path / "model"))


def parts(path):
    base = recognise(path)
    return [load_unet(base), load_vae(base), *load_text_encoders(base)]


def assert_same_parts(path, other):
    for one, two in zip(parts(path), parts(other), strict=True):
        state, theirs = one.state_dict(), two.state_dict()
        assert state.keys() == theirs.keys()
        assert all(torch.equal(state[name], theirs[name]) for name in state)


@pytest.mark.parametrize("name", ["tiny_sd15", "tiny_sdxl"])
def test_a_folder_gives_the_same_parts(name, folders, tiny_models):
    base, single = recognise(folders[name]), recognise(tiny_models[name])
    assert base.layout == "diffusers"
    assert base.family is {"tiny_sd15": SD1, "tiny_sdxl": SDXL}[name]
    assert base.shape.unet == single.shape.unet
    assert base.shape.vae == single.shape.vae
    assert [text.layers for text in base.shape.texts] == [
        text.layers for text in single.shape.texts
    ]
    assert base.v_prediction is False  # the scheduler's config says epsilon
    assert not base.v_prediction_is_guess
    assert base.size_bytes > 1_000_000
    assert_same_parts(folders[name], tiny_models[name])


def test_a_ckpt_gives_the_same_parts(tmp_path):
    """Without a note on its shape, so of standard groups: a small model made for this test."""
    from scripts.models.original_layout import text_sources, unet_sources, vae_sources
    from scripts.models.shapes import UNET_PREFIX, VAE_PREFIX, TextShape

    prefix = "cond_stage_model.transformer.text_model."
    unet, vae, text = small_standard_model()
    state = {}
    for model, sources in (
        (unet, unet_sources(unet.state_dict(), 1, frozenset({1}), UNET_PREFIX)),
        (vae, vae_sources(vae.state_dict(), 4, VAE_PREFIX)),
        (text, text_sources(text.state_dict(), TextShape(64, 1, 64, 1, prefix, False))),
    ):
        state |= {sources[name].name: value for name, value in model.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "model.ckpt")
    assert recognise(tmp_path / "model.ckpt").layout == "ckpt"
    assert_same_parts(tmp_path / "model.ckpt", tmp_path / "model.safetensors")
    loaded = parts(tmp_path / "model.ckpt")
    for model, other in zip(loaded, (unet, vae, text), strict=True):
        for name, value in other.state_dict().items():
            assert torch.equal(model.state_dict()[name], value)


def small_standard_model():
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=64,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(32,) * 4, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    text = CLIPTextModel(CLIPTextConfig(hidden_size=64, intermediate_size=64, num_hidden_layers=1,
                                        num_attention_heads=1))  # fmt: skip
    return unet, vae, text


def test_a_scheduler_tells_v_prediction(folder):
    file = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_text())
    file.write_text(
        json.dumps(config | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True})
    )
    base = recognise(folder)
    assert (base.v_prediction, base.zero_terminal_snr) == (True, True)
    shutil.rmtree(folder / "scheduler")
    assert recognise(folder).v_prediction is None


def test_split_and_old_weights(folder, tiny_sd15):
    """A U-Net in two pieces, a VAE with the names of older diffusers, text with its prefix."""
    state = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    names = sorted(state)
    pieces = {"one.safetensors": names[:100], "two.safetensors": names[100:]}
    for file, some in pieces.items():
        save_file({name: state[name] for name in some}, folder / "unet" / file)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    index = {"weight_map": {name: file for file, some in pieces.items() for name in some}}
    index_file = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index_file.write_text(json.dumps(index))
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    vae = folder / "vae" / "diffusion_pytorch_model.safetensors"
    renamed = {}
    for name, tensor in load_file(vae).items():
        for new, before in old.items():
            name = name.replace(f".{new}.", f".{before}.")
        renamed[name] = tensor
    vae.unlink()
    torch.save(renamed, folder / "vae" / "diffusion_pytorch_model.bin")
    text = folder / "text_encoder" / "model.safetensors"
    prefixed = {f"text_model.{name}": tensor for name, tensor in load_file(text).items()}
    save_file(prefixed, folder / "text_encoder" / "model.fp16.safetensors")
    text.unlink()
    assert_same_parts(folder, tiny_sd15)
    (folder / "unet" / "two.safetensors").unlink()
    with pytest.raises(SuiteError, match="lacks the piece two"):
        recognise(folder)


def test_incomplete_and_other_folders(folder, tmp_path, tiny_sd15):
    with pytest.raises(SuiteError, match=r"no diffusers model .*Choose a model file"):
        recognise(tmp_path)
    shutil.copy(tiny_sd15, tmp_path / "some.safetensors")
    with pytest.raises(SuiteError, match="such as some"):
        recognise(tmp_path)
    text = (folder / "text_encoder").rename(folder / "elsewhere")
    with pytest.raises(SuiteError, match="lacks its text encoder"):
        recognise(folder)
    text.rename(folder / "text_encoder")
    (folder / "vae").rename(folder / "elsewhere")
    with pytest.raises(SuiteError, match="lacks its VAE"):
        recognise(folder)
    assert recognise(folder, vae=tiny_sd15).shape.vae is None
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(SuiteError, match="holds no weights"):
        recognise(folder, vae=tiny_sd15)


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("model_index.json", {"_class_name": "FluxPipeline"}, "a model for FluxPipeline"),
        ("unet/config.json", {"in_channels": 9}, "an inpainting model"),
        ("unet/config.json", {"layers_per_block": [2, 2, 1, 2]}, "not alike"),
        ("unet/config.json", {"block_out_channels": None}, "not that of a U-Net"),
        ("vae/config.json", {"latent_channels": 16}, "16 latent channels"),
        ("text_encoder/config.json", {"vocab_size": 49410}, "49410 words"),
    ],
)
def test_other_kinds_of_folders(file, change, words, folder):
    config = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(config | change))
    with pytest.raises(SuiteError, match=words):
        recognise(folder)


def test_broken_configs_and_weights(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[: len(data) // 2])
    with pytest.raises(SuiteError, match="cut off"):
        recognise(folder)
    (folder / "unet" / "config.json").write_text("{")
    with pytest.raises(SuiteError, match="not readable JSON"):
        recognise(folder)
