"""Which sizes a LoRA can be brought to: none above its own, where it would hold nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LIMITED = ("new_rank", "new_conv_rank")


def most(facts: Mapping[str, Any], setting: str) -> int | None:
    """The most that a setting of LIMITED can be for the LoRA of these facts; None: any number."""
    largest = facts.get("largest", {})
    if setting == "new_rank":
        return largest.get("linear", largest.get("conv"))
    return largest.get("conv")


def refused(facts: Mapping[str, Any], rank: int, conv_rank: int | None) -> str | None:
    """The setting of LIMITED that is too large for the LoRA, None if none is.

    A dynamic method has no such limit.
    """
    for setting, size in zip(LIMITED, (rank, conv_rank), strict=True):
        limit = most(facts, setting)
        if size is not None and limit is not None and size > limit:
            return setting
    return None
