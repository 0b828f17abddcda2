"""Settings of the base model: its file, another VAE, what it predicts, a LoRA to go on from."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from watched_training import TINY_SD15, TINY_SDXL, watch_training

from scripts.core.errors import SettingError
from scripts.core.safetensors_header import read_header

SGD = {"optimizer_type": "torch.optim.SGD", "learning_rate": 1e-8}  # hardly moves anything


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def model_file(path, tensors, metadata=None):
    """A base model with these tensors; its heads and groups are those of the tiny model."""
    metadata = {**read_header(TINY_SD15).metadata, **(metadata or {})}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    return path


def sd2_tensors():
    """A tiny SD2: the U-Net of the tiny SD1.5 with linear projections around its attention, which
    is what marks an SD2, and the second text encoder of the tiny SDXL, which is open_clip's."""
    tensors = {}
    for name, tensor in load_file(TINY_SD15).items():
        if name.startswith("model.") and name.endswith((".proj_in.weight", ".proj_out.weight")):
            tensor = tensor[:, :, 0, 0]
        if name.endswith((".attn2.to_k.weight", ".attn2.to_v.weight")):
            tensor = tensor[:, :8]  # the width of that text encoder
        if not name.startswith("cond_stage_model."):
            tensors[name] = tensor
    prefix = "conditioner.embedders.1.model."
    for name, tensor in load_file(TINY_SDXL).items():
        if name.startswith(prefix):
            tensors[f"cond_stage_model.model.{name.removeprefix(prefix)}"] = tensor
    return tensors


def test_the_base_model_decides_names_and_says_who_it_is(watch):
    sd15 = watch()
    assert {name.partition("_")[2][:4] for name in sd15.modules()} == {"te_t", "unet"}
    metadata = sd15.metadata()
    assert metadata["ss_base_model_version"] == "sd_v1"
    assert metadata["ss_sd_model_name"] == TINY_SD15.name
    assert metadata["ss_new_sd_model_hash"] == sha256(TINY_SD15)
    sdxl = watch(pretrained_model_name_or_path=TINY_SDXL)
    starts = {"_".join(name.split("_")[:3]) for name in sdxl.modules()}
    assert starts == {"lora_te1_text", "lora_te2_text", "lora_unet_input", "lora_unet_middle",
                      "lora_unet_output"}  # fmt: skip
    assert sdxl.metadata()["ss_base_model_version"] == "sdxl_base_v1-0"
    assert set(sdxl.rates()[0]) == {"text_encoder", "unet"}


def test_a_vae_of_its_own_takes_the_place_of_the_model_s(watch, folder, tmp_path):
    """A VAE that gives every mean with the other sign, and a base model that has none."""
    tensors = load_file(TINY_SD15)
    vae = {name.removeprefix("first_stage_model."): tensor for name, tensor in tensors.items()
           if name.startswith("first_stage_model.")}  # fmt: skip
    sign = torch.tensor([-1.0] * 4 + [1.0] * 4)  # mean, log of the variance
    vae["quant_conv.weight"] = vae["quant_conv.weight"] * sign.view(8, 1, 1, 1).half()
    vae["quant_conv.bias"] = vae["quant_conv.bias"] * sign.half()
    rest = {name: tensor for name, tensor in tensors.items() if "first_stage_model" not in name}
    vae_path = model_file(tmp_path / "other_vae.safetensors", vae)
    bare = model_file(tmp_path / "bare.safetensors", rest)
    plain = watch()
    for more in ({}, {"pretrained_model_name_or_path": bare}):
        other = watch_training(folder, vae=vae_path, **more)
        (_, theirs), (_, ours) = plain.batches[0], other.batches[0]
        torch.testing.assert_close(ours.mean, -theirs.mean, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(ours.std, theirs.std, rtol=1e-3, atol=1e-3)
    assert other.metadata()["ss_vae_name"] == "other_vae.safetensors"
    assert other.metadata()["ss_new_vae_hash"] == sha256(vae_path)
    with pytest.raises(SettingError, match="lacks its VAE"):
        watch_training(folder, pretrained_model_name_or_path=bare)
    with pytest.raises(SettingError) as caught:
        watch_training(folder, vae=plain.path)
    assert caught.value.setting == "vae"


def test_v2_is_found_from_the_file_and_must_not_say_otherwise(plan, tmp_path):
    assert plan().settings.v2 is False
    with pytest.raises(SettingError, match=r"v2 is true, but the base model is Stable Diffusion 1"):
        plan(v2=True)
    sd2 = model_file(tmp_path / "sd2-base.safetensors", sd2_tensors())
    made = plan(pretrained_model_name_or_path=sd2)
    assert made.settings.v2 is True and made.base.family.name == "sd2"
    assert plan(pretrained_model_name_or_path=sd2, v2=True).settings.v2 is True
    with pytest.raises(SettingError, match="v2 is false, but the base model is Stable Diffusion 2"):
        plan(pretrained_model_name_or_path=sd2, v2=False)


def test_an_sd2_trains_and_its_file_says_so(watch, tmp_path):
    sd2 = model_file(tmp_path / "sd2-base.safetensors", sd2_tensors())
    trained = watch(pretrained_model_name_or_path=sd2)
    state = trained.state()
    assert state["lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"].dim() == 2
    assert any(name.startswith("lora_te_text_model_encoder_layers_0_") for name in state)
    assert all(state[f"{name}.lora_up.weight"].isfinite().all() for name in trained.modules())
    metadata = trained.metadata()
    assert (metadata["ss_base_model_version"], metadata["ss_v2"]) == ("sd_v2", "True")


def test_what_an_sd2_predicts_decides_its_resolution(plan, tmp_path):
    """The file cannot tell; a setting can, and wins over a name that was only guessed from."""
    tensors = sd2_tensors()
    unknown = model_file(tmp_path / "model.safetensors", tensors)
    named = model_file(tmp_path / "model-768-v.safetensors", tensors)
    sized = {"resolution": "", "pretrained_model_name_or_path": unknown}
    assert plan(**sized).settings.resolution == (512, 512)
    assert "noise is assumed" in " ".join(plan(**sized).notes)
    told = plan(**sized, v_parameterization=True)
    assert told.settings.resolution == (768, 768)
    assert "assumed" not in " ".join(told.notes)
    sized["pretrained_model_name_or_path"] = named
    guessed = plan(**sized)
    assert guessed.settings.v_parameterization is True
    assert guessed.settings.resolution == (768, 768)
    assert "v_parameterization is on" in " ".join(guessed.guesses)
    told = plan(**sized, v_parameterization=False)
    assert told.settings.v_parameterization is False and told.settings.resolution == (512, 512)


def test_a_file_that_says_v_prediction_is_believed(watch, plan, tmp_path):
    tensors = load_file(TINY_SD15)
    v_model = model_file(tmp_path / "m.safetensors", tensors, {"modelspec.prediction_type": "v"})
    trained = watch(pretrained_model_name_or_path=v_model, network_train_unet_only=True)
    assert trained.steps[0].v_prediction
    assert not watch(network_train_unet_only=True).steps[0].v_prediction
    with pytest.raises(SettingError) as caught:
        plan(pretrained_model_name_or_path=v_model, v_parameterization=False)
    assert caught.value.setting == "v_parameterization"


def test_a_marked_zero_terminal_snr_turns_the_schedule_on(plan, tmp_path):
    tensors = {**load_file(TINY_SD15), "v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)}
    made = plan(pretrained_model_name_or_path=model_file(tmp_path / "m.safetensors", tensors))
    assert made.settings.v_parameterization and made.settings.zero_terminal_snr
    assert "zero_terminal_snr is on" in " ".join(made.guesses)


def test_a_lora_to_go_on_from_gives_the_first_weights(watch, folder):
    first = watch(max_train_steps=2, seed=9)
    again = watch_training(folder, network_weights=first.path)
    state = first.state()
    assert all(torch.equal(tensor, state[key]) for key, tensor in again.first_weights.items())
    assert any(tensor.abs().max() > 0 for key, tensor in state.items() if "lora_up" in key)
    with pytest.raises(SettingError, match="has dim 2 where these settings give 4"):
        watch_training(folder, network_weights=first.path, network_dim=4)


def test_dim_from_weights_takes_the_sizes_of_that_lora(watch, folder):
    first = watch(network_dim=3, network_alpha=2, conv_dim=5, conv_alpha=4)
    again = watch_training(folder, network_weights=first.path, dim_from_weights=True, **SGD)
    assert again.modules() == first.modules()
    state = first.state()
    for key, tensor in again.state().items():
        assert tensor.shape == state[key].shape
        torch.testing.assert_close(tensor, state[key], rtol=0, atol=1e-5)
    assert again.metadata()["ss_network_dim"] == "3"
    assert again.metadata()["ss_network_alpha"] == "2.0"
    assert json.loads(first.metadata()["ss_network_args"])["conv_dim"] == "5"
