"""What a LoRA would keep at smaller sizes: `spectrum(lora, report, control)`. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scripts.core.events import Control, Report
from scripts.lora.modules import LoraFile, LoraModule
from scripts.lora.ranks import KeptShare, Size, choose_rank
from scripts.lora.tensor_files import size_of
from scripts.lora.threads import in_threads

LITTLE = 0.05  # of ‖ΔW‖: when doubling the size wins less than this, the smaller size will do


def spectrum(
    lora: LoraFile, report: Report, control: Control, like: Size | None = None,
    dtype: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Kept share of ‖ΔW‖ (Frobenius) and file size for the sizes 1, 2, 4, ... and the present one.

    `like` holds what else is set beside the rank, `dtype` the number format of the results.

    {"ranks", "kept", "bytes": lists alike in order, "knee": the size to recommend}
    Raises SuiteError for damaged or unsuitable modules, and Cancelled.
    """
    modules = list(lora.modules.values())
    found = in_threads(_singular_values, modules, "Looking at the LoRA", report, control)
    values = dict(zip((module.name for module in modules), found, strict=True))
    largest = max(module.full_rank for module in modules)
    ranks = [2**power for power in range(math.ceil(math.log2(largest)))] + [largest]
    kept, sizes = [], []
    for rank in ranks:
        share, size, chosen = KeptShare(), replace(like or Size(rank), rank=rank), {}
        for name, singular_values in values.items():
            most = size.largest(lora.modules[name].is_conv)
            chosen[name] = choose_rank(singular_values, size, most)
            share.add(name, singular_values, chosen[name])
        kept.append(share.whole)
        sizes.append(estimated_bytes(lora, chosen, dtype or lora.dtype))
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


def estimated_bytes(lora: LoraFile, ranks: Mapping[str, int], dtype: str) -> int:
    """About how large the file is with these ranks by module; all beside the weights stays."""
    weights = after = 0
    for name, module in lora.modules.items():
        shapes = [lora.file.shapes[key] for key in module.parts.values()]
        weights += sum(size_of(shape, lora.dtype) for shape in shapes)
        sides = module.shape[0] + math.prod(module.shape[1:])
        after += size_of((ranks[name], sides), dtype) + size_of((), dtype)  # the alpha too
    return max(after, lora.size_bytes - weights + after)
