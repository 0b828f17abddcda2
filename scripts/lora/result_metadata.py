"""The metadata of a LoRA that was made from others: what they say, and what is true of the result.

metadata = result_metadata(lora.metadata, sizes, lora.family, "dimension is resized ...")
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scripts.lora.factors import is_wide
from scripts.lora.layer_keys import stated_family
from scripts.lora.peft_alpha import PEFT_CONFIG
from scripts.models.families import FAMILIES

MIXED = "Dynamic"  # what sd-scripts writes where the modules have different sizes
# Arguments of network modules that say how large or of what kind a network was.
SIZE_ARGUMENTS = (
    "algo", "conv_dim", "conv_alpha", "block_dims", "block_alphas", "conv_block_dims",
    "conv_block_alphas", "factor", "use_cp", "use_tucker", "decompose_both", "full_matrix",
    "dora_wd", "rs_lora", "unit", "preset", "constraint", "rescaled", "bypass_mode", "wd_on_output",
)  # fmt: skip


@dataclass(frozen=True)
class ModuleSize:
    """The size of one module of the result; `shape` is that of ΔW."""

    shape: tuple[int, ...]
    rank: int
    alpha: float


def result_metadata(
    source: Mapping[str, str], sizes: Sequence[ModuleSize], family: str | None, comment: str
) -> dict[str, str]:
    """The metadata of a LoRA with modules of these sizes that was made from one with `source`.

    `comment` goes in front of the training comment, as sd-scripts does it. Hashes are left out:
    saving adds those of the result. So is PEFT's config, whose names and sizes are the source's.
    """
    metadata = {
        key: value
        for key, value in source.items()
        if not key.startswith(("sshs_", "modelspec.hash"))
        and key not in ("ss_network_args", PEFT_CONFIG)
    }
    before = source.get("ss_training_comment", "None")
    metadata["ss_training_comment"] = comment if before == "None" else f"{comment}; {before}"
    metadata["ss_network_module"] = "networks.lora"
    plain = [size for size in sizes if len(size.shape) == 2] or sizes
    metadata["ss_network_dim"] = common(size.rank for size in plain)
    metadata["ss_network_alpha"] = common(float(size.alpha) for size in plain)
    arguments = _arguments(source.get("ss_network_args", ""))
    wide = [size for size in sizes if is_wide(size.shape)]
    if wide:
        arguments["conv_dim"] = common(size.rank for size in wide)
        arguments["conv_alpha"] = common(float(size.alpha) for size in wide)
    if arguments:
        metadata["ss_network_args"] = json.dumps(arguments)
    if family is not None:
        _correct_family(metadata, family)
    if "modelspec.date" in metadata:
        metadata["modelspec.date"] = datetime.fromtimestamp(int(time.time())).isoformat()
    return metadata


def _correct_family(metadata: dict[str, str], family: str) -> None:
    """Put right what names no family, or another one than the keys of the file show."""
    key, right = "ss_base_model_version", FAMILIES[family]
    if metadata.get(key, "None") == "None" or _names_another(metadata, key, family):
        metadata[key] = right.base_model_version
        metadata["ss_v2"] = str(family == "sd2")
    if _names_another(metadata, "modelspec.architecture", family):
        metadata["modelspec.architecture"] = f"{right.modelspec}/lora"


def _names_another(metadata: Mapping[str, str], key: str, family: str) -> bool:
    return stated_family({key: metadata.get(key, "")}) not in (None, family)


def common(values: Iterable[Any]) -> str:
    """The one value that all have, else "Dynamic"."""
    found = set(values)
    return str(found.pop()) if len(found) == 1 else MIXED


def _arguments(text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text)
    except ValueError:  # "None", or not there
        return {}
    if not isinstance(arguments, dict):
        return {}
    return {name: value for name, value in arguments.items() if name not in SIZE_ARGUMENTS}
