"""The tables behind `advice`: what a kind of LoRA needs, how long to train, and the presets.

`tests/data/advice_ranges.json` lists the published ranges that they stay within, with sources.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

KINDS = ("character", "style", "concept", "outfit")
EFFORTS = ("quick", "balanced", "careful")
RESOLUTIONS = {"sd1": 512, "sd2": 512, "sdxl": 1024}
ANIME_NAMES = re.compile(r"anime|any(thing|lora)|orange|counterfeit|nai|meina|pastel|abyss|hassaku",
                         re.IGNORECASE)  # fmt: skip


@dataclass(frozen=True)
class KindRule:
    """What a kind of LoRA needs: dim (SD1 and SD2, SDXL), and how many looks at pictures."""

    dim: int
    dim_sdxl: int
    looks: float  # times the effort's
    reason: str


KIND_RULES = {
    "character": KindRule(32, 16, 1.0, "a character is a small thing to learn"),
    "outfit": KindRule(32, 16, 1.0, "an outfit is a small thing to learn"),
    "concept": KindRule(32, 32, 1.25, "a concept shows itself in many ways"),
    "style": KindRule(64, 32, 1.5, "a style touches everything in a picture"),
}


@dataclass(frozen=True)
class EffortRule:
    """How long: looks at pictures in all (steps at batch 1), epochs to choose from, batch."""

    looks: int
    epochs: int
    batch: int


EFFORT_RULES = {
    "quick": EffortRule(1200, 5, 2),
    "balanced": EffortRule(1600, 10, 2),
    "careful": EffortRule(2400, 12, 1),
}
MOST_LOOKS_A_PICTURE = 250  # few pictures shown more often burn in
LEAST_LOOKS_A_PICTURE = 8
MOST_LOOKS_A_ROUND = 400  # a round is saved and can be chosen: large sets are not repeated


@dataclass(frozen=True)
class Preset:
    """A way to train: what differs from Standard, and why. `shrink_to`: resize afterwards."""

    name: str
    values: dict[str, Any]
    reason: str
    shrink_to: int | None = None


_ADAMW = {"optimizer_type": "AdamW8bit", "learning_rate": 1e-4, "unet_lr": 1e-4,
          "text_encoder_lr": 5e-5, "optimizer_args": {"weight_decay": "0.1", "betas": "0.9,0.99"},
          "lr_scheduler": "cosine_with_restarts", "lr_scheduler_num_cycles": 1}  # fmt: skip
_LION = {"optimizer_type": "Lion8bit", "learning_rate": 2e-5, "unet_lr": 2e-5,
         "text_encoder_lr": 1e-5,
         "optimizer_args": {"weight_decay": "0.5", "betas": "0.9,0.99"}}  # fmt: skip
_PRODIGY = {"optimizer_type": "Prodigy", "learning_rate": 1.0, "unet_lr": 1.0,
            "text_encoder_lr": 1.0, "lr_scheduler": "cosine",
            "optimizer_args": {"weight_decay": "0.01", "decouple": "True",
                               "use_bias_correction": "True",
                               "safeguard_warmup": "True"}}  # fmt: skip
PRESETS = {
    preset.name: preset
    for preset in (
        Preset("standard", _ADAMW,
               "AdamW8bit at 1e-4 with alpha at half of dim is what most good LoRAs are made "
               "with."),
        Preset("big_then_shrink", {**_ADAMW, "network_dim": 128},
               "Training at dim 128 and resizing to 32 keeps the most important part of a large "
               "LoRA.", shrink_to=32),
        Preset("lion", {**_ADAMW, **_LION},
               "Lion wants a third to a tenth of AdamW's rate and 3 to 10 times its weight "
               "decay."),
        Preset("prodigy", {**_ADAMW, **_PRODIGY},
               "Prodigy finds the rate by itself from a start at 1; it needs more memory."),
    )
}  # fmt: skip
