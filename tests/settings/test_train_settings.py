"""Reading the training settings: every kind of value, every error at once, other tools' names."""

from pathlib import Path

import pytest

from scripts.core.declare import as_config, declarations
from scripts.core.errors import SettingErrors
from scripts.settings.train import TrainSettings, flags_over_config, read_train_settings

LEAST = {"pretrained_model_name_or_path": "base.safetensors", "train_data_dir": "in",
         "output_dir": "out"}  # fmt: skip


def read(**values):
    return read_train_settings({**LEAST, **values})[0]


def errors_of(**values):
    with pytest.raises(SettingErrors) as caught:
        read_train_settings({**LEAST, **values})
    return {error.setting: str(error) for error in caught.value.errors}


def test_defaults_are_the_declared_ones():
    settings = read()
    for name, entry in declarations(TrainSettings).items():
        if name not in LEAST:
            assert getattr(settings, name) == entry.default, name


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("resolution", 512, (512, 512)),
        ("resolution", "512,768", (512, 768)),
        ("resolution", "512x768", (512, 768)),
        ("resolution", [640, 448], (640, 448)),
        ("learning_rate", "1e-4", 1e-4),
        ("network_dim", 16.0, 16),
        ("network_dim", "16", 16),
        ("gradient_accumulation_steps", 1.0, 1),
        ("flip_aug", "true", True),
        ("flip_aug", 0, False),
        ("unet_lr", "", None),
        ("reg_data_dir", "", None),
        ("lr_warmup_steps", "0.1", 0.1),
        ("lr_warmup_steps", 100.0, 100),
        ("optimizer_args", ["weight_decay=0.1", "betas=0.9,0.99"],
         {"weight_decay": "0.1", "betas": "0.9,0.99"}),
        ("optimizer_args", "weight_decay=0.1 betas=0.9,0.99",
         {"weight_decay": "0.1", "betas": "0.9,0.99"}),
        ("optimizer_args", {"weight_decay": 0.1}, {"weight_decay": 0.1}),
        ("optimizer_args", "", {}),
        ("down_lr_weight", [0, 0.5, 1], "0,0.5,1"),
        ("mid_lr_weight", 0.5, "0.5"),
        ("save_precision", "fp32", "float"),
        ("sample_prompts", "prompts.txt", Path("prompts.txt")),
        ("sample_prompts", ["a cat", "a dog --n bad"], ("a cat", "a dog --n bad")),
        ("sample_prompts", "a cat\na dog", ("a cat", "a dog")),
        ("pretrained_model_name_or_path", '"C:/a b/model.ckpt"', Path("C:/a b/model.ckpt")),
    ],
)  # fmt: skip
def test_values_are_read(name, raw, value):
    assert getattr(read(**{name: raw}), name) == value


def test_names_for_attention_all_mean_sdpa():
    for name, raw in (("xformers", "xformers"), ("mem_eff_attn", True), ("sdpa", "false")):
        assert read(**{name: raw}).sdpa is True


@pytest.mark.parametrize(
    ("name", "raw", "part"),
    [
        ("network_dim", 0, "1 and 1024"),
        ("network_dim", "8.5", "whole number"),
        ("learning_rate", "fast", "not a number"),
        ("learning_rate", "nan", "not a number"),
        ("flip_aug", "maybe", "true nor false"),
        ("lr_scheduler", "cosinus", "Choose one of"),
        ("resolution", "512,", "not a resolution"),
        ("max_token_length", 100, "75, 150 or 225"),
        ("output_name", "a:b", ":"),
        ("output_name", "a/b", "/"),
        ("output_name", "nul", "Windows"),
        ("optimizer_args", ["weight_decay"], "name=value"),
        ("network_dimm", 4, "Did you mean network_dim?"),
        ("bucket_reso_steps", 60, "multiple of 8"),
        ("min_timestep", 999, "999"),
    ],
)
def test_wrong_values_are_refused_by_name(name, raw, part):
    errors = errors_of(**{name: raw}, **({"max_timestep": 500} if name == "min_timestep" else {}))
    assert part in " ".join(errors.values())


def test_all_errors_are_reported_at_once():
    with pytest.raises(SettingErrors) as caught:
        read_train_settings({"network_dim": "x", "nonsense": 1, "train_batch_size": 0})
    assert {error.setting for error in caught.value.errors} == {
        "network_dim", "nonsense", "train_batch_size", "pretrained_model_name_or_path",
        "train_data_dir", "output_dir",
    }  # fmt: skip


def test_names_of_other_tools_are_read_and_said():
    settings, notes = read_train_settings(
        {"base_model": "m.ckpt", "img_folder": "in", "output_folder": "out", "net_dim": 8,
         "alpha": 4, "num_workers": 1, "network_args": ["conv_dim=4", "dropout=0.1"]}
    )  # fmt: skip
    assert (settings.network_dim, settings.network_alpha, settings.conv_dim) == (8, 4.0, 4)
    assert settings.network_dropout == 0.1
    assert any("net_dim" in note and "network_dim" in note for note in notes)
    assert any(note.startswith("num_workers is not needed") for note in notes)


def test_a_name_given_twice_is_refused_unless_both_say_the_same():
    assert "network_dim" in errors_of(network_dim=8, net_dim=16)["net_dim"]
    assert "network_dim" in errors_of(net_dim=16, network_dim=8)["net_dim"]
    assert read(network_dim=8, net_dim="8").network_dim == 8
    assert read(xformers=True, sdpa=False, mem_eff_attn=False).sdpa is True


@pytest.mark.parametrize(
    ("config", "flags"),
    [
        ({"net_dim": 8}, {"network_dim": 16}),
        ({"network_dim": 8}, {"net_dim": "16"}),
        ({"network_args": {"network_dim": 8}}, {"network_dim": 16}),
        ({"network_dim": 8}, {"network_args": ["network_dim=16"]}),
    ],
)
def test_a_flag_wins_over_a_config_whatever_the_names(config, flags):
    given = flags_over_config(flags, {**LEAST, "seed": 1, **config})
    settings, _ = read_train_settings(given)
    assert (settings.network_dim, settings.seed) == (16, 1)


# What the older popup scripts and the kohya_ss web GUI write beside the settings that are known.
POPUP = {
    "base_model": "m.ckpt", "img_folder": "in", "output_folder": "out", "change_output_name": None,
    "lr_scheduler_type": None, "height_resolution": None, "lyco": False, "network_args": None,
    "face_crop_aug_range": None, "list_of_json_to_run": None, "wandb_api_key": None,
    "save_json_folder": None, "huggingface_repo_id": None, "use_8bit_adam": False, "locon": False,
    "locon_dim": None, "json_load_skip_list": [], "warmup_lr_ratio": None, "net_dim": 8,
    "optimizer_args": {"weight_decay": "0.1", "betas": "0.9,0.99"}, "xformers": True,
}  # fmt: skip
KOHYA = {
    "pretrained_model_name_or_path": "m.ckpt", "train_data_dir": "in", "output_dir": "out",
    "network_dim": 8, "lr_warmup": 0, "LoRA_type": "Standard", "stop_text_encoder_training": 0,
    "additional_parameters": "", "sdxl": False, "reg_data_dir": "", "unet_lr": "",
    "optimizer_args": "", "epoch": 3, "max_train_epochs": "", "caption_extension": "",
    "xformers": "xformers", "gradient_accumulation_steps": 1.0, "factor": -1, "unit": 1,
}  # fmt: skip


@pytest.mark.parametrize("config", [POPUP, KOHYA])
def test_unknown_keys_that_were_off_are_notes(config):
    settings, notes = read_train_settings(config)
    assert settings.network_dim == 8
    known = declarations(TrainSettings)
    aliases = {alias for entry in known.values() for alias in entry.aliases}
    strangers = config.keys() - known.keys() - aliases - {"network_args"}
    told = {note.split()[0] for note in notes}
    assert strangers <= told
    if config is KOHYA:
        assert settings.max_train_epochs == 3  # "" is not set, and no second value
        assert settings.caption_extension == ".txt"


def test_unknown_keys_that_say_something_are_errors():
    errors = errors_of(height_resolution=768, use_8bit_adam=True)
    assert set(errors) == {"height_resolution", "use_8bit_adam"}


def test_a_warm_up_in_percent_is_explained():
    assert "for 10 % write lr_warmup_steps = 0.1 " in errors_of(lr_warmup=10)["lr_warmup"]
    assert "write lr_warmup_steps = 0.055 " in errors_of(lr_warmup="5.5")["lr_warmup"]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"network_module": "networks.dylora"}, "network_module"),
        ({"network_module": "lycoris.kohya", "network_args": ["algo=loha"]}, "algo"),
        ({"LoRA_type": "LyCORIS/LoKr"}, "LoRA_type"),
    ],
)
def test_other_kinds_of_networks_are_refused(values, name):
    assert "another kind of network" in errors_of(**values)[name]


def test_a_path_whose_backslash_was_read_as_a_sign_is_explained():
    assert "write the backslash twice" in errors_of(vae="C:\new\vae.pt")["vae"]


def test_what_follows_from_other_settings():
    settings = read(network_dim=24, conv_dim=8, learning_rate=2e-4, text_encoder_lr=1e-5)
    assert (settings.alpha, settings.alpha_of_convolutions) == (12, 4)
    assert (settings.unet_rate, settings.text_encoder_rate) == (2e-4, 1e-5)
    assert read(network_train_unet_only=True).text_encoder_rate == 0
    assert read(network_train_text_encoder_only=True).unet_rate == 0


def test_a_saved_config_gives_the_same_settings():
    settings = read(resolution="512,640", optimizer_args="a=1", sample_prompts=["a cat"])
    assert read_train_settings(as_config(settings))[0] == settings


def test_every_setting_has_label_help_and_page():
    for entry in declarations(TrainSettings).values():
        assert entry.label and entry.help.endswith(".") and entry.page, entry.name
