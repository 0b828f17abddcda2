"""Settings for a bake from what a person knows: what it is, how careful, which card, how many
pictures.

    advice = advise(Situation(kind="character", effort="balanced", family="sdxl", pictures=30,
                              memory_gb=12))
    advice.values          # settings by name, for read_train_settings
    advice.reasons         # sentences, by the setting that they are for

The rules are the tables of `advice_tables`. Learning rates are those for batch sizes of 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scripts.settings.advice_tables import (
    ANIME_NAMES,
    EFFORT_RULES,
    KIND_RULES,
    LEAST_LOOKS_A_PICTURE,
    MOST_LOOKS_A_PICTURE,
    MOST_LOOKS_A_ROUND,
    PRESETS,
    EffortRule,
)
from scripts.settings.cost import memory_needed, usual_side
from scripts.settings.memory_estimate import GB


@dataclass(frozen=True)
class Situation:
    """What is known. `memory_gb` None: no graphics card is known. `device` as the training names
    it. `family` sd1, sd2 or sdxl. `eight_bit`: whether 8-bit optimisers work here."""

    kind: str
    effort: str
    family: str
    pictures: int
    memory_gb: float | None = None
    preset: str = "standard"
    v_prediction: bool = False
    has_tags: bool = True
    model_name: str = ""
    bf16: bool | None = None
    device: str = ""
    no_card: bool = False
    eight_bit: bool = True


@dataclass(frozen=True)
class Advice:
    """Settings with their reasons. `repeats` belong to the picture folders; 0 is never given."""

    values: dict[str, Any]
    reasons: dict[str, str]
    repeats: int
    shrink_to: int | None = None
    warnings: tuple[str, ...] = ()


def advise(situation: Situation) -> Advice:
    """The settings for a situation.

    Raises KeyError for a kind, effort, family or preset that is not in the tables.
    """
    kind, effort = KIND_RULES[situation.kind], EFFORT_RULES[situation.effort]
    preset = PRESETS[situation.preset]
    dim = kind.dim_sdxl if situation.family == "sdxl" else kind.dim
    values: dict[str, Any] = {"network_dim": dim, **preset.values}
    reasons = {"network_dim": f"Dim {dim}: {kind.reason}.", "optimizer_type": preset.reason}
    if "network_dim" in preset.values:
        reasons |= {"network_dim": preset.reason, "optimizer_type": PRESETS["standard"].reason}
    values["network_alpha"] = values["network_dim"] / 2
    reasons["network_alpha"] = "Half of dim gave the best results in a published sweep."
    reasons["learning_rate"] = "The rate that suits this optimiser."
    _text_encoder(situation, values, reasons)
    _looks(situation, values, reasons)
    _optimiser(situation, values, reasons)
    warnings = _fit(situation, effort, values, reasons)
    repeats, epochs = amount(situation)
    values["max_train_epochs"] = epochs
    reasons["max_train_epochs"] = (
        f"{epochs} rounds of {repeats} x {situation.pictures} pictures; LoRAs are saved on the "
        "way, to choose the best."
    )
    values["save_every_n_epochs"] = 1
    return Advice(values, reasons, repeats, preset.shrink_to, tuple(warnings))


def amount(situation: Situation) -> tuple[int, int]:
    """Repeats of the folders, and epochs."""
    kind, effort = KIND_RULES[situation.kind], EFFORT_RULES[situation.effort]
    pictures = max(1, situation.pictures)
    looks = effort.looks * kind.looks
    looks = min(looks, pictures * MOST_LOOKS_A_PICTURE)
    looks = max(looks, pictures * LEAST_LOOKS_A_PICTURE)
    repeats = round(looks / (effort.epochs * pictures))
    repeats = max(1, min(repeats, MOST_LOOKS_A_ROUND // pictures))
    epochs = max(1, round(looks / (repeats * pictures)))
    return repeats, epochs


def _text_encoder(situation: Situation, values: dict[str, Any], reasons: dict[str, str]) -> None:
    if situation.family == "sdxl":
        values["network_train_unet_only"] = True
        reasons["network_train_unet_only"] = (
            "SDXL's two text encoders are good as they are; without them it is faster and steadier."
        )
    elif situation.family == "sd1":
        values["clip_skip"] = 2 if ANIME_NAMES.search(situation.model_name) else 1
        reasons["clip_skip"] = "2 is usual for anime models, 1 for realistic ones."


def _looks(situation: Situation, values: dict[str, Any], reasons: dict[str, str]) -> None:
    """Resolution, captions and loss."""
    side = usual_side(situation)
    if situation.family == "sd1" and situation.effort == "careful" and _roomy(situation, 8):
        side = 768
        reasons["resolution"] = "768 shows more detail, and the card has the memory for it."
    values["resolution"] = [side, side]
    reasons.setdefault("resolution", f"{side} is what this base model was made for.")
    values["enable_bucket"] = True
    values["min_snr_gamma"] = 5.0
    reasons["min_snr_gamma"] = "5 evens the training out; it helps or does no harm."
    values["max_token_length"] = 150
    reasons["max_token_length"] = "Room for long captions."
    values["shuffle_caption"] = situation.has_tags
    values["keep_tokens"] = 1
    reasons["keep_tokens"] = "The trigger word stays in front."
    if situation.has_tags:
        reasons["shuffle_caption"] = "Tags in changing order, so that their order does not matter."
    values["flip_aug"] = False
    values["cache_latents"] = True
    if situation.bf16 is not None:
        values["mixed_precision"] = "bf16" if situation.bf16 else "fp16"
        reasons["mixed_precision"] = "The best number format that this card has."
    if situation.no_card:
        values["mixed_precision"] = "no"
        reasons["mixed_precision"] = "A processor gains nothing from half precision."


def _optimiser(situation: Situation, values: dict[str, Any], reasons: dict[str, str]) -> None:
    """The whole optimiser where its 8-bit form saves nothing or does not work."""
    eight_bit = values["optimizer_type"]
    if not eight_bit.endswith("8bit") or (situation.eight_bit and not situation.no_card):
        return
    values["optimizer_type"] = whole = eight_bit.removesuffix("8bit")
    if situation.no_card:
        reasons["optimizer_type"] = (
            f"{eight_bit} is for graphics cards; {whole} gives the same result on the processor."
        )
    else:
        reasons["optimizer_type"] = (
            f"{eight_bit} does not work on this machine; {whole} gives the same result and takes a "
            "little more memory."
        )


def _roomy(situation: Situation, gigabytes: float) -> bool:
    return situation.memory_gb is not None and situation.memory_gb >= gigabytes


def _fit(
    situation: Situation, effort: EffortRule, values: dict[str, Any], reasons: dict[str, str]
) -> list[str]:
    """Choose batch, checkpointing and fp8 by the card's memory: the first of these that fits."""
    values |= {"train_batch_size": 1, "gradient_checkpointing": True, "fp8_base": False}
    reasons["train_batch_size"] = "As many pictures at once as fit, up to what keeps detail."
    reasons["gradient_checkpointing"] = "Much less memory for a little time."
    if situation.no_card or situation.memory_gb is None:
        values["gradient_checkpointing"] = not situation.no_card
        return []
    batches = [batch for batch in (2, 1) if batch <= effort.batch]
    tries = [(batch, False, False) for batch in batches] + [
        (batch, True, False) for batch in batches] + [(1, True, True)]  # fmt: skip
    for batch, checkpointing, fp8 in tries:
        values |= {"train_batch_size": batch, "gradient_checkpointing": checkpointing,
                   "fp8_base": fp8}  # fmt: skip
        if memory_needed(situation, values) <= situation.memory_gb * GB * 0.9:
            if not checkpointing:
                reasons["gradient_checkpointing"] = "Off: there is memory enough, and it is faster."
            if fp8:
                reasons["fp8_base"] = "The base model in fp8 fits into this card's memory."
            return []
    reasons["fp8_base"] = "The base model in fp8 saves memory."
    return [f"{situation.memory_gb:g} GB are little for this base model: it may be too slow, "
            "or not work at all. Try ten steps first, or take a Stable Diffusion 1.x "
            "model."]  # fmt: skip
