"""Checks of the training settings that need no file: ranges that hang together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.core.errors import SettingError
from scripts.core.files import check_output_name

if TYPE_CHECKING:
    from scripts.settings.train import TrainSettings


def check_together(settings: TrainSettings) -> list[SettingError]:
    """Every error of the settings taken together; empty when all is well."""
    errors = []
    for name, wrong, message in _rules(settings):
        if wrong:
            errors.append(SettingError(name, message))
    try:
        check_output_name(settings.output_name)
    except SettingError as error:
        errors.append(error)
    return errors


def _rules(s: TrainSettings) -> list[tuple[str, bool, str]]:
    return [
        ("pretrained_model_name_or_path", s.pretrained_model_name_or_path is None,
         "No base model is given. Choose the Stable Diffusion file to train on."),
        ("train_data_dir", s.train_data_dir is None and s.dataset_config is None,
         "No pictures are given. Choose the folder that holds them."),
        ("dataset_config", s.train_data_dir is not None and s.dataset_config is not None,
         "Both a picture folder and a dataset file are given. Keep one."),
        ("output_dir", s.output_dir is None,
         "No output folder is given. Choose where the LoRA goes."),
        ("max_token_length", s.max_token_length not in (75, 150, 225),
         f"{s.max_token_length} is not possible. Choose 75, 150 or 225."),
        ("bucket_reso_steps", s.bucket_reso_steps % 8 != 0,
         f"{s.bucket_reso_steps} is not a multiple of 8. Take 64 or 32."),
        ("max_bucket_reso", s.enable_bucket and s.max_bucket_reso is not None
         and s.max_bucket_reso < s.min_bucket_reso,
         f"The longest bucket side, {s.max_bucket_reso}, is below the shortest, "
         f"{s.min_bucket_reso}. Make it larger."),
        ("max_timestep", s.max_timestep <= s.min_timestep,
         f"The last timestep, {s.max_timestep}, is not above the first, {s.min_timestep}. "
         "Make it larger."),
        ("network_train_text_encoder_only",
         s.network_train_unet_only and s.network_train_text_encoder_only,
         "Both U-Net only and text encoder only are chosen. Choose one, or neither."),
        ("learning_rate", s.unet_rate == 0 and s.text_encoder_rate == 0,
         "All learning rates are 0, so nothing would be trained. Take for example 1e-4."),
        ("conv_alpha", s.conv_alpha is not None and s.conv_dim is None and not s.conv_block_dims,
         "conv_alpha is given without conv_dim. Give both, or neither."),
        ("dim_from_weights", s.dim_from_weights and s.network_weights is None,
         "dim_from_weights needs a LoRA file in network_weights. Choose one."),
        ("full_bf16", s.full_bf16 and s.mixed_precision not in (None, "bf16"),
         f"full_bf16 needs mixed_precision bf16, not {s.mixed_precision}. Change one of them."),
        ("adaptive_noise_scale", s.adaptive_noise_scale is not None and s.noise_offset is None,
         "adaptive_noise_scale needs noise_offset. Give it too, for example 0.05."),
        ("noise_offset", bool(s.noise_offset) and bool(s.multires_noise_iterations),
         "noise_offset and multires_noise_iterations cannot be used together. Keep one."),
        ("lr_scheduler", s.lr_scheduler == "adafactor"
         and s.optimizer_type.lower() != "adafactor",
         "The adafactor schedule works only with the AdaFactor optimiser. Choose another one, "
         "such as cosine."),
        ("conditioning_data_dir", s.conditioning_data_dir is not None and not s.masked_loss,
         "A mask folder is given, but masked_loss is off. Turn it on, or remove the folder."),
    ]  # fmt: skip
