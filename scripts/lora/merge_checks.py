"""Whether a sum of LoRAs is worth saving: is anything left of it?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from scripts.core.errors import SettingError
from scripts.lora.merge_inputs import Part
from scripts.lora.module_sums import Sum
from scripts.lora.number_formats import decoded

NOTHING = 1e-5  # of the parts' norms: above float32's rounding, far below any wanted strength


def check_something_left(parts: Mapping[str, Sequence[Part]], sums: Sequence[Sum]) -> None:
    """Raise SettingError when no module of the result does anything: the LoRAs cancel each other,
    or the strengths are below what the number format can hold.

    As a rule the first module shows that something is left, and no other is looked at.
    """
    if all(_is_nothing(_norm_stored(one), parts[one.name]) for one in sums):
        if not any(_norm_of(part) for of_module in parts.values() for part in of_module):
            raise SettingError("models", "These LoRAs change nothing: all their values are 0. "
                               "Choose LoRAs that were trained.")  # fmt: skip
        raise SettingError("ratios", "With these strengths nothing would be left: the LoRAs cancel "
                           "each other out, or count too little for the number format. Choose "
                           "other strengths.")  # fmt: skip


def check_something_changes(changes: Iterable[Sequence[Part]]) -> None:
    """Raise SettingError when the LoRAs cancel each other in every weight of a checkpoint."""
    if all(_cancel_out(parts) for parts in changes):
        raise SettingError("ratios", "With these strengths nothing would change: the LoRAs cancel "
                           "each other out. Choose other strengths.")  # fmt: skip


def _norm_stored(one: Sum) -> float:
    up, down = (decoded(raw.data, raw.dtype).reshape(raw.shape) for raw in (one.up, one.down))
    with np.errstate(all="ignore"):  # what is too large for the format is told of when saving
        return abs(one.alpha) / len(down) * float(np.linalg.norm(up @ down))


def _cancel_out(parts: Sequence[Part]) -> bool:
    """Whether Σ weight·ΔW is nothing. A DoRA's effect depends on the checkpoint, so it never is."""
    if len(parts) == 1 or any(module.network_type == "dora" for module, _ in parts):
        return False
    total: np.ndarray | float = 0.0
    for module, weight in parts:
        up, down, scale = module.factors()
        total = total + np.float32(weight * scale) * (up @ down)
    return _is_nothing(float(np.linalg.norm(total)), parts)


def _is_nothing(left: float, parts: Sequence[Part]) -> bool:
    """Whether `left` is no more than rounding of the parts' norms."""
    if not left:
        return True
    return left <= NOTHING * sum(map(_norm_of, parts))


def _norm_of(part: Part) -> float:
    """The Frobenius norm of weight·ΔW."""
    module, weight = part
    up, down, scale = module.factors()
    return abs(weight * scale) * float(np.linalg.norm(up @ down))
