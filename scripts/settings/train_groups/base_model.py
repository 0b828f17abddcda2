"""The settings of a training that tell the base model and what it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scripts.core.declare import setting


@dataclass(frozen=True)
class BaseModelSettings:
    """The model to train on."""

    # fmt: off
    pretrained_model_name_or_path: Path | None = setting(
        None, label="Base model", page="Base model", path="file", aliases=["base_model"],
        help="The Stable Diffusion model to train on: one .safetensors or .ckpt file, or a "
        "diffusers folder.",
        beware="The LoRA works best with this model and its kin. With another family it does "
        "nothing or harm.")
    vae: Path | None = setting(
        None, label="Other VAE", page="Base model", path="file", advanced=True,
        help="A VAE file to use in place of the one inside the base model.",
        beware="A VAE of another family gives wrong colours or mere noise.")
    v2: bool | None = setting(
        None, label="Stable Diffusion 2.x", page="Base model", advanced=True,
        help="The base model is Stable Diffusion 2.x; found from the file when not set.",
        beware="Set wrongly, the model does not load, or its pictures are noise.")
    v_parameterization: bool | None = setting(
        None, label="v-prediction", page="Base model", advanced=True,
        help="The base model predicts velocity (v); found from the file when it can be known.",
        beware="Set wrongly, previews and the finished LoRA give nothing but noise.")
    clip_skip: int | None = setting(
        None, label="Clip skip", page="Base model", low=1, high=12,
        help="Which of the last text encoder layers to use: 1 for realistic models, 2 for anime "
        "models; not used with SDXL.",
        usual=(1, 2), above="Captions are understood less and less, and prompts are not followed.")
    max_token_length: int = setting(
        75, label="Longest caption (tokens)", page="Base model",
        aliases=["max_clip_token_length"], low=75, high=225, advanced=True,
        help="How many tokens of a caption are used: 75, 150 or 225.",
        usual=(75, 225),
        beware="What is longer is cut off. Longer captions cost a little time and memory.")
    network_weights: Path | None = setting(
        None, label="Go on from a LoRA", page="Base model", path="file", advanced=True,
        aliases=["lora_model_for_resume", "lora_network_weights"],
        help="A LoRA file whose weights the training starts from.",
        beware="Its sizes must be those set here, unless they are taken from it.")
    dim_from_weights: bool = setting(
        False, label="Sizes from that LoRA", page="Base model", advanced=True,
        help="Take dim and alpha from the file given as network_weights.",
        beware="The dim and alpha set here do not count then.")
    # fmt: on
