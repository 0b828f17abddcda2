"""Merge LoRAs into a checkpoint: W + Σ ratio·ΔW for the tensors concerned, every other byte as is.

Here is what is merged, where it goes and whether it fits; `scripts.lora.checkpoint_writer` does it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import SettingError, SuiteError
from scripts.core.events import Control, Facts, Note, Report, Saved
from scripts.core.files import check_free_space, check_output_file, replace_atomically
from scripts.core.safetensors_header import read_header
from scripts.lora.checkpoint_keys import Checkpoint, open_checkpoint
from scripts.lora.checkpoint_writer import Changes, write_checkpoint
from scripts.lora.factors import sides
from scripts.lora.merge_checks import check_something_changes
from scripts.lora.merge_inputs import (
    Ingredient,
    describe,
    open_ingredients,
    parts_by_name,
    title_of,
)
from scripts.lora.merge_metadata import of_merge
from scripts.settings.merge import MergeSettings

WRITABLE = ("F64", "F32", "F16", "BF16")
NAMED_AT_MOST = 8


@dataclass(frozen=True)
class _Plan:
    """What changes: the parts by the tensor's key; `left_out` are modules without a place."""

    changes: Mapping[str, Changes]
    left_out: list[str]


def merge_into_checkpoint(settings: MergeSettings, report: Report, control: Control) -> Path:
    """Merge the LoRAs of the settings into `sd_model` and save the new checkpoint; its path.

    Raises SettingError and SuiteError (nothing is written then), and Cancelled.
    """
    base, path = settings.sd_model, settings.result
    if settings.save_precision is not None:
        report(Note("save_precision is left out: a checkpoint keeps its number format."))
    checkpoint = _open_base(base)
    with ExitStack() as stack:
        ingredients = open_ingredients(settings, stack)
        check_output_file(path, [*settings.models, base], settings.overwrite)
        plan = _plan(checkpoint, ingredients)
        _check_formats(base, plan)
        check_something_changes(parts for places in plan.changes.values() for _, parts in places)
        if plan.left_out:
            report(Note(_left_out_sentence(checkpoint, plan.left_out)))
        check_free_space(path.parent, base.stat().st_size)
        with replace_atomically(path) as unfinished:
            write_checkpoint(unfinished, base, plan.changes, of_merge(ingredients), report, control)
    report(Saved(str(path), "checkpoint"))
    report(_facts(ingredients, checkpoint, plan, path))
    return path


def _open_base(base: Path) -> Checkpoint:
    try:
        checkpoint = open_checkpoint(base)
    except SuiteError as error:
        raise SettingError("sd_model", str(error)) from error
    if checkpoint.layout == "ckpt":
        raise SettingError("sd_model", f"{base.name} is an old kind of file (.ckpt), into which "
                           "LoRAs cannot be merged. Choose a .safetensors version of "
                           "it.")  # fmt: skip
    return checkpoint


def _plan(checkpoint: Checkpoint, ingredients: Sequence[Ingredient]) -> _Plan:
    """Where everything goes. Raises SettingError when a LoRA does not fit the checkpoint."""
    for ingredient in ingredients:
        lora = ingredient.lora
        if lora.family not in (None, checkpoint.family.name):
            raise SettingError("models", f"{lora.path.name} is for {title_of(lora)}, and "
                               f"{checkpoint.path.name} is {checkpoint.family.title}: they do not "
                               "fit. Choose a LoRA and a checkpoint of one family.")  # fmt: skip
    changes: dict[str, Changes] = defaultdict(list)
    left_out = [f"{one.lora.path.name}: {key}" for one in ingredients for key in one.lora.others]
    for name, parts in parts_by_name(ingredients).items():
        place = checkpoint.modules.get(name)
        if place is None:
            left_out.append(name)
            continue
        for module, _ in parts:
            module.check_kind()
        module = parts[0][0]
        if sides(module.shape) != sides(place.shape):
            raise SettingError("models", f"{module.file.path.name} is for a model of another size "
                               f"than {checkpoint.path.name} ({name}). Choose a LoRA and a "
                               "checkpoint that belong together.")  # fmt: skip
        changes[place.key].append((place, parts))
    if not changes:
        raise SettingError("models", f"{checkpoint.path.name} has none of the layers that "
                           f"{describe(ingredients)} would change.")  # fmt: skip
    return _Plan(changes, left_out)


def _check_formats(base: Path, plan: _Plan) -> None:
    tensors = read_header(base).tensors
    for key in plan.changes:
        if tensors[key].dtype not in WRITABLE:
            raise SettingError("sd_model", f"{base.name} keeps its weights as "
                               f"{tensors[key].dtype}, too coarse to merge into. Choose the fp16 "
                               "or fp32 file of this model.")  # fmt: skip


def _left_out_sentence(checkpoint: Checkpoint, names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED_AT_MOST])
    more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
    return f"{checkpoint.path.name} has no place for {shown}{more}: left out."


def _facts(
    ingredients: Sequence[Ingredient], checkpoint: Checkpoint, plan: _Plan, path: Path
) -> Facts:
    count = len(plan.changes)
    text = (
        f"Merged {describe(ingredients)} into {checkpoint.path.name}: {count} of "
        f"{len(checkpoint.shapes)} tensors changed, {path.stat().st_size / 1e9:.2f} GB."
    )
    facts = {
        "merged": describe(ingredients), "checkpoint": checkpoint.path.name,
        "changed_tensors": count, "tensors": len(checkpoint.shapes), "left_out": plan.left_out,
        "bytes": path.stat().st_size,
    }  # fmt: skip
    return Facts(facts, text)
