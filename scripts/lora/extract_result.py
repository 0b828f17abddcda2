"""What an extraction has found, for people and for the file: notes, facts, metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from scripts.lora.compare import UNRELATED, ModelPair
from scripts.lora.metadata import SGM, base_version, suite_version
from scripts.lora.ranks import KeptShare
from scripts.lora.result_metadata import ModuleSize, common, result_metadata
from scripts.lora.safetensors_writer import RawTensor
from scripts.settings.extract import ExtractSettings

EXTRACTED = "easy_lora_extracted"


@dataclass(frozen=True)
class Difference:
    """One layer. kept: the norm of its ΔW's part in the LoRA; lost: that of the rest."""

    name: str
    weight_norm: float
    tensors: dict[str, RawTensor] | None = None  # None where the models are equal
    size: ModuleSize | None = None
    kept: float = 0.0
    lost: float = 0.0


def _relative_difference(results: Sequence[Difference]) -> float:
    change = sum(result.kept**2 + result.lost**2 for result in results)
    weights = sum(result.weight_norm**2 for result in results)
    return math.sqrt(change / weights) if weights else 0.0


def _equal_share(results: Sequence[Difference]) -> float:
    return sum(result.tensors is None for result in results) / len(results)


def notes(results: Sequence[Difference], pair: ModelPair, settings: ExtractSettings) -> list[str]:
    """Whether the models are related, and what was left out, in sentences."""
    relative, equal = _relative_difference(results), _equal_share(results)
    tuned, original = pair.tuned.path.name, pair.original.path.name
    family = pair.original.family.title
    if relative > UNRELATED and not equal:
        lines = [f"{tuned} and {original} are both {family}, but hardly related: they differ by "
                 f"{relative:.0%} of their weights. A LoRA can hold little of that; see that the "
                 "original is the model that the other was made from."]  # fmt: skip
    else:
        lines = [f"{tuned} and {original} are both {family}; {equal:.0%} of the layers are equal, "
                 f"and the weights differ by {relative:.1%}."]  # fmt: skip
    texts = [result for result in results if not result.name.startswith("lora_unet_")]
    if texts and all(result.tensors is None for result in texts):
        lines.append("The text encoder is the same in both models, so it is left out.")
    if not texts and not settings.no_text_encoder:
        lines.append("One of the files has no text encoder, so that is left out.")
    return lines


def extract_metadata(
    found: Sequence[Difference], pair: ModelPair, settings: ExtractSettings
) -> dict[str, str]:
    """The metadata of the LoRA; saving adds its hashes."""
    family, path = pair.original.family, settings.result
    original, tuned = pair.original.path.name, pair.tuned.path.name
    is_velocity = bool(pair.original.v_prediction or pair.tuned.v_prediction)
    source = {
        "ss_base_model_version": base_version(family, is_velocity),
        "ss_v2": str(family.name == "sd2"),
        "ss_output_name": path.stem,
        "ss_sd_model_name": original,
        EXTRACTED: json.dumps({"model_org": original, "model_tuned": tuned}, ensure_ascii=False),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{family.modelspec_v if is_velocity else family.modelspec}/lora",
        "modelspec.prediction_type": "v" if is_velocity else "epsilon",
        "modelspec.implementation": "diffusers" if family.name != "sdxl" else SGM,
        "modelspec.implementation_version": f"easy-lora/{suite_version()}",
        "modelspec.title": path.stem,
        "modelspec.date": datetime.now().replace(microsecond=0).isoformat(),
    }
    comment = f"extracted from the difference of {tuned} and {original}"
    return result_metadata(source, [result.size for result in found], family.name, comment)


def facts_of(results: Sequence[Difference], pair: ModelPair, path: Path) -> dict:
    """How much of the difference the LoRA saved at `path` keeps, as a JSON-able dict."""
    kept = KeptShare()
    found = [result for result in results if result.tensors is not None]
    for result in found:
        kept.add(result.name, np.array([result.kept, result.lost]), 1)
    return {
        "path": str(path),
        "family": pair.original.family.name,
        "family_title": pair.original.family.title,
        "after": {
            "size_bytes": path.stat().st_size,
            "dim": common(result.size.rank for result in found),
        },
        "layers": len(results),
        "equal_share": _equal_share(results),
        "relative_difference": _relative_difference(results),
        "text_encoder": any(not result.name.startswith("lora_unet_") for result in found),
        "kept": kept.whole,
        "error": math.sqrt(max(1 - kept.whole**2, 0.0)),
        "kept_by_block": kept.by_block,
    }


def in_words(facts: dict) -> str:
    """The facts for a terminal."""
    blocks = ", ".join(f"{block} {share:.1%}" for block, share in facts["kept_by_block"].items())
    return (f"dim {facts['after']['dim']}, {facts['after']['size_bytes'] / 1e6:.1f} MB, keeps "
            f"{facts['kept']:.2%} of the difference (relative error {facts['error']:.3f})\n"
            f"by block: {blocks}")  # fmt: skip
