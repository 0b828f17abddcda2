"""The settings of `scripts.merge_lora`, declared once. `read_merge_settings` makes the object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.declare import build, notes_on, read_int, setting, show_value
from scripts.core.errors import SettingError
from scripts.core.files import as_safetensors
from scripts.settings.several import read_numbers, read_paths
from scripts.settings.train_reading import read_precision

AUTO, EXACT = "auto", "exact"
NOT_NEEDED = {  # keys of sd-scripts' merge commands
    "precision": "sums are always made in float32, and singular values in float64.",
    "concat": "new_rank = exact gives its result; not set, 99 % of the sum is kept.",
    "shuffle": "it has no effect on the sum.",
    "no_metadata": "the metadata say what was merged.",
    "device": "no graphics card is needed.",
    "v2": "the files tell what they are.",
}


def read_rank(raw: Any) -> int | str:
    """auto, exact, or a whole number."""
    word = str(raw).strip().lower()
    if word in (AUTO, EXACT):
        return word
    try:
        return read_int(raw)
    except ValueError:
        raise ValueError(f'"{show_value(raw)}" is no size. Write a whole number such as 64, or '
                         "auto, or exact.") from None  # fmt: skip


def read_lists(raw: Any) -> tuple[str, ...]:
    """One text for each LoRA: from a list of texts, of lists of numbers or of three such lists, or
    from one text, one number or one list of numbers for the first LoRA alone."""
    if not isinstance(raw, list | tuple) or not any(isinstance(item, str | list) for item in raw):
        raw = [raw]
    return tuple(_joined(item) for item in raw)


def _joined(item: Any) -> str:
    if item is None:
        return ""
    if not isinstance(item, list | tuple):
        return show_value(item)
    between = "/" if any(isinstance(part, list | tuple | str) for part in item) else ","
    return between.join(_joined(part) for part in item)


@dataclass(frozen=True)
class MergeSettings:
    """Everything that a merge can be told. None means "not set"."""

    # fmt: off
    models: tuple[Path, ...] = setting(
        (), label="LoRAs", page="LoRAs", path="file", read=read_paths,
        help="The LoRA files to merge, of the same Stable Diffusion family.",
        beware="LoRAs that each change everything, such as two styles, disturb one another.")
    ratios: tuple[float, ...] = setting(
        (), label="Strengths", page="LoRAs", read=read_numbers,
        help="How strongly each LoRA counts, in their order: 1 is its full effect, below 0 turns "
        "it round. Not set: even shares, which are 1 for a single LoRA.",
        usual=(0, 1), below="The LoRA works against what it has learnt.",
        above="Colours glare and shapes warp, as when several add up to far above 1.")
    block_ratios: tuple[str, ...] = setting(
        (), label="Strengths by block", page="LoRAs", read=read_lists, advanced=True,
        aliases=["lbws"],
        help="For each LoRA in order, factors on its strength by block of the U-Net: 25 numbers "
        "(SDXL 21), or down/middle/up as lists of 12, 1 and 12 numbers or curves such as "
        "sine/1/cosine, or the 12, 17, 20 or 26 numbers of other tools, which begin with the text "
        "encoder. An empty text is 1 everywhere.")
    sd_model: Path | None = setting(
        None, label="Checkpoint", page="Result", path="file",
        help="A whole model, as .safetensors, to merge the LoRAs into; the result is a whole model "
        "then. Not set: the result is a LoRA.",
        beware="What is merged into a model cannot be taken out of it again.")
    save_to: Path | None = setting(
        None, label="Save as", page="Result", path="output file",
        help="The new .safetensors file.")
    overwrite: bool = setting(
        False, label="Replace an older file", page="Result",
        help="Save even if there is a file of that name already.",
        beware="The older file is gone for good.")
    new_rank: int | str = setting(
        AUTO, label="LoRA size (dim)", page="Result", read=read_rank, low=1, high=4096,
        suggestions=[AUTO, EXACT, "16", "32", "64", "128"], shown_when=("sd_model", [None]),
        help="auto is the smallest size that keeps 99 % of the sum, exact keeps all of it and "
        "makes a large file; or a number from 4 to 128.",
        usual=(4, 128), below="Much of the sum is lost, the more the more LoRAs there are.",
        above="Large files, without looking better.")
    new_conv_rank: int | None = setting(
        None, label="Size of convolutions", page="Result", low=1, high=4096, advanced=True,
        shown_when=("sd_model", [None]),
        help="The size for 3x3 convolutions, if the LoRAs have them. Not set: as new_rank says.",
        usual=(4, 64), below="Textures that were learnt are lost.",
        above="Large files, without looking better.")
    save_precision: str | None = setting(
        None, label="Number format", page="Result", choices=["float", "fp16", "bf16"],
        read=read_precision, advanced=True, shown_when=("sd_model", [None]),
        help="The number format of the result; not set: as the LoRAs have. A checkpoint keeps its "
        "own.",
        beware="float doubles the file and looks no better.")
    # fmt: on

    @property
    def result(self) -> Path:
        """`save_to` with its ending, which may be left out. Raises SettingError for another one."""
        return as_safetensors(self.save_to)

    @property
    def strengths(self) -> tuple[float, ...]:
        """The strength of each LoRA: `ratios`, or even shares."""
        return self.ratios or (1 / len(self.models),) * len(self.models)

    def block_ratios_of(self, index: int) -> str:
        """The block strengths of LoRA `index` (from 0), "" when there are none."""
        return self.block_ratios[index] if index < len(self.block_ratios) else ""


def read_merge_settings(values: Mapping[str, Any]) -> tuple[MergeSettings, list[str]]:
    """The settings from raw values by name, and notes on renamed and unneeded keys.

    Raises SettingErrors with everything that is wrong.
    """
    return build(MergeSettings, values, _check_together, notes_on(NOT_NEEDED))


def _check_together(settings: MergeSettings) -> list[SettingError]:
    errors = []
    count = len(settings.models)
    if not count:
        errors.append(SettingError("models", "No LoRA is given. Choose the files to merge."))
    if len(settings.ratios) not in (0, count):
        errors.append(SettingError("ratios", f"LoRAs: {count}, strengths: "
                                   f"{len(settings.ratios)}. Give one for each."))  # fmt: skip
    if len(settings.block_ratios) > count:
        errors.append(SettingError("block_ratios", f"LoRAs: {count}, lists: "
                                   f"{len(settings.block_ratios)}. Give at most one for "
                                   "each."))  # fmt: skip
    if settings.ratios and not any(settings.ratios):
        errors.append(SettingError("ratios", "All strengths are 0, so nothing would be left. Give "
                                   "at least one LoRA another strength."))  # fmt: skip
    errors += _check_result(settings)
    return errors


def _check_result(settings: MergeSettings) -> list[SettingError]:
    errors = []
    if settings.save_to is None:
        errors.append(SettingError("save_to", "Where to save the result is not said. Choose a name "
                                   "for the new file."))  # fmt: skip
    if settings.sd_model is not None:
        for name, unset in (("new_rank", AUTO), ("new_conv_rank", None)):
            if getattr(settings, name) != unset:
                errors.append(SettingError(name, f"{name} is for a LoRA as the result, and with "
                                           "sd_model a checkpoint is made. Leave one of them "
                                           "out."))  # fmt: skip
    return errors
