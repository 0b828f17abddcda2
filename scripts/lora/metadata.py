"""What a LoRA file tells of its training: ss_* as sd-scripts writes them, and modelspec.*.

All values are strings, and what is not set is "None". A1111, Forge, ComfyUI and the sites that
host LoRAs read these.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scripts.core.config import read_structured
from scripts.core.files import PROJECT_FOLDER
from scripts.lora.base_hashes import BaseHashes

if TYPE_CHECKING:
    from scripts.lora.network import NetworkSummary
    from scripts.models.families import Family
    from scripts.models.recognise import BaseModel
    from scripts.settings.train import TrainSettings

# Entries that hold a setting as it is, and the setting's name.
FROM_SETTINGS = {
    "ss_adaptive_noise_scale": "adaptive_noise_scale",
    "ss_cache_latents": "cache_latents",
    "ss_caption_dropout_every_n_epochs": "caption_dropout_every_n_epochs",
    "ss_caption_dropout_rate": "caption_dropout_rate",
    "ss_caption_tag_dropout_rate": "caption_tag_dropout_rate",
    "ss_clip_skip": "clip_skip",
    "ss_debiased_estimation": "debiased_estimation_loss",
    "ss_fp8_base": "fp8_base",
    "ss_gradient_accumulation_steps": "gradient_accumulation_steps",
    "ss_gradient_checkpointing": "gradient_checkpointing",
    "ss_huber_c": "huber_c",
    "ss_huber_scale": "huber_scale",
    "ss_huber_schedule": "huber_schedule",
    "ss_ip_noise_gamma": "ip_noise_gamma",
    "ss_learning_rate": "learning_rate",
    "ss_loss_type": "loss_type",
    "ss_lowram": "lowram",
    "ss_lr_scheduler": "lr_scheduler",
    "ss_max_grad_norm": "max_grad_norm",
    "ss_min_snr_gamma": "min_snr_gamma",
    "ss_multires_noise_discount": "multires_noise_discount",
    "ss_multires_noise_iterations": "multires_noise_iterations",
    "ss_network_dropout": "network_dropout",
    "ss_noise_offset": "noise_offset",
    "ss_output_name": "output_name",
    "ss_prior_loss_weight": "prior_loss_weight",
    "ss_scale_weight_norms": "scale_weight_norms",
    "ss_seed": "seed",
    "ss_text_encoder_lr": "text_encoder_lr",
    "ss_training_comment": "training_comment",
    "ss_unet_lr": "unet_lr",
    "ss_zero_terminal_snr": "zero_terminal_snr",
}
# What sd-scripts can do and this suite cannot, with the value that says so.
NEVER_USED = {
    "ss_face_crop_aug_range": None,
    "ss_fp8_base_unet": False,
    "ss_full_fp16": False,
    "ss_ip_noise_gamma_random_strength": False,
    "ss_max_validation_steps": None,
    "ss_noise_offset_random_strength": False,
    "ss_num_validation_images": 0,
    "ss_resize_interpolation": None,
    "ss_sd_scripts_commit_hash": None,
    "ss_validate_every_n_epochs": None,
    "ss_validate_every_n_steps": None,
    "ss_validation_seed": None,
    "ss_validation_split": 0.0,
}
# Arguments of sd-scripts' network module, kept as JSON in ss_network_args.
NETWORK_ARGUMENTS = (
    "conv_dim", "conv_alpha", "rank_dropout", "module_dropout", "down_lr_weight",
    "mid_lr_weight", "up_lr_weight", "block_dims", "block_alphas", "conv_block_dims",
    "conv_block_alphas",
)  # fmt: skip
KEPT_WITHOUT_METADATA = (
    "ss_v2", "ss_base_model_version", "ss_network_module", "ss_network_dim", "ss_network_alpha",
    "ss_network_args",
)  # fmt: skip
SGM = "https://github.com/Stability-AI/generative-models"


@dataclass(frozen=True)
class RunFacts:
    """How far a training has got and how it runs.

    `epoch` and `step` at the time of saving, `epochs` and `steps` when it is finished; `started`
    and `finished` in seconds since 1970, `finished` at the time of saving; `optimizer` with its
    module and arguments.
    """

    epoch: int
    step: int
    epochs: int
    steps: int
    batches_per_epoch: int
    processes: int
    mixed_precision: str
    started: float
    finished: float
    optimizer: str = "None"


def training_metadata(
    settings: TrainSettings,
    base: BaseModel,
    dataset_metadata: Mapping[str, str],
    network: NetworkSummary,
    facts: RunFacts,
    hashes: BaseHashes,
) -> dict[str, str]:
    """All metadata of a LoRA file but the hashes of its own weights, which saving adds.

    With `no_metadata` only what a UI needs to load the file, and modelspec.*.
    """
    entries = {
        **NEVER_USED,
        **{key: getattr(settings, name) for key, name in FROM_SETTINGS.items()},
        **_base_entries(settings, base, hashes),
        **_network_entries(settings, network),
        **_run_entries(settings, facts),
    }
    training = {key: str(value) for key, value in entries.items()} | dict(dataset_metadata)
    if settings.no_metadata:
        training = {key: training[key] for key in KEPT_WITHOUT_METADATA if key in training}
    resolution = dataset_metadata.get("ss_resolution")
    return training | model_spec(settings, base, facts.finished, resolution)


def _base_entries(settings: TrainSettings, base: BaseModel, hashes: BaseHashes) -> dict[str, Any]:
    model, vae = hashes.model(), hashes.vae()
    entries = {
        "ss_base_model_version": base_version(base.family, bool(settings.v_parameterization)),
        "ss_v2": base.family.name == "sd2",
        "ss_sd_model_name": model.name,
        "ss_sd_model_hash": model.short,
        "ss_new_sd_model_hash": model.sha256,
    }
    if vae is not None:
        entries |= {
            "ss_vae_name": vae.name,
            "ss_vae_hash": vae.short,
            "ss_new_vae_hash": vae.sha256,
        }
    return entries


def base_version(family: Family, is_velocity: bool) -> str:
    """The value of ss_base_model_version."""
    is_told = is_velocity and family.name != "sdxl"
    return family.base_model_version + ("_v" if is_told else "")


def _network_entries(settings: TrainSettings, network: NetworkSummary) -> dict[str, Any]:
    arguments = {
        name: str(getattr(settings, name))
        for name in NETWORK_ARGUMENTS
        if getattr(settings, name) is not None
    }
    dim, alpha = settings.network_dim, settings.alpha
    if settings.dim_from_weights:
        dim = "Dynamic" if network.dim is None else network.dim
        alpha = "Dynamic" if network.alpha is None else network.alpha
    elif settings.conv_dim is not None:
        arguments["conv_alpha"] = str(settings.alpha_of_convolutions)
    entries = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": dim,
        "ss_network_alpha": alpha if isinstance(alpha, str) else float(alpha),
    }
    return entries | ({"ss_network_args": json.dumps(arguments)} if arguments else {})


def _run_entries(settings: TrainSettings, facts: RunFacts) -> dict[str, Any]:
    batch, warmup = settings.train_batch_size, settings.lr_warmup_steps
    return {
        "ss_session_id": random.Random(facts.started).randint(0, 2**32),
        "ss_training_started_at": facts.started,
        "ss_training_finished_at": facts.finished,
        "ss_epoch": facts.epoch,
        "ss_steps": facts.step,
        "ss_num_epochs": facts.epochs,
        "ss_max_train_steps": facts.steps,
        "ss_num_batches_per_epoch": facts.batches_per_epoch,
        "ss_batch_size_per_device": batch,
        "ss_total_batch_size": batch * facts.processes * settings.gradient_accumulation_steps,
        "ss_mixed_precision": facts.mixed_precision,
        "ss_optimizer": facts.optimizer,
        "ss_lr_warmup_steps": int(warmup * facts.steps if warmup < 1 else warmup),
        "ss_max_token_length": None
        if settings.max_token_length == 75
        else (settings.max_token_length),
    }


def model_spec(
    settings: TrainSettings, base: BaseModel, saved: float, resolution: str | None
) -> dict[str, str]:
    """The modelspec.* entries (Stability AI's ModelSpec 1.0.1).

    `saved` is in seconds since 1970; `resolution` is like "(512, 512)", or None for the family's.
    """
    family, is_velocity = base.family, bool(settings.v_parameterization)
    architecture = family.modelspec_v if is_velocity else family.modelspec
    if resolution is None:
        side = family.resolution(is_velocity)
        resolution = f"({side}, {side})"
    spec = {
        "sai_model_spec": "1.0.1",
        "architecture": f"{architecture}/lora",
        # Which code base's names the keys follow; SDXL's are those of the original layout.
        "implementation": SGM if family.name == "sdxl" else "diffusers",
        "implementation_version": f"easy-lora/{suite_version()}",
        "title": settings.metadata_title or settings.output_name,
        "author": settings.metadata_author,
        "description": settings.metadata_description,
        "license": settings.metadata_license,
        "tags": settings.metadata_tags,
        "date": datetime.fromtimestamp(int(saved)).isoformat(),
        "resolution": resolution.strip("()").replace(", ", "x"),
        "prediction_type": "v" if is_velocity else "epsilon",
        "encoder_layer": settings.clip_skip if family.name != "sdxl" else None,
    }
    if (settings.min_timestep, settings.max_timestep) != (0, 1000):
        spec["timestep_range"] = f"{settings.min_timestep},{settings.max_timestep}"
    return {f"modelspec.{key}": str(value) for key, value in spec.items() if value is not None}


@functools.cache
def suite_version() -> str:
    """The version of this suite, from pyproject.toml."""
    return read_structured(PROJECT_FOLDER / "pyproject.toml")["project"]["version"]
