"""The metadata of a merge: only what is true of the result.

For what model the files were made stays, unless they say it differently, as does what all of them
say alike (the author, ...) and what they can say together (the frequencies of tags). How each was
trained, and on how many pictures, is not true of the sum of several. What
was merged at which strength stands in easy_lora_merged, as JSON, with what the merges of merges
were made of.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from scripts.lora.merge_inputs import Ingredient, describe
from scripts.lora.metadata import suite_version
from scripts.lora.modules import LoraFile
from scripts.lora.result_metadata import ModuleSize, common, result_metadata

MERGED = "easy_lora_merged"
TAGS = "ss_tag_frequency"
# What a file without metadata does not belie: for what model, and how to draw with it.
OF_THE_MODEL = (
    "ss_base_model_version", "ss_v2", "ss_sd_model_name", "ss_sd_model_hash",
    "ss_new_sd_model_hash", "ss_vae_name", "ss_vae_hash", "ss_new_vae_hash", "ss_resolution",
    "ss_clip_skip", "ss_max_token_length", "ss_zero_terminal_snr", "modelspec.sai_model_spec",
    "modelspec.architecture", "modelspec.implementation", "modelspec.resolution",
    "modelspec.prediction_type", "modelspec.encoder_layer",
)  # fmt: skip
NOT_OF_A_RESULT = ("modelspec.thumbnail", "modelspec.hash_sha256")


def merge_metadata(
    ingredients: Sequence[Ingredient], sizes: Sequence[ModuleSize], path: Path, size: str
) -> dict[str, str]:
    """The metadata of the LoRA that will be saved at `path`; `size` tells its size in words."""
    sources = [ingredient.lora.metadata for ingredient in ingredients]
    families = [ingredient.lora.family for ingredient in ingredients if ingredient.lora.family]
    comment = f"merged {describe(ingredients)}, {size}"
    family = families[0] if families else None
    metadata = result_metadata(agreed(sources), sizes, family, comment)
    return metadata | of_merge(ingredients) | _names(ingredients, path)


def agreed(sources: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What is true of the sum of LoRAs with these metadata, the frequencies of tags added up."""
    everything: dict[str, str] = {}
    for source in reversed(sources):
        everything |= source
    same = {}
    for key, value in everything.items():
        found = {source.get(key) for source in sources}
        if key in OF_THE_MODEL:
            is_true = found <= {value, None}
        else:  # of several trainings even what is alike is not that of the result
            is_true = found == {value} and (len(sources) == 1 or not key.startswith("ss_"))
        if is_true and key not in (*NOT_OF_A_RESULT, MERGED):
            same[key] = value
    tags = _joined_tags([source[TAGS] for source in sources if TAGS in source])
    return same | ({TAGS: json.dumps(tags, ensure_ascii=False)} if tags else {})


def _joined_tags(texts: Sequence[str]) -> dict[str, dict[str, int]]:
    """{folder: {tag: how often}}, added up; what is not of this form is left out."""
    joined: dict[str, Counter[str]] = {}
    for text in texts:
        try:
            folders = json.loads(text)
            for folder, tags in folders.items():
                joined.setdefault(folder, Counter()).update(
                    {tag: int(count) for tag, count in tags.items()}
                )
        except (ValueError, TypeError, AttributeError):
            continue
    return {folder: dict(tags) for folder, tags in joined.items()}


def of_merge(ingredients: Sequence[Ingredient]) -> dict[str, str]:
    """The entry that tells what was merged."""
    return {MERGED: json.dumps([_entry(one) for one in ingredients], ensure_ascii=False)}


def _entry(ingredient: Ingredient) -> dict[str, Any]:
    lora = ingredient.lora
    entry: dict[str, Any] = {"file": lora.path.name, "ratio": ingredient.ratio}
    if ingredient.block_text:
        entry["block_ratios"] = ingredient.block_text
    entry |= {"dim": _common_dim(lora), "types": lora.network_types}
    for key in ("sshs_model_hash", "ss_output_name", "ss_training_comment"):
        if lora.metadata.get(key, "None") != "None":
            entry[key] = lora.metadata[key]
    if MERGED in lora.metadata:
        try:
            entry["of"] = json.loads(lora.metadata[MERGED])
        except ValueError:
            entry["of"] = lora.metadata[MERGED]
    return entry


def _common_dim(lora: LoraFile) -> str:
    return common(module.rank for module in lora.modules.values())


def _names(ingredients: Sequence[Ingredient], path: Path) -> dict[str, str]:
    names = {"ss_output_name": path.stem}
    if any(key.startswith("modelspec.") for one in ingredients for key in one.lora.metadata):
        names |= {
            "modelspec.title": path.stem,
            "modelspec.date": datetime.now().replace(microsecond=0).isoformat(),
            "modelspec.merged_from": ", ".join(one.lora.path.stem for one in ingredients),
            "modelspec.implementation_version": f"easy-lora/{suite_version()}",
        }
    return names
