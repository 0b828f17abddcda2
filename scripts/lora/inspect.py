"""What a LoRA file is: family, types, sizes, trigger words, problems, as a JSON-able dict."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from scripts.lora.modules import LoraFile, LoraModule
from scripts.models.families import FAMILIES

TAGS_TOLD = 20
TRAINING_KEYS = (
    "ss_sd_model_name", "ss_num_train_images", "ss_num_epochs", "ss_steps", "ss_learning_rate",
    "ss_unet_lr", "ss_text_encoder_lr", "ss_optimizer", "ss_lr_scheduler", "ss_resolution",
    "ss_training_comment",
)  # fmt: skip


def facts_of(lora: LoraFile) -> dict[str, Any]:
    """The facts; `dims`, `alphas` and `modules` are counts by the part of the model."""
    dims: dict[str, Counter] = {}
    alphas: dict[str, Counter] = {}
    modules: Counter[str] = Counter()
    for module in lora.modules.values():
        part = part_of(module)
        modules[part] += 1
        dims.setdefault(part, Counter())[str(module.rank)] += 1
        alphas.setdefault(part, Counter())[f"{module.alpha:g}"] += 1
    return {
        "path": str(lora.path),
        "size_bytes": lora.size_bytes,
        "family": lora.family,
        "family_title": FAMILIES[lora.family].title if lora.family in FAMILIES else None,
        "network_types": dict(lora.network_types),
        "naming": lora.naming,
        "dtype": lora.dtype,
        "modules": dict(modules),
        "dims": {part: dict(counts) for part, counts in dims.items()},
        "alphas": {part: dict(counts) for part, counts in alphas.items()},
        "trigger_words": trigger_words(lora.metadata),
        "training": {key: lora.metadata[key] for key in TRAINING_KEYS
                     if lora.metadata.get(key) not in (None, "None", "")},
        "problems": problems(lora),
    }  # fmt: skip


def part_of(module: LoraModule) -> str:
    """text_encoder, unet_linear, unet_conv (1x1) or unet_conv_3x3."""
    if not module.name.startswith("lora_unet_"):
        return "text_encoder"
    if not module.is_conv:
        return "unet_linear"
    return "unet_conv_3x3" if module.is_conv_3x3 else "unet_conv"


def trigger_words(metadata: dict[str, str]) -> list[tuple[str, int]]:
    """The tags of the captions it was trained on, by how often they came, most frequent first."""
    try:
        folders = json.loads(metadata.get("ss_tag_frequency", "{}"))
        counts: Counter[str] = Counter()
        for tags in folders.values():
            for tag, count in tags.items():
                counts[tag.strip()] += int(count)
    except (ValueError, TypeError, AttributeError):  # written by whatever tool
        return []
    return counts.most_common(TAGS_TOLD)


def problems(lora: LoraFile) -> list[str]:
    """What is odd about the file, in sentences."""
    found = []
    if lora.family is None:
        found.append("It is not clear what kind of model this LoRA was made for.")
    if lora.others:
        found.append(f"It holds {len(lora.others)} tensors that belong to no layer.")
    return found
