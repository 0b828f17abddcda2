"""Merge LoRAs into one: the true weighted sum Σ ratio·ΔW of every module.

Where the size allows, the sum is exact: the factors are put side by side. Otherwise it is the best
approximation of that size. `auto` takes the smallest size that keeps 99 % of the sum's Frobenius
norm, one for all Linear layers and one for all 3x3 convolutions, over the modules together: a LoRA
then has one dim, which UIs and sites show, and every part of the sum is cut at the same level of
what matters. (A size for each module would keep as much in a file hardly smaller, which shows as
"Dynamic".)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from scripts.core.errors import SettingError
from scripts.core.events import Control, Facts, Note, Report, Saved
from scripts.core.files import check_output_file
from scripts.lora.low_rank import decompose, joined
from scripts.lora.merge_checks import check_something_left
from scripts.lora.merge_inputs import Ingredient, Part, describe, open_ingredients, parts_by_name
from scripts.lora.merge_metadata import merge_metadata, of_merge
from scripts.lora.number_formats import PRECISIONS, decoded, to_precision
from scripts.lora.ranks import KeptShare
from scripts.lora.result_metadata import ModuleSize
from scripts.lora.safetensors_writer import RawTensor
from scripts.lora.tensor_files import write_tensors
from scripts.lora.threads import in_threads
from scripts.settings.merge import AUTO, EXACT, MergeSettings

AUTO_SHARE = 0.99  # of the Frobenius norm, as `auto` promises
Rule = int | str  # a rank, AUTO or EXACT


@dataclass(frozen=True)
class Sum:
    """The sum of one module: up (out, r) and down (r, in·kh·kw) as they will be stored.

    values: the singular values of the whole sum, in whose order the ranks are; the norm alone
    where the sum is exact.
    """

    name: str
    shape: tuple[int, ...]
    up: RawTensor
    down: RawTensor
    alpha: float
    values: np.ndarray

    @property
    def rank(self) -> int:
        """The inner size of the factors."""
        return self.up.shape[1]

    @property
    def is_wide(self) -> bool:
        """Whether it is a convolution wider than 1x1."""
        return math.prod(self.shape[2:]) > 1


def merge_loras(settings: MergeSettings, report: Report, control: Control) -> Path:
    """Merge the LoRAs of the settings and save the result; its path.

    Raises SettingError and SuiteError (nothing is written then), and Cancelled.
    """
    with ExitStack() as stack:
        ingredients = open_ingredients(settings, stack)
        check_output_file(settings.result, settings.models, settings.overwrite)
        dtype = PRECISIONS.get(settings.save_precision) or _common_dtype(ingredients)
        rules = _rules(settings, ingredients)
        if _is_copy(ingredients, rules, dtype):
            _save_copy(ingredients[0], settings.result, report)
            return settings.result
        _check_kinds(ingredients, report)
        parts = parts_by_name(ingredients)
        sums = merge_modules(parts, rules, dtype, report, control)
        check_something_left(parts, sums)
        sizes = [ModuleSize(one.shape, one.rank, one.alpha) for one in sums]
        facts = _facts(ingredients, sums)
        metadata = merge_metadata(ingredients, sizes, settings.result, facts["size"])
    write_tensors(settings.result, _tensors(sums, dtype), metadata)
    _report_result(report, settings.result, facts)
    return settings.result


def _common_dtype(ingredients: Sequence[Ingredient]) -> str:
    """The number format of all, else the one that loses nothing that matters."""
    found = {ingredient.lora.dtype for ingredient in ingredients}
    if found <= {"BF16"}:
        return "BF16"
    return "F32" if found & {"F32", "F64"} else "F16"


def _rules(settings: MergeSettings, ingredients: Sequence[Ingredient]) -> tuple[Rule, Rule]:
    """The rules for Linear layers and 3x3 convolutions. A single LoRA is no sum: nothing is to be
    gained by cutting it."""
    linear = settings.new_rank
    if linear == AUTO and len(ingredients) == 1:
        linear = EXACT
    return linear, linear if settings.new_conv_rank is None else settings.new_conv_rank


def _check_kinds(ingredients: Sequence[Ingredient], report: Report) -> None:
    for ingredient in ingredients:
        types, name = ingredient.lora.network_types, ingredient.lora.path.name
        if "dora" in types:
            raise SettingError("models", f"{name} is a DoRA, whose effect depends on the weights "
                               "of the model: it cannot be merged into another LoRA. It can be "
                               "merged into a checkpoint: give that as sd_model.")  # fmt: skip
        for kind, title in (("loha", "LoHa"), ("lokr", "LoKr")):
            if kind in types:
                report(Note(f"{name} is a {title}: its effect is merged, and the result is an "
                            "ordinary LoRA."))  # fmt: skip


def _is_copy(ingredients: Sequence[Ingredient], rules: tuple[Rule, Rule], dtype: str) -> bool:
    """Whether the result is the one file that counts, as it is."""
    if len(ingredients) > 1 or rules != (EXACT, EXACT):
        return False
    return ingredients[0].is_whole and ingredients[0].lora.dtype == dtype


def _save_copy(ingredient: Ingredient, path: Path, report: Report) -> None:
    file = ingredient.lora.file
    for module in ingredient.lora.modules.values():
        for part in module.parts:
            module.read(part)  # a damaged file is told of as one
    tensors = {
        key: RawTensor(file.dtypes[key], shape, file.raw(key)) for key, shape in file.shapes.items()
    }
    write_tensors(path, tensors, {**file.metadata, **of_merge([ingredient])})
    _report_result(report, path, {
        "merged": describe([ingredient]), "size": "as it was", "kept": 1.0, "kept_by_block": {},
        "modules": len(ingredient.lora.modules),
    })  # fmt: skip


def merge_modules(
    parts: Mapping[str, Sequence[Part]],
    rules: tuple[Rule, Rule],
    dtype: str,
    report: Report,
    control: Control,
) -> list[Sum]:
    """The sum of every module, by `rules` for Linear layers and for 3x3 convolutions, with numbers
    in `dtype` ("F16", "BF16", "F32")."""
    work = partial(_sum_of, parts, rules, dtype)
    sums = list(in_threads(work, sorted(parts), "Merging the weights", report, control))
    for rule, is_wide in zip(rules, (False, True), strict=True):
        values = [one.values for one in sums if one.is_wide == is_wide]
        if rule == AUTO and values:
            rank = _storable(auto_rank(values), dtype, 1)
            sums = [_cut(one, rank) if one.is_wide == is_wide else one for one in sums]
    return sums


def auto_rank(values: Sequence[np.ndarray], share: float = AUTO_SHARE) -> int:
    """The smallest rank that keeps `share` of the Frobenius norm of all matrices together.

    values: the singular values of each matrix, descending.
    """
    energy = np.zeros(max(len(one) for one in values))  # by the place of the singular value
    for one in values:
        energy[: len(one)] += one**2
    kept = np.cumsum(energy)
    return int(np.searchsorted(kept, share**2 * kept[-1] * (1 - 1e-12))) + 1


def _sum_of(
    parts: Mapping[str, Sequence[Part]], rules: tuple[Rule, Rule], dtype: str, name: str
) -> Sum:
    modules = parts[name]
    shape = max((module.shape for module, _ in modules), key=len)
    rule = rules[math.prod(shape[2:]) > 1]
    largest = {AUTO: 0, EXACT: math.inf}.get(rule, rule)  # up to which nothing is cut off
    first, weight = modules[0]
    if len(modules) == 1 and first.network_type == "lora" and first.rank <= largest:
        up, down, _ = first.factors()
        return _stored(name, shape, np.float32(weight) * up, down, first.alpha, dtype)
    factors = [(*module.factors(), weight) for module, weight in modules]
    up, down = joined([(up, down, scale * weight) for up, down, scale, weight in factors])
    rank = up.shape[1]
    if rank <= min(largest, len(up), down.shape[1]):
        return _stored(name, shape, up, down, rank, dtype)
    found = decompose(up, down)
    rank = min(len(found.singular_values), rule if isinstance(rule, int) else math.inf)
    if rule == AUTO:
        rank = _storable(rank, dtype, -1)
    return _stored(name, shape, *found.truncated(rank), rank, dtype, found.singular_values)


def _stored(
    name: str,
    shape: tuple[int, ...],
    up: np.ndarray,
    down: np.ndarray,
    alpha: float,
    dtype: str,
    values: np.ndarray | None = None,
) -> Sum:
    """The sum as it will be stored; an alpha that `dtype` cannot hold is made up for in `up`."""
    if values is None:
        values = np.array([alpha / up.shape[1] * _norm(up, down)])
    rounded = _rounded(alpha, dtype)
    if rounded == 0 or not math.isfinite(rounded):
        rounded = float(up.shape[1])
    if rounded != alpha:
        up = up * np.float32(alpha / rounded)
    return Sum(name, shape, to_precision(up, dtype), to_precision(down, dtype), rounded, values)


def _norm(up: np.ndarray, down: np.ndarray) -> float:
    """The Frobenius norm of up·down: its square is Σ (upᵀ·up) ∘ (down·downᵀ)."""
    return math.sqrt(max(0.0, float(np.sum((up.T @ up) * (down @ down.T)))))


def _storable(rank: int, dtype: str, step: int) -> int:
    """The next rank, up (1) or down (-1), that `dtype` can hold as alpha: bf16 has not every
    number above 256."""
    while _rounded(rank, dtype) != rank:
        rank += step
    return rank


def _rounded(number: float, dtype: str) -> float:
    return float(decoded(memoryview(to_precision(np.float32(number), dtype).data), dtype)[0])


def _cut(one: Sum, rank: int) -> Sum:
    """The sum with its first `rank` ranks."""
    if one.rank <= rank:
        return one
    up, down = _plain(one.up)[:, :rank], _plain(one.down)[:rank]
    stored = _raw(up, one.up.dtype), _raw(down, one.down.dtype)
    return Sum(one.name, one.shape, *stored, rank, one.values)


def _plain(tensor: RawTensor) -> np.ndarray:
    """The numbers as whole ones of the same width: enough to cut with."""
    bytes_each = len(tensor.data) // math.prod(tensor.shape)
    return np.frombuffer(tensor.data, f"<u{bytes_each}").reshape(tensor.shape)


def _raw(array: np.ndarray, dtype: str) -> RawTensor:
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return RawTensor(dtype, array.shape, memoryview(flat))


def _tensors(sums: Sequence[Sum], dtype: str) -> dict[str, RawTensor]:
    """The tensors of the file by key, in the shapes of convolutions where those are."""
    tensors = {}
    for one in sums:
        outputs, *columns = one.shape
        ones = [1] * len(columns[1:])
        tensors[f"{one.name}.lora_up.weight"] = RawTensor(
            dtype, (outputs, one.rank, *ones), one.up.data
        )
        tensors[f"{one.name}.lora_down.weight"] = RawTensor(
            dtype, (one.rank, *columns), one.down.data
        )
        tensors[f"{one.name}.alpha"] = to_precision(np.float32(one.alpha), dtype)
    return tensors


def _facts(ingredients: Sequence[Ingredient], sums: Sequence[Sum]) -> dict:
    kept = KeptShare()
    for one in sums:
        kept.add(one.name, one.values, one.rank)
    sizes = []
    for what, is_wide in (("size", False), ("convolutions", True)):
        ranks = [one.rank for one in sums if one.is_wide == is_wide]
        if ranks:
            low, high = min(ranks), max(ranks)
            sizes.append(f"{what} {high}" if low == high else f"{what} {low} to {high}")
    return {
        "merged": describe(ingredients), "size": ", ".join(sizes), "kept": kept.whole,
        "kept_by_block": kept.by_block, "modules": len(sums),
    }  # fmt: skip


def _report_result(report: Report, path: Path, facts: dict) -> None:
    facts = {**facts, "bytes": path.stat().st_size}
    text = (
        f"Merged {facts['merged']}: {facts['size']}, {100 * facts['kept']:.1f} % of the sum kept, "
        f"{facts['bytes'] / 1e6:.1f} MB."
    )
    report(Saved(str(path)))
    report(Facts(facts, text))
