"""The settings of `scripts.extract_lora`, declared once; `read_extract_settings` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.declare import build, notes_on, setting
from scripts.core.errors import SettingError
from scripts.core.files import as_safetensors
from scripts.settings.resize import METHODS, USUAL_PARAM, check_dynamic
from scripts.settings.train_reading import read_precision

NOT_NEEDED = {  # keys of sd-scripts' extraction
    "sdxl": "the files tell what they are.",
    "v2": "the files tell what they are.",
    "v_parameterization": "the files tell what they are.",
    "load_precision": "differences are always taken in float32.",
    "min_diff": "a text encoder is left out when nothing but rounding differs.",
    "device": "no graphics card is needed.",
    "load_original_model_to": "no graphics card is needed.",
    "load_tuned_model_to": "no graphics card is needed.",
    "no_metadata": "the metadata say what was extracted.",
}


DIMS = (64, None)  # dim and conv_dim that nobody has set


@dataclass(frozen=True)
class ExtractSettings:
    """Everything that an extraction can be told. None means "not set"."""

    # fmt: off
    model_org: Path | None = setting(
        None, label="Original model", page="Models", path="file",
        help="The checkpoint that the other was made from, such as the plain Stable Diffusion.",
        beware="If the other was made from another model, the LoRA holds that difference too.")
    model_tuned: Path | None = setting(
        None, label="Tuned model", page="Models", path="file",
        help="The checkpoint whose difference from the original becomes the LoRA.")
    dim: int = setting(
        DIMS[0], label="LoRA size (dim)", page="Size", low=1, high=4096,
        help="The dim of the LoRA, from 4 to 128. With a dynamic method it is the largest that a "
        "layer may get.",
        usual=(4, 128), below="Much of the difference is lost.",
        above="Large files, without looking better.")
    conv_dim: int | None = setting(
        None, label="Size of convolutions", page="Size", low=1, high=4096, advanced=True,
        help="The dim of 3x3 convolutions. Not set: the convolutions between the attention blocks "
        "are left out, which makes a smaller LoRA that every program reads.",
        usual=(4, 64), below="Textures of the tuned model are lost.",
        above="Large files, without looking better.")
    dynamic_method: str | None = setting(
        None, label="Dynamic method", page="Size", choices=METHODS, advanced=True,
        help="Let each layer get the dim that it needs, by its singular values: those above the "
        "largest divided by dynamic_param (sv_ratio), or as many as make up dynamic_param of their "
        "sum (sv_cumulative, slow) or of the size of the change (sv_fro).")
    dynamic_param: float | None = setting(
        None, label="Dynamic value", page="Size", advanced=True,
        shown_when=("dynamic_method", METHODS),
        help="The number of the dynamic method: above 1 for sv_ratio, such as 8; between 0 and 1 "
        "for the others, such as 0.95.",
        usual=USUAL_PARAM, below="Much of the difference is lost.",
        above="Hardly anything is cut away, and the file is large.")
    queue: Path | None = setting(
        None, label="List of sizes", page="Size", path="file", advanced=True,
        help="A text file with one job a line in place of dim and conv_dim: a dim, or two, the "
        "second one for convolutions. save_to is the folder of the LoRAs then.")
    clamp_quantile: float | None = setting(
        None, label="Clamp quantile", page="Size", low=0.5, high=1, advanced=True,
        help="Cut the largest numbers of the factors off at this quantile, such as 0.99, as "
        "sd-scripts does; much of the difference is lost by that. Not set: nothing is cut off.",
        usual=(0.99, 1), below="Most of the difference is lost.")
    no_text_encoder: bool = setting(
        False, label="Leave out the text encoder", page="Size", advanced=True,
        help="Take the difference of the U-Net alone. A text encoder in which nothing differs is "
        "left out anyway.",
        beware="Words that the tuned model learnt are missing in the LoRA.")
    save_to: Path | None = setting(
        None, label="Save as", page="Result", path="output file",
        help="The new .safetensors file.")
    overwrite: bool = setting(
        False, label="Replace an older file", page="Result",
        help="Save even if there is a file of that name already.",
        beware="The older file is gone for good.")
    save_precision: str | None = setting(
        None, label="Number format", page="Result", choices=["float", "fp16", "bf16"],
        read=read_precision, advanced=True,
        help="The number format of the LoRA; not set: fp16.",
        beware="float doubles the file and looks no better.")
    # fmt: on

    @property
    def result(self) -> Path:
        """`save_to` with its ending, which may be left out. Raises SettingError for another one."""
        return as_safetensors(self.save_to)


def read_extract_settings(values: Mapping[str, Any]) -> tuple[ExtractSettings, list[str]]:
    """The settings from raw values by name, and notes on renamed and unneeded keys.

    Raises SettingErrors with everything that is wrong.
    """
    return build(ExtractSettings, values, _check_together, notes_on(NOT_NEEDED))


def _check_together(settings: ExtractSettings) -> list[SettingError]:
    errors = []
    for name, message in (
        ("model_org", "The original model is not given. Choose its file."),
        ("model_tuned", "The tuned model is not given. Choose its file."),
    ):
        if getattr(settings, name) is None:
            errors.append(SettingError(name, message))
    if settings.queue is not None and (settings.dim, settings.conv_dim) != DIMS:
        errors.append(SettingError("queue", "Both a size and a list of sizes are given. Give one "
                                   "of them."))  # fmt: skip
    if settings.save_to is None:
        errors.append(SettingError("save_to", "Where to save the result is not said. Choose a name "
                                   "for the new file."))  # fmt: skip
    params = () if settings.dynamic_param is None else (settings.dynamic_param,)
    return errors + check_dynamic(settings.dynamic_method, params)
