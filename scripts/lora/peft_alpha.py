"""The alphas of LoRAs by PEFT and diffusers, which stand beside the tensors and not among them.

diffusers keeps PEFT's config in the header, as JSON under lora_adapter_metadata with the part of
the model in front of each name ("unet.lora_alpha"); PEFT itself keeps it in adapter_config.json
beside adapter_model.safetensors. Without either, alpha is the rank.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

PEFT_CONFIG = "lora_adapter_metadata"  # the key under which diffusers keeps it


def read_peft_config(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The config by name, as diffusers keeps it; empty when there is none that can be read."""
    try:
        if PEFT_CONFIG in metadata:
            content = json.loads(metadata[PEFT_CONFIG])
        elif path.stem == "adapter_model":
            content = json.loads(path.with_name("adapter_config.json").read_text(encoding="utf-8"))
        else:
            return {}
    except (OSError, ValueError):  # no file, or no JSON: the same as none
        return {}
    return content if isinstance(content, dict) else {}


def stated_alpha(config: Mapping[str, Any], key: str, rank: int) -> float | None:
    """The alpha of the layer with this key (of any of its tensors), None when not stated.

    With rsLoRA ΔW is scaled by alpha / √rank, which is an alpha of alpha · √rank here.
    """
    key = key.removeprefix("base_model.model.")
    part = next((part for part in ("unet.", "text_encoder.", "text_encoder_2.")
                 if key.startswith(part) and f"{part}lora_alpha" in config), "")  # fmt: skip
    path = re.split(r"\.lora[._]", key.removeprefix(part))[0]
    alpha = config.get(f"{part}lora_alpha")
    patterns = config.get(f"{part}alpha_pattern")
    for pattern, other in patterns.items() if isinstance(patterns, dict) else ():
        with suppress(re.error):  # not one that PEFT could read either
            if re.match(rf"(.*\.)?({pattern})$", path):
                alpha = other
                break  # of several the first, as PEFT does
    if not isinstance(alpha, int | float) or not math.isfinite(alpha):
        return None
    return float(alpha) * (math.sqrt(rank) if config.get(f"{part}use_rslora") else 1.0)
