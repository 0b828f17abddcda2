"""The settings of `scripts.resize_lora`, declared once. `read_resize_settings` makes the object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.declare import build, notes_on, setting
from scripts.core.errors import SettingError
from scripts.core.usual import Usual
from scripts.settings.several import read_numbers, read_paths, read_sizes
from scripts.settings.train_reading import read_precision

METHODS = ("sv_ratio", "sv_cumulative", "sv_fro")
USUAL_PARAM = Usual(by=("dynamic_method", {"sv_ratio": (2, 20), "sv_cumulative": (0.8, 0.99),
                                           "sv_fro": (0.8, 0.99)}))  # fmt: skip
NOT_NEEDED = {"device": "no graphics card is needed."}  # keys of sd-scripts' resize command


@dataclass(frozen=True)
class ResizeSettings:
    """Everything that a resize can be told. None means "not set"."""

    # fmt: off
    model: tuple[Path, ...] = setting(
        (), label="LoRAs", page="LoRAs", path="file", read=read_paths, aliases=["models"],
        help="The LoRA files to make smaller. A folder stands for all LoRAs in it.")
    new_rank: tuple[int, ...] = setting(
        (), label="New size (dim)", page="Size", read=read_sizes,
        help="The new dim, such as 32; several, such as 8,16,32, make a file of each size. With a "
        "dynamic method it is the largest dim that a layer may get.",
        usual=(8, 64), below="Fine detail of the LoRA is lost.",
        above="The file stays large; above the old size nothing is gained.")
    new_conv_rank: int | None = setting(
        None, label="Size of convolutions", page="Size", low=1, high=4096, advanced=True,
        help="The new dim of all convolutions, 1x1 too, if the LoRA has any. Not set: as new_rank.",
        usual=(4, 64), below="Textures that were learnt are lost.",
        above="The file stays large; above the old size nothing is gained.")
    dynamic_method: str | None = setting(
        None, label="Dynamic method", page="Size", choices=METHODS, advanced=True,
        help="Let each layer get the dim that it needs, by its singular values: those above the "
        "largest divided by dynamic_param (sv_ratio), or as many as make up dynamic_param of their "
        "sum (sv_cumulative) or of the size of the change (sv_fro).")
    dynamic_param: tuple[float, ...] = setting(
        (), label="Dynamic value", page="Size", read=read_numbers, advanced=True,
        shown_when=("dynamic_method", METHODS),
        help="The number of the dynamic method: above 1 for sv_ratio, such as 8; between 0 and 1 "
        "for the others, such as 0.95. Several make a file for each.",
        usual=USUAL_PARAM, below="Much of the LoRA is cut away.",
        above="Hardly anything is cut away, and the file stays large.")
    queue: Path | None = setting(
        None, label="List of sizes", page="Size", path="file", advanced=True,
        help="A text file with one job a line in place of new_rank: a dim, or the dynamic value "
        "and the largest dim.")
    save_to: Path | None = setting(
        None, label="Save as", page="Result", path="output file",
        help="The new file; for several results a folder. Not set: beside the LoRA, as "
        "NAME-dim32.safetensors.")
    overwrite: bool = setting(
        False, label="Replace an older file", page="Result",
        help="Save even if there is a file of that name already.",
        beware="The older file is gone for good.")
    save_precision: str | None = setting(
        None, label="Number format", page="Result", choices=["float", "fp16", "bf16"],
        read=read_precision, advanced=True,
        help="The number format of the result; not set: as the LoRA has.",
        beware="float doubles the file and looks no better.")
    verbose: bool = setting(
        False, label="Tell of every layer", page="Result", advanced=True,
        help="Print the new dim of every layer, and what share of it is kept.")
    # fmt: on


def size_title(
    rank: int, conv_rank: int | None, method: str | None, param: float | None
) -> str:  # fmt: skip
    """What the name of a result ends with: dim32, dim32-conv16, sv_fro-0.9-32."""
    conv = "" if conv_rank in (None, rank) else f"-conv{conv_rank}"
    return f"dim{rank}{conv}" if method is None else f"{method}-{param:g}-{rank}{conv}"


def read_resize_settings(values: Mapping[str, Any]) -> tuple[ResizeSettings, list[str]]:
    """The settings from raw values by name, and notes on renamed and unneeded keys.

    Raises SettingErrors with everything that is wrong.
    """
    return build(ResizeSettings, values, _check_together, notes_on(NOT_NEEDED))


def _check_together(settings: ResizeSettings) -> list[SettingError]:
    errors = []
    if not settings.model:
        errors.append(SettingError("model", "No LoRA is given. Choose the file to resize."))
    if not settings.new_rank and settings.queue is None:
        errors.append(SettingError("new_rank", "The new size is not said. Give one, such as 32."))
    if settings.new_rank and settings.queue is not None:
        errors.append(SettingError("queue", "Both new_rank and a list of sizes are given. Give "
                                   "one of them."))  # fmt: skip
    if settings.dynamic_param and settings.queue is not None:
        errors.append(SettingError("dynamic_param", "The list of sizes holds the dynamic values. "
                                   "Leave this one out."))  # fmt: skip
    for rank in settings.new_rank:
        if rank < 1:
            errors.append(SettingError("new_rank", f"A size of {rank} is not possible: it must be "
                                       "1 or more."))  # fmt: skip
    method, params = settings.dynamic_method, settings.dynamic_param
    return errors + check_dynamic(method, params, needed=settings.queue is None)


def check_dynamic(
    method: str | None, params: Sequence[float], needed: bool = True
) -> list[SettingError]:
    """What is wrong with a dynamic method and its numbers; `needed`: there must be one."""
    if method is None:
        if params:
            return [SettingError("dynamic_method", "A dynamic value is given, but no method. "
                                 f"Choose one of: {', '.join(METHODS)}.")]  # fmt: skip
        return []
    if not params and needed:
        return [SettingError("dynamic_param", f"{method} needs its number. Give one, such as "
                             f"{8 if method == 'sv_ratio' else 0.95}.")]  # fmt: skip
    return [error for error in (dynamic_error(method, param) for param in params) if error]


def dynamic_error(method: str, param: float) -> SettingError | None:
    """What is wrong with the number of a dynamic method, None if nothing is."""
    if method == "sv_ratio" and param < 1:
        return SettingError("dynamic_param", f"{param:g} is too small for sv_ratio: it must be 1 "
                            "or more, such as 8.")  # fmt: skip
    if method != "sv_ratio" and not 0 < param <= 1:
        return SettingError("dynamic_param", f"{param:g} is not possible for {method}: it must be "
                            "above 0 and at most 1, such as 0.95.")  # fmt: skip
    return None
