"""What a training step costs with given settings: measured if it ever was, else estimated.

    cost_of_step(situation, values)      # values by name, as `read_value` gives them

The advice asks for its own settings, the wizard for those that a person has changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.settings.advice_tables import RESOLUTIONS
from scripts.settings.calibration import PLACE, Pace, lookup
from scripts.settings.memory_estimate import estimate_memory

if TYPE_CHECKING:
    from scripts.settings.advice import Situation

# The settings that the cost of a step depends on.
OF_COST = ("resolution", "train_batch_size", "gradient_accumulation_steps", "mixed_precision",
           "full_bf16", "gradient_checkpointing", "network_dim", "optimizer_type", "fp8_base",
           "network_train_unet_only")  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """What a step takes: bytes of the card's memory, and seconds (None: nothing is known yet).

    The bytes are an estimate (see `memory_estimate`) unless they were measured; the seconds are
    scaled from another bake unless they are exact.
    """

    memory_bytes: float
    memory_is_measured: bool = False
    seconds_per_step: float | None = None
    seconds_are_exact: bool = False


def cost_of_step(situation: Situation, values: Mapping[str, Any], place: Path = PLACE) -> Cost:
    """What a step takes with these settings, read from `read_value`: measured if it ever was.

    `place` is the calibration's file.
    """
    needed = memory_needed(situation, values)
    if not situation.device:
        return Cost(needed)
    batch = values["train_batch_size"] * (values.get("gradient_accumulation_steps") or 1)
    wanted = Pace(
        situation.device, situation.family, _side(situation, values), batch,
        _precision(situation, values), values["gradient_checkpointing"],
        values["network_dim"], 0.0,
    )  # fmt: skip
    pace = lookup(wanted, place)
    if pace is None:
        return Cost(needed)
    measured = pace.memory_bytes is not None
    memory = float(pace.memory_bytes) if measured else needed
    return Cost(memory, measured, pace.seconds_per_step, pace.exact)


def memory_needed(situation: Situation, values: Mapping[str, Any]) -> float:
    """Bytes of the card's memory, estimated from the settings."""
    return estimate_memory(
        situation.family, _side(situation, values), values["train_batch_size"],
        values["network_dim"], values["gradient_checkpointing"],
        optimizer=values["optimizer_type"], fp8_base=values["fp8_base"],
        train_text_encoder=not values.get("network_train_unet_only", False),
    )  # fmt: skip


def _side(situation: Situation, values: Mapping[str, Any]) -> int:
    """The side of the square with as many pixels as the resolution has."""
    if not values.get("resolution"):
        return usual_side(situation)
    width, height = values["resolution"]
    return round(math.sqrt(width * height))


def usual_side(situation: Situation) -> int:
    """The side in pixels that the base model was made for."""
    if situation.family == "sd2" and situation.v_prediction:
        return 768
    return RESOLUTIONS[situation.family]


def _precision(situation: Situation, values: Mapping[str, Any]) -> str:
    """What the training will use, as `scripts.training.device` chooses it."""
    asked = values.get("mixed_precision") or ("bf16" if values.get("full_bf16") else None)
    if situation.no_card:
        return "bf16" if asked == "bf16" else "no"
    return asked or ("fp16" if situation.bf16 is False else "bf16")
