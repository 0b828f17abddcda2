"""What a LoRA would keep at smaller sizes: `spectrum(lora, report, control)`. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from scripts.core.events import Control, Report
from scripts.lora.modules import LoraFile, LoraModule
from scripts.lora.ranks import KeptShare
from scripts.lora.tensor_files import size_of
from scripts.lora.threads import in_threads

LITTLE = 0.05  # of ‖ΔW‖: when doubling the size wins less than this, the smaller size will do


def spectrum(lora: LoraFile, report: Report, control: Control) -> dict[str, Any]:
    """Kept share of ‖ΔW‖ (Frobenius) and file size for the sizes 1, 2, 4, ... and the present one.

    {"ranks", "kept", "bytes": lists alike in order, "knee": the size to recommend}
    Raises SuiteError for damaged or unsuitable modules, and Cancelled.
    """
    modules = list(lora.modules.values())
    found = in_threads(_singular_values, modules, "Looking at the LoRA", report, control)
    values = dict(zip((module.name for module in modules), found, strict=True))
    largest = max(module.full_rank for module in modules)
    ranks = [2**power for power in range(math.ceil(math.log2(largest)))] + [largest]
    kept = []
    for rank in ranks:
        share = KeptShare()
        for name, singular_values in values.items():
            share.add(name, singular_values, rank)
        kept.append(share.whole)
    sizes = [estimated_bytes(lora, rank) for rank in ranks]
    return {"ranks": ranks, "kept": kept, "bytes": sizes, "knee": knee(ranks, kept)}


def _singular_values(module: LoraModule):
    found = module.decomposition(without_magnitude=True)
    return abs(module.scale) * found.singular_values


def knee(ranks: Sequence[int], kept: Sequence[float]) -> int:
    """The least of the (doubling) sizes from which the next one wins less than LITTLE."""
    for rank, share, after in zip(ranks, kept, kept[1:], strict=False):
        if after - share < LITTLE:
            return rank
    return ranks[-1]


def estimated_bytes(lora: LoraFile, rank: int) -> int:
    """About how large the file is at a size; all beside the weights stays as it is."""
    weights = after = 0
    for module in lora.modules.values():
        shapes = [lora.file.shapes[key] for key in module.parts.values()]
        weights += sum(size_of(shape, lora.dtype) for shape in shapes)
        inner = min(rank, module.full_rank)
        after += size_of((inner, module.shape[0] + math.prod(module.shape[1:])), lora.dtype)
    return max(after, lora.size_bytes - weights + after)
