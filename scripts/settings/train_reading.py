"""How the less plain values of the training settings are read, and keys that need special care.

Every function takes the raw value of a config file or flag and raises ValueError with one plain
sentence when it cannot be read.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.core.declare import read_float, read_int, show_value
from scripts.core.errors import SettingError, SettingErrors

NOT_NEEDED = {
    "network_module": "the LoRA code is built in.",
    "LoRA_type": "conv_dim decides whether it becomes a LoRA or a LoCon.",
    "lyco": "conv_dim decides whether it becomes a LoRA or a LoCon.",
    "algo": "conv_dim decides whether it becomes a LoRA or a LoCon.",
    "LyCORIS_preset": "it belongs to kinds of LyCORIS that are not made here.",
    "unit": "it belongs to kinds of LyCORIS that are not made here.",
    "factor": "it belongs to kinds of LyCORIS that are not made here.",
    "max_data_loader_n_workers": "pictures are read without worker processes.",
    "num_workers": "pictures are read without worker processes.",
    "persistent_data_loader_workers": "pictures are read without worker processes.",
    "persistent_workers": "pictures are read without worker processes.",
    "prior_preservation": "regularisation pictures are found from reg_data_dir.",
    "cache_text_encoder_outputs": "this happens by itself when the text encoder is not trained.",
    "cache_text_encoder_outputs_to_disk": "text encoder outputs are kept in memory.",
    "sdxl": "the family is found from the base model's file.",
    "model_list": "the base model is found by its path.",
    "num_processes": "the number of processes is chosen when the training is started.",
    "num_machines": "the training runs on this machine.",
    "num_cpu_threads_per_process": "the number of threads is chosen by itself.",
    "sdxl_cache_text_encoder_outputs": "this happens by itself when the text encoder is not "
    "trained.",
    "sdxl_no_half_vae": "the VAE never runs in fp16.",
    "no_half_vae": "the VAE never runs in fp16.",
    "vae_batch_size": "the batch size of the VAE is chosen by itself.",
    "tokenizer_cache_dir": "the tokenizer is built in.",
    "log_with": "the log is written for TensorBoard.",
    "log_prefix": "the log folder is named after the output.",
    "log_tracker_name": "the log folder is named after the output.",
    "console_log_level": "the log level is fixed.",
    "console_log_simple": "the log format is fixed.",
    "highvram": "memory is managed by itself.",
    "ddp_timeout": "the time limit is fixed.",
    "save_state_on_train_end": "save_state saves the state at the end too.",
    "skip_cache_check": "the cache is always checked, which takes no time.",
    "initial_epoch": "resume goes on where the state was saved.",
    "initial_step": "resume goes on where the state was saved.",
    "skip_until_initial_step": "resume goes on where the state was saved.",
    "min_data_gb_for_streaming": "pictures are never streamed.",
    "config_file": "this is the config file.",
    "output_config": "use --plan to see the settings.",
}

COMBINED_KEYS = ("network_args",)  # keys that hold several settings
# What these may say without asking for another kind of network than ours.
KINDS_OF_NETWORK = {
    "network_module": ("networks.lora", "lycoris.kohya", "locon.locon_kohya"),
    "LoRA_type": ("Standard", "Kohya LoCon", "LyCORIS/LoCon"),
    "algo": ("lora", "locon"),
}


def read_foreign(key: str, raw: Any) -> str | None:
    """A note on a key of another tool that means nothing here, None for any other key.

    Raises SettingError with advice when the key asks for something that has another name here,
    or that is not made here.
    """
    if key == "lr_warmup":
        percent = _number_or(10, raw)
        raise SettingError(key, f"lr_warmup is a percentage of all steps: for {percent:g} % write "
                           f"lr_warmup_steps = {percent / 100:g} in its place.")  # fmt: skip
    kinds = KINDS_OF_NETWORK.get(key)
    raw = raw[0] if isinstance(raw, list) and len(raw) == 1 else raw  # a flag with one word
    if kinds and str(raw).strip().lower() not in [kind.lower() for kind in kinds]:
        raise SettingError(key, f"{raw} is another kind of network; here LoRA and LoCon are made. "
                           f"Remove {key}, and give conv_dim for a LoCon.")  # fmt: skip
    return f"{key} is not needed: {NOT_NEEDED[key]}" if key in NOT_NEEDED else None


def _number_or(stand_in: float, raw: Any) -> float:
    try:
        return read_float(raw)
    except ValueError:
        return stand_in


def read_resolution(raw: Any) -> tuple[int, int]:
    """Width and height from 512, "512", "512,768", "512x768" or [512, 768]."""
    parts = raw if isinstance(raw, list | tuple) else re.split(r"[,x×\s]+", str(raw).strip())
    try:
        sides = [read_int(part) for part in parts]
    except ValueError:
        sides = []
    if len(sides) == 1:
        sides *= 2
    if len(sides) != 2 or not all(64 <= side <= 8192 for side in sides):
        raise ValueError(f'"{raw}" is not a resolution. Write one side, such as 512, or width and '
                         "height, such as 512,768; each from 64 to 8192.")  # fmt: skip
    return sides[0], sides[1]


def read_steps_or_fraction(raw: Any) -> float:
    """A number of steps, or below 1 a fraction of all steps."""
    number = read_float(raw)
    if number >= 1:
        return read_int(number)
    return number


def read_joined(raw: Any) -> str:
    """A comma-joined text from a list or a text; the parser of the blocks reads it further."""
    if isinstance(raw, list | tuple):
        return ",".join(show_value(item) for item in raw)
    return show_value(raw)


def read_arguments(raw: Any) -> dict[str, Any]:
    """Arguments by name from {"a": 1}, ["a=1", "b=2"] or "a=1 b=2"."""
    if isinstance(raw, Mapping):
        return {str(key): value for key, value in raw.items()}
    words = raw if isinstance(raw, list | tuple) else shlex.split(str(raw))
    arguments = {}
    for word in words:
        name, sign, value = str(word).partition("=")
        if not sign or not name.strip():
            raise ValueError(f'"{word}" is not an argument. Write name=value.')
        arguments[name.strip()] = value.strip()
    return arguments


def read_precision(raw: Any) -> str:
    """float, fp16 or bf16, also under their other usual names."""
    names = {"float": "float", "fp32": "float", "float32": "float", "no": "float",
             "fp16": "fp16", "half": "fp16", "float16": "fp16",
             "bf16": "bf16", "bfloat16": "bf16"}  # fmt: skip
    found = names.get(str(raw).strip().lower())
    if found is None:
        raise ValueError(f'"{raw}" is not possible here. Choose one of: float, fp16, bf16.')
    return found


def read_prompts(raw: Any) -> tuple[Any, ...] | Path:
    """A list of prompts (texts, or tables with their options) or the path of a prompt file."""
    if isinstance(raw, list | tuple):
        if len(raw) == 1 and isinstance(raw[0], str) and _is_prompt_file(raw[0]):
            return Path(raw[0])
        return tuple(raw)
    text = str(raw).strip().strip('"')
    if _is_prompt_file(text):
        return Path(text)
    return tuple(line for line in str(raw).splitlines() if line.strip())


def _is_prompt_file(text: str) -> bool:
    return "\n" not in text and text.lower().endswith((".txt", ".json", ".toml"))


def expand_combined_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Take keys apart that hold several settings: network_args of sd-scripts.

    What is given by its own name wins. Raises SettingErrors when network_args cannot be read.
    """
    expanded = {key: value for key, value in values.items() if key not in COMBINED_KEYS}
    names = {"dropout": "network_dropout"}
    for key in COMBINED_KEYS:
        try:
            arguments = read_arguments(values.get(key) or {})
        except ValueError as error:
            raise SettingErrors([SettingError(key, str(error))]) from error
        for name, value in arguments.items():
            expanded.setdefault(names.get(name, name), value)
    return expanded
