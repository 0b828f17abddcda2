"""The settings of `scripts.draw_versions`, declared once. `read_draw_settings` makes the object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.declare import build, notes_on, setting
from scripts.core.errors import SettingError
from scripts.settings.several import read_numbers, read_paths
from scripts.settings.train import SAMPLERS
from scripts.settings.train_reading import read_prompts

STRENGTHS = (0.6, 0.8, 1.0)
LARGEST_STRENGTH = 10
TOKEN_LENGTHS = (75, 150, 225)
NOT_NEEDED = {  # keys of sd-scripts' commands that draw
    "v2": "the file tells what it is.",
    "sdxl": "the file tells what it is.",
    "network_module": "the file tells what kind of LoRA it is.",
    "images_per_prompt": "one picture is drawn of each prompt, version and strength.",
    "batch_size": "the pictures are drawn one by one.",
    "xformers": "PyTorch's fast attention is always used.",
    "sdpa": "PyTorch's fast attention is always used.",
    "fp16": "mixed_precision says in which numbers is computed.",
    "bf16": "mixed_precision says in which numbers is computed.",
    "no_half_vae": "the VAE never runs in fp16.",
}


@dataclass(frozen=True)
class DrawSettings:
    """Everything that drawing can be told. None means "not set"."""

    # fmt: off
    model: Path | None = setting(
        None, label="Base model", page="Base model", path="file",
        aliases=["pretrained_model_name_or_path", "base_model", "ckpt"],
        help="The Stable Diffusion model to draw with: one .safetensors or .ckpt file, or a "
        "diffusers folder.")
    vae: Path | None = setting(
        None, label="Other VAE", page="Base model", path="file", advanced=True,
        help="A VAE file to use in place of the one inside the base model.")
    v_parameterization: bool | None = setting(
        None, label="v-prediction", page="Base model", advanced=True,
        help="The base model predicts velocity (v); found from the file when it can be known.")
    zero_terminal_snr: bool = setting(
        False, label="Zero terminal SNR", page="Base model", advanced=True,
        help="Noise schedule that ends in pure noise; for v-prediction models made with it.")
    clip_skip: int | None = setting(
        None, label="Clip skip", page="Base model", low=1, high=12,
        help="Which of the last text encoder layers to use: 1 for realistic models, 2 for anime "
        "models; not used with SDXL.",
        usual=(1, 2), above="Prompts are understood less and less.")
    max_token_length: int = setting(
        75, label="Longest prompt (tokens)", page="Base model", low=75, high=225, advanced=True,
        help="How many tokens of a prompt are used: 75, 150 or 225.",
        usual=(75, 225))
    mixed_precision: str | None = setting(
        None, label="Precision", page="Base model", choices=("no", "fp16", "bf16"), advanced=True,
        help="Number format while drawing; when not set, the best one that the device has.")
    fp8_base: bool = setting(
        False, label="fp8 base model", page="Base model", advanced=True,
        help="Keep the U-Net of the base model in fp8 on the graphics card: saves memory, not "
        "time.")
    loras: tuple[Path, ...] = setting(
        (), label="Versions", page="Versions", path="file", read=read_paths,
        aliases=["network_weights"],
        help="The LoRA files to compare, one row for each: the versions of one training, or any "
        "LoRAs for this base model.")
    strengths: tuple[float, ...] = setting(
        STRENGTHS, label="Strengths", page="Versions", read=read_numbers,
        aliases=["network_mul"],
        help="How strongly each LoRA acts, one column for each, such as 0.6,0.8,1. With 0 the base "
        "model is drawn alone too, once.",
        usual=(0, 1), below="The LoRA works against what it has learnt.",
        above="Colours glare and shapes warp.")
    prompts: tuple[Any, ...] | Path | None = setting(
        None, label="Prompts", page="Pictures", path="file", read=read_prompts,
        aliases=["sample_prompts", "prompt", "from_file"],
        help="What to draw: prompts, or a file with a prompt a line. Each gets a sheet of its own, "
        "and may have options of its own, as in: a cat --n blurry --w 512 --h 768 --d 1 --l 7.5 "
        "--s 28.")
    most_prompts: int | None = setting(
        None, label="Only the first prompts", page="Pictures", low=1, advanced=True,
        help="Draw only so many of the prompts, from the first on.",
        usual=(1, 10), above="Drawing takes long: a picture for each prompt, version and strength.")
    width: int | None = setting(
        None, label="Width", page="Pictures", low=64, high=4096, aliases=["W"],
        help="The width of the pictures in pixels; what suits the base model when not set.",
        usual=(512, 1024), below="Faces and small things stay blurred.",
        above="Doubled bodies; the base models were made for less.")
    height: int | None = setting(
        None, label="Height", page="Pictures", low=64, high=4096, aliases=["H"],
        help="The height of the pictures in pixels; what suits the base model when not set.",
        usual=(512, 1024), below="Faces and small things stay blurred.",
        above="Doubled bodies; the base models were made for less.")
    seed: int = setting(
        42, label="Seed", page="Pictures", low=0, high=4294967295,
        help="The first prompt's seed, the same for all versions and strengths; the next prompts "
        "have the next numbers.",
        usual=(0, 4294967295))
    steps: int = setting(
        30, label="Sampling steps", page="Pictures", low=1, high=1000, aliases=["sample_steps"],
        help="How many steps a picture is drawn in; 20 to 30.",
        usual=(20, 30), below="Pictures are unfinished: blurred and coarse.",
        above="Slower, without looking better.")
    guidance: float = setting(
        7.5, label="Guidance", page="Pictures", low=0, high=100,
        aliases=["scale", "guidance_scale", "cfg_scale"],
        help="How closely a picture follows its prompt (CFG scale): 5 to 8; 1 turns it off.",
        usual=(5, 8), below="The prompt is hardly followed.",
        above="Colours glare and pictures look burnt.")
    sampler: str = setting(
        "ddim", label="Sampler", page="Pictures", suggestions=SAMPLERS,
        aliases=["sample_sampler"],
        help="The sampler that draws the pictures.")
    save_to: Path | None = setting(
        None, label="Save into", page="Result", path="output folder", aliases=["outdir"],
        help="The folder for the pictures and the sheets. What is in it stays.")
    # fmt: on


def read_draw_settings(values: Mapping[str, Any]) -> tuple[DrawSettings, list[str]]:
    """The settings from raw values by name, and notes on renamed and unneeded keys.

    Raises SettingErrors with everything that is wrong.
    """
    return build(DrawSettings, values, _check_together, notes_on(NOT_NEEDED))


def _check_together(settings: DrawSettings) -> list[SettingError]:
    rules = [
        ("model", settings.model is None, "No base model is given. Choose the Stable Diffusion "
         "file to draw with."),
        ("loras", not settings.loras and any(settings.strengths), "No LoRA is given. Choose the "
         "files to compare."),
        ("strengths", not settings.strengths, "No strength is given. Give some, such as "
         "0.6,0.8,1."),
        ("strengths", any(abs(one) > LARGEST_STRENGTH for one in settings.strengths),
         f"A strength is from -{LARGEST_STRENGTH} to {LARGEST_STRENGTH}; usual are 0.6 to 1."),
        ("prompts", not settings.prompts, "No prompt is given. Write what to draw."),
        ("max_token_length", settings.max_token_length not in TOKEN_LENGTHS,
         f"{settings.max_token_length} is not possible. Choose 75, 150 or 225."),
        ("save_to", settings.save_to is None, "Where to save the pictures is not said. Choose a "
         "folder."),
    ]  # fmt: skip
    return [SettingError(name, message) for name, wrong, message in rules if wrong]
