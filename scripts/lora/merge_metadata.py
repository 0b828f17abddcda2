"""The metadata of a merge: only what is true of the result.

What all merged files say alike stays (the base model, the resolution, ...), as does what they can
say together (the frequencies of tags); how one of them was trained is not true of the result. What
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
    """What no two of the sources say differently, and the frequencies of the tags added up."""
    everything: dict[str, str] = {}
    for source in reversed(sources):
        everything |= source
    same = {
        key: value
        for key, value in everything.items()
        if all(source.get(key, value) == value for source in sources)
        and key not in (*NOT_OF_A_RESULT, MERGED)
    }
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
