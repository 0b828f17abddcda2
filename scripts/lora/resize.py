"""Bring a LoRA to another size: the best approximation of every ΔW that the size allows.

    with open_lora(path) as lora:
        for resized in resize_lora(lora, [Size(32), Size(8)], "F16", report, control):
            write_tensors(..., resized.tensors, resized.metadata)

The strength stays: alpha / dim of every layer is kept. Where that would give layers different
alphas that had one before, and where a dynamic method gives each layer a dim of its own, all Linear
layers get one alpha, all convolutions one, and the numbers make up for it: diffusers reads LoRAs
whose layers have different alphas at a wrong strength. Otherwise a layer that is no larger than
asked for keeps its numbers. LoHa and LoKr become LoRAs, through their ΔW.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from scripts.core.errors import SettingError
from scripts.core.events import Control, Report
from scripts.lora.modules import LoraFile, LoraModule
from scripts.lora.number_formats import storable_alpha, to_precision
from scripts.lora.ranks import KeptShare, Size, choose_rank, kept_share
from scripts.lora.result_metadata import ModuleSize, result_metadata
from scripts.lora.safetensors_writer import RawTensor
from scripts.lora.threads import in_threads

UP, DOWN = "lora_up.weight", "lora_down.weight"
NOTHING_LOST = 1e-6  # of ‖ΔW‖: a DoRA may lose no more, as its magnitudes fit no other direction


@dataclass
class ResizedLora:
    """A LoRA at a new size, ready to be saved: its tensors by key, and what can be said of it."""

    size: Size
    tensors: dict[str, RawTensor] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, ModuleSize] = field(default_factory=dict)
    kept: KeptShare = field(default_factory=KeptShare)
    kept_of: dict[str, float] = field(default_factory=dict)  # the share of each module


@dataclass(frozen=True)
class _ResizedModule:
    module: LoraModule
    values: np.ndarray  # singular values of ΔW
    rank: int
    alpha: float
    tensors: dict[str, RawTensor]


def check_size(lora: LoraFile, size: Size) -> None:
    """See that the LoRA can be resized, and is no smaller than that. Raises SuiteError, and
    SettingError for the size."""
    for module in lora.modules.values():
        module.check_kind()
    if size.method is not None:  # it is only a limit then
        return
    linear = [_largest_rank(module) for module in lora.modules.values() if not module.is_conv]
    conv = [_largest_rank(module) for module in lora.modules.values() if module.is_conv]
    limits = [("new_rank", size.rank, linear or conv)]
    if size.conv_rank is not None and conv:
        limits.append(("new_conv_rank", size.conv_rank, conv))
    for setting, rank, ranks in limits:
        if rank > max(ranks):
            raise SettingError(setting, f"{lora.path.name} has the size {max(ranks)}, and a "
                               f"larger one ({rank}) would hold nothing more. Give a smaller "
                               "number.")  # fmt: skip


def _largest_rank(module: LoraModule) -> int:
    return max(module.rank, module.full_rank)


def changes_anything(lora: LoraFile, size: Size) -> bool:
    """Whether any module is larger than the size, or not a LoRA yet."""
    return any(
        _largest_rank(module) > size.largest(module.is_conv) or module.layer.kind != "lora"
        for module in lora.modules.values()
    )


def resize_lora(
    lora: LoraFile, sizes: Sequence[Size], dtype: str, report: Report, control: Control
) -> list[ResizedLora]:
    """The LoRA at each of the sizes, with numbers in `dtype` ("F16", "BF16", "F32").

    Raises SettingError for a size above the LoRA's, SuiteError for a LoRA that cannot be resized
    or is damaged, and Cancelled.
    """
    for size in sizes:
        check_size(lora, size)
    results = [ResizedLora(size) for size in sizes]

    modules = list(lora.modules.values())
    alphas = {is_conv: [_alpha_of_all([module for module in modules if module.is_conv == is_conv],
                                      size) for size in sizes]
              for is_conv in {module.is_conv for module in modules}}  # fmt: skip

    def work(module: LoraModule) -> list[_ResizedModule]:
        return _resize_module(module, sizes, alphas[module.is_conv], dtype)

    for done in in_threads(work, modules, f"Resizing {lora.path.name}", report, control):
        for result, part in zip(results, done, strict=True):
            name = part.module.name
            result.tensors |= {f"{name}.{key}": tensor for key, tensor in part.tensors.items()}
            result.sizes[name] = ModuleSize(part.module.shape, part.rank, part.alpha)
            result.kept.add(name, part.values, part.rank)
            result.kept_of[name] = kept_share(part.values, part.rank)
    for result in results:
        for key in lora.others:
            raw = RawTensor(lora.file.dtypes[key], lora.file.shapes[key], lora.file.raw(key))
            result.tensors[key] = raw
        sizes_of_all = list(result.sizes.values())
        comment = _comment(lora, result.size)
        result.metadata = result_metadata(lora.metadata, sizes_of_all, lora.family, comment)
    return results


def _comment(lora: LoraFile, size: Size) -> str:
    """What is added to the training comment, in sd-scripts' words."""
    before = max(module.rank for module in lora.modules.values())
    if size.method is not None:
        return f"Dynamic resize with {size.method}: {size.param} from {before}"
    conv = "" if size.conv_rank in (None, size.rank) else f" (conv: {size.conv_rank})"
    return f"dimension is resized from {before} to {size.rank}{conv}"


def _alpha_of_all(modules: Sequence[LoraModule], size: Size) -> float | None:
    """The alpha for all modules of a kind: the one that most have when alpha / dim is kept. With a
    dynamic method, the dim counts that the largest may have. None where they have different alphas
    already."""
    if size.method is None and len({one.alpha for one in modules if one.layer.kind == "lora"}) > 1:
        return None
    ranks = [_largest_rank(module) for module in modules]
    if size.method is not None:
        ranks = [max(ranks)] * len(ranks)
    limit = size.largest(modules[0].is_conv)
    alphas = Counter(
        module.scale * min(limit, rank) for module, rank in zip(modules, ranks, strict=True)
    )
    return alphas.most_common(1)[0][0]


def _resize_module(
    module: LoraModule, sizes: Sequence[Size], alphas: Sequence[float | None], dtype: str
) -> list[_ResizedModule]:
    """The module at each size, with the alpha for that size; None keeps alpha / dim."""
    found, scale = module.decomposition(without_magnitude=True), module.scale
    values = abs(scale) * found.singular_values
    results = []
    for size, alpha_of_all in zip(sizes, alphas, strict=True):
        rank = choose_rank(values, size, size.largest(module.is_conv))
        tensors = {}
        if module.network_type == "dora":
            if kept_share(values, rank) < 1 - NOTHING_LOST**2 / 2:
                module.factors()  # says why this cannot be done
            tensors["dora_scale"] = to_precision(module.read("dora_scale"), dtype)
        if _stays(module, size, rank):
            rank, pair = module.rank, (None, None)
        else:
            pair = found.truncated(rank)
        alpha = scale * rank if alpha_of_all is None else alpha_of_all
        alpha = storable_alpha(alpha, rank, dtype)
        tensors |= _factors_as_stored(module, pair, scale * rank / alpha, dtype)
        tensors["alpha"] = to_precision(np.float32(alpha), dtype)
        results.append(_ResizedModule(module, values, rank, alpha, tensors))
    return results


def _stays(module: LoraModule, size: Size, rank: int) -> bool:
    """Whether nothing is cut, so that the module keeps its numbers."""
    if module.layer.kind != "lora":
        return False
    return rank >= module.rank or (
        size.method is None and size.largest(module.is_conv) >= module.rank
    )


def _factors_as_stored(
    module: LoraModule,
    pair: tuple[np.ndarray | None, np.ndarray | None],
    factor: float,
    dtype: str,
) -> dict[str, RawTensor]:
    """The factors of a module, with their product multiplied by `factor`; `pair` of None takes
    those of the file."""
    root = np.float32(math.sqrt(abs(factor)))
    factors = {UP: np.copysign(root, np.float32(factor)), DOWN: root}
    tensors = {}
    outputs, columns = module.shape[0], module.shape[1:]
    for part, array in zip((UP, DOWN), pair, strict=True):
        key = module.parts.get(part, "")
        if array is None and factors[UP] == 1 and module.file.dtypes[key] == dtype:
            tensors[part] = RawTensor(dtype, module.file.shapes[key], module.file.raw(key))
            continue
        if array is None:
            array = module.read(part)
        elif part == UP:
            array = array.reshape(outputs, -1, *[1] * len(columns[1:]))
        else:
            array = array.reshape(-1, *columns)
        tensors[part] = to_precision(array * factors[part], dtype)
    return tensors
