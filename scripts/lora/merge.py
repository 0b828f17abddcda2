"""Merge LoRAs into one: the true weighted sum Σ ratio·ΔW of every module.

Here is what is merged, checked and told; `scripts.lora.module_sums` does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from scripts.core.errors import SettingError
from scripts.core.events import Control, Facts, Note, Report, Saved
from scripts.core.files import check_output_file
from scripts.lora.factors import is_wide
from scripts.lora.merge_checks import check_something_left
from scripts.lora.merge_inputs import Ingredient, describe, open_ingredients, parts_by_name
from scripts.lora.merge_metadata import merge_metadata, of_merge
from scripts.lora.module_sums import Rule, Sum, sum_modules
from scripts.lora.number_formats import PRECISIONS
from scripts.lora.peft_alpha import PEFT_CONFIG
from scripts.lora.ranks import KeptShare
from scripts.lora.result_metadata import ModuleSize
from scripts.lora.safetensors_writer import RawTensor
from scripts.lora.tensor_files import write_tensors
from scripts.settings.merge import AUTO, EXACT, MergeSettings


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
        sums = sum_modules(parts, rules, dtype, report, control)
        check_something_left(parts, sums)
        sizes = [ModuleSize(one.shape, one.rank, one.alpha) for one in sums]
        facts = _facts(ingredients, sums)
        metadata = merge_metadata(ingredients, sizes, settings.result, facts["size"])
    tensors = {key: tensor for one in sums for key, tensor in one.tensors().items()}
    write_tensors(settings.result, tensors, metadata)
    _report_result(report, settings.result, facts)
    return settings.result


def _common_dtype(ingredients: Sequence[Ingredient]) -> str:
    """The number format of all, else the one that loses nothing that matters."""
    found = {ingredient.lora.dtype for ingredient in ingredients}
    if found <= {"BF16"}:
        return "BF16"
    return "F32" if found & {"F32", "F64"} else "F16"


def _rules(settings: MergeSettings, ingredients: Sequence[Ingredient]) -> tuple[Rule, Rule]:
    """The rules for Linear layers and 3x3 convolutions. Of a single LoRA nothing is to be gained by
    cutting it, but for a LoHa or LoKr, which would become far larger."""
    linear = settings.new_rank
    if linear == AUTO and len(ingredients) == 1:
        modules = ingredients[0].lora.modules.values()
        if all(module.full_rank <= module.rank for module in modules):
            linear = EXACT
    return linear, linear if settings.new_conv_rank is None else settings.new_conv_rank


def _check_kinds(ingredients: Sequence[Ingredient], report: Report) -> None:
    for ingredient in ingredients:
        types, name = ingredient.lora.network_types, ingredient.lora.path.name
        if "dora" in types:
            raise SettingError("models", f"{name} is a DoRA, whose effect depends on the weights "
                               "of the model: it cannot be merged into another LoRA. It can be "
                               "merged into a checkpoint: give that as sd_model.")  # fmt: skip
        if others := ingredient.lora.others:
            report(Note(f"{name} holds tensors that belong to no layer, such as {others[0]}: they "
                        "are left out."))  # fmt: skip
        for kind, title in (("loha", "LoHa"), ("lokr", "LoKr")):
            if kind in types:
                report(Note(f"{name} is a {title}: its effect is merged, and the result is an "
                            "ordinary LoRA."))  # fmt: skip


def _is_copy(ingredients: Sequence[Ingredient], rules: tuple[Rule, Rule], dtype: str) -> bool:
    """Whether the result is the one file that counts, as it is, and all its alphas lie in it."""
    if len(ingredients) > 1 or not set(rules) <= {EXACT, AUTO}:
        return False
    lora = ingredients[0].lora
    has_alphas = PEFT_CONFIG in lora.metadata or all(
        "alpha" in module.parts or module.alpha == module.rank for module in lora.modules.values()
    )
    return ingredients[0].is_whole and lora.dtype == dtype and has_alphas


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


def _facts(ingredients: Sequence[Ingredient], sums: Sequence[Sum]) -> dict:
    kept = KeptShare()
    for one in sums:
        kept.add(one.name, one.values, one.rank)
    sizes = []
    for what, wide in (("size", False), ("convolutions", True)):
        ranks = [one.rank for one in sums if is_wide(one.shape) == wide]
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
