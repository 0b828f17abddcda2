"""Settings for a bake from what a person knows: what it is, how careful, which card, how many
pictures.

    advice = advise(Situation(kind="character", effort="balanced", family="sdxl", pictures=30,
                              memory_gb=12))
    advice.values          # settings by name, for read_train_settings
    advice.reasons         # a sentence for each
    advice.sentence()      # about 1,500 steps; about 8.1 of 12 GB

The rules are the tables of `advice_tables`. Learning rates are those for batch sizes of 1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
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
from scripts.settings.calibration import PLACE
from scripts.settings.cost import cost_of_step, memory_needed, usual_side
from scripts.settings.memory_estimate import ERROR, GB


@dataclass(frozen=True)
class Situation:
    """What is known. `memory_gb` None: no graphics card is known. `device` as the training names
    it. `family` sd1, sd2 or sdxl. `anime` None: judged by `model_name`. `eight_bit`: whether 8-bit
    optimisers work here."""

    kind: str
    effort: str
    family: str
    pictures: int
    memory_gb: float | None = None
    preset: str = "standard"
    v_prediction: bool = False
    has_tags: bool = True
    anime: bool | None = None
    model_name: str = ""
    bf16: bool | None = None
    device: str = ""
    no_card: bool = False
    eight_bit: bool = True


@dataclass(frozen=True)
class Advice:
    """Settings with their reasons, and what the bake will cost.

    `repeats` belong to the picture folders (0 is never given); `memory_bytes` is an estimate with
    an error of `memory_estimate.ERROR`, or measured; `seconds` None: nothing is known yet.
    """

    values: dict[str, Any]
    reasons: dict[str, str]
    repeats: int
    steps: int
    memory_bytes: float
    memory_gb: float | None
    memory_is_measured: bool = False
    seconds: float | None = None
    seconds_are_exact: bool = False
    device: str = ""
    shrink_to: int | None = None
    warnings: tuple[str, ...] = ()

    def sentence(self) -> str:
        """What it will be, in a plain sentence."""
        parts = [f"About {_rounded(self.steps):,} steps"]
        name = self.device.partition(",")[0].replace("NVIDIA GeForce ", "")
        place = f"on your {name} " if name else ""
        if self.seconds is not None:
            surely = "about" if self.seconds_are_exact else "very roughly"
            parts.append(f"{place}{surely} {_duration(self.seconds)}")
            place = ""
        needed = f"{'' if self.memory_is_measured else 'about '}{self.memory_bytes / GB:.1f}"
        card = f" of {self.memory_gb:g}" if self.memory_gb else ""
        parts.append(f"{place}{needed}{card} GB")
        text = parts[0] + "; " + ", ".join(parts[1:]) + "."
        if self.shrink_to:
            text += f" Then make it smaller, to dim {self.shrink_to}."
        return text


def advise(situation: Situation, place: Path = PLACE) -> Advice:
    """The settings for a situation. `place` is the calibration's file.

    Raises KeyError for a kind, effort, family or preset that is not in the tables.
    """
    kind, effort = KIND_RULES[situation.kind], EFFORT_RULES[situation.effort]
    preset = PRESETS[situation.preset]
    dim = kind.dim_sdxl if situation.family == "sdxl" else kind.dim
    values: dict[str, Any] = {"network_dim": dim, **preset.values}
    reasons = {"network_dim": f"Dim {dim}: {kind.reason}.", "optimizer_type": preset.reason}
    if "network_dim" in preset.values:
        reasons["network_dim"] = preset.reason
    values["network_alpha"] = values["network_dim"] / 2
    reasons["network_alpha"] = "Half of dim gave the best results in a published sweep."
    reasons["learning_rate"] = "The rate that suits this optimiser; the text encoder has half."
    _text_encoder(situation, values, reasons)
    _looks(situation, values, reasons)
    _optimiser(situation, values, reasons)
    warnings = _fit(situation, effort, values, reasons)
    repeats, epochs, steps = amount(situation, values["train_batch_size"])
    values["max_train_epochs"] = epochs
    reasons["max_train_epochs"] = (
        f"{epochs} rounds of {repeats} x {situation.pictures} pictures; the LoRA is saved after "
        "each, to choose the best."
    )
    values["save_every_n_epochs"] = 1
    found = cost_of_step(situation, values, place)
    known = found.seconds_per_step is not None
    return Advice(
        values=values, reasons=reasons, repeats=repeats, steps=steps,
        memory_bytes=found.memory_bytes, memory_gb=situation.memory_gb,
        memory_is_measured=found.memory_is_measured,
        seconds=found.seconds_per_step * steps if known else None,
        seconds_are_exact=found.seconds_are_exact,
        shrink_to=preset.shrink_to, device=situation.device, warnings=tuple(warnings),
    )  # fmt: skip


def amount(situation: Situation, batch: int) -> tuple[int, int, int]:
    """Repeats of the folders, epochs, and steps (buckets left out of account)."""
    kind, effort = KIND_RULES[situation.kind], EFFORT_RULES[situation.effort]
    pictures = max(1, situation.pictures)
    looks = effort.looks * kind.looks
    looks = min(looks, pictures * MOST_LOOKS_A_PICTURE)
    looks = max(looks, pictures * LEAST_LOOKS_A_PICTURE)
    repeats = round(looks / (effort.epochs * pictures))
    repeats = max(1, min(repeats, MOST_LOOKS_A_ROUND // pictures))
    epochs = max(1, round(looks / (repeats * pictures)))
    return repeats, epochs, epochs * -(-repeats * pictures // batch)


def _text_encoder(situation: Situation, values: dict[str, Any], reasons: dict[str, str]) -> None:
    if situation.family == "sdxl":
        values["network_train_unet_only"] = True
        reasons["network_train_unet_only"] = (
            "SDXL's two text encoders are good as they are; without them it is faster and steadier."
        )
    elif situation.family == "sd1":
        anime = situation.anime
        if anime is None:
            anime = bool(ANIME_NAMES.search(situation.model_name))
        values["clip_skip"] = 2 if anime else 1
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
    if not situation.no_card:
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


def ranges_of_memory(advice: Advice) -> tuple[float, float]:
    """Least and most bytes that the estimate stands for; the same twice when it was measured."""
    error = 0.0 if advice.memory_is_measured else ERROR
    return advice.memory_bytes * (1 - error), advice.memory_bytes * (1 + error)


def _rounded(steps: int, to: Sequence[int] = (10, 50, 100)) -> int:
    unit = to[0] if steps < 300 else to[1] if steps < 1000 else to[2]
    return max(1, round(steps / unit) * unit)


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    if minutes < 90:
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    return f"{seconds / 3600:.1f} hours"
