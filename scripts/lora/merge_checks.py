"""Whether a sum of LoRAs is worth saving: check_something_left(parts, sums)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from scripts.core.errors import SettingError
from scripts.lora.merge_inputs import Part
from scripts.lora.number_formats import decoded
from scripts.lora.safetensors_writer import RawTensor

NOTHING = 1e-5  # of the parts' norms: above float32's rounding, far below any wanted strength


class Stored(Protocol):
    """The sum of one module as it will be stored."""

    name: str
    up: RawTensor
    down: RawTensor
    alpha: float


def check_something_left(parts: Mapping[str, Sequence[Part]], sums: Sequence[Stored]) -> None:
    """Raise SettingError when no module of the result does anything: the LoRAs cancel each other,
    or the strengths are below what the number format can hold.

    As a rule the first module shows that something is left, and no other is looked at.
    """
    if all(_is_nothing(one, parts[one.name]) for one in sums):
        raise SettingError("ratios", "With these strengths nothing would be left: the LoRAs cancel "
                           "each other out, or count too little for the number format. Choose "
                           "other strengths.")  # fmt: skip


def _is_nothing(one: Stored, parts: Sequence[Part]) -> bool:
    up, down = (decoded(raw.data, raw.dtype).reshape(raw.shape) for raw in (one.up, one.down))
    with np.errstate(all="ignore"):  # what is too large for the format is told of when saving
        left = abs(one.alpha) / len(down) * np.linalg.norm(up @ down)
    if not left:
        return True
    whole = 0.0
    for module, weight in parts:
        up, down, scale = module.factors()
        whole += abs(weight * scale) * np.linalg.norm(up @ down)
    return bool(left <= NOTHING * whole)
