"""The dataset TOML of sd-scripts (setting `dataset_config`): several folders, each its own way.

    [general]                        # for everything below that does not say otherwise
    caption_extension = ".txt"
    [[datasets]]                     # a resolution, a batch size and bucket rules
    resolution = 768
    [[datasets.subsets]]             # a folder
    image_dir = "pictures/cat"
    num_repeats = 10

What a subset does not say is taken from its dataset, then from [general], then from the training
settings. All mistakes in the file are reported at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.core.config import read_structured
from scripts.core.declare import Declaration, declarations, read_value, setting
from scripts.core.errors import SettingError, SettingErrors
from scripts.dataset.buckets import Size
from scripts.dataset.folders import Folder, list_folder, read_folder_name
from scripts.dataset.pictures import readable_endings
from scripts.dataset.subsets import (
    Layout,
    Part,
    Subset,
    dotted,
    fit_part,
    part_from_settings,
    subset_from_settings,
)
from scripts.settings.train import TrainSettings

PART_KEYS = (
    "resolution", "train_batch_size", "enable_bucket", "min_bucket_reso", "max_bucket_reso",
    "bucket_reso_steps", "bucket_no_upscale",
)  # fmt: skip
CAPTION_KEYS = (
    "shuffle_caption", "keep_tokens", "caption_prefix", "caption_suffix", "caption_dropout_rate",
    "caption_dropout_every_n_epochs", "caption_tag_dropout_rate", "token_warmup_min",
    "token_warmup_step",
)  # fmt: skip
SUBSET_KEYS = (
    "caption_extension", "flip_aug", "color_aug", "random_crop", "conditioning_data_dir",
    *CAPTION_KEYS,
)  # fmt: skip
MORE_CAPTION_KEYS = (
    "keep_tokens_separator", "caption_separator", "secondary_separator", "enable_wildcard",
)  # fmt: skip
NOT_NEEDED = {
    "cache_info": "sizes are read quickly without it.",
    "face_crop_aug_range": "cropping around faces is not built in; the middle is used.",
    "resize_interpolation": "shrinking averages areas and enlarging uses Lanczos.",
    "skip_image_resolution": "small pictures are enlarged, or left as they are with "
    "bucket_no_upscale.",
    "validation_split": "no pictures are set apart for validation.",
    "validation_seed": "no pictures are set apart for validation.",
    "network_multiplier": "the LoRA is trained at its full strength.",
    "custom_attributes": "they mean nothing to the training.",
}


@dataclasses.dataclass(frozen=True)
class SubsetEntries:
    """The keys that only a dataset TOML knows."""

    # fmt: off
    image_dir: Path | None = setting(
        None, label="Folder", page="Dataset file", path="folder",
        help="The folder with the pictures.")
    num_repeats: int | None = setting(
        None, label="Repeats", page="Dataset file", low=1,
        help="How often each picture is used in an epoch; 1 when not set.")
    class_tokens: str | None = setting(
        None, label="Class words", page="Dataset file",
        help="The caption of pictures that have none; from the folder's name when not set.")
    is_reg: bool = setting(
        False, label="Regularisation", page="Dataset file",
        help="These are regularisation pictures.")
    alpha_mask: bool | None = setting(
        None, label="Mask from transparency", page="Dataset file",
        help="Train only where the picture is opaque.")
    keep_tokens_separator: str = setting(
        "", label="Mark after the kept tags", page="Dataset file",
        help="The tags before this mark, and those after a second one, stay in place.")
    caption_separator: str = setting(
        ",", label="Mark between tags", page="Dataset file", help="What stands between tags.")
    secondary_separator: str = setting(
        "", label="Mark inside a tag", page="Dataset file",
        help="Joins tags that stay together; becomes a comma at the end.")
    enable_wildcard: bool = setting(
        False, label="Wildcards", page="Dataset file",
        help="{a|b} in captions is one of both by chance, and one line of several is used.")
    # fmt: on


@dataclasses.dataclass
class Reading:
    """The file being read: what is known of its keys, and the mistakes found so far."""

    settings: TrainSettings
    folder: Path
    part_keys: dict[str, Declaration]
    subset_keys: dict[str, Declaration]
    errors: list[SettingError] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def read(self, table: Mapping[str, Any], where: str, known: Mapping[str, Declaration]) -> dict:
        """The values of a table by setting name. Unknown and wrong ones become errors."""
        values = {}
        for key, raw in table.items():
            name = {"batch_size": "train_batch_size"}.get(key, key)
            if key in NOT_NEEDED:
                self.note(f"{key} is not needed: {NOT_NEEDED[key]}")
            elif name not in known:
                self.error(where, f"there is no setting called {key} here. Remove it, or correct "
                           "its name.")  # fmt: skip
            else:
                try:
                    values[name] = read_value(known[name], raw)
                except SettingError as error:
                    self.error(where, f"{key}: {error}")
        return values

    def error(self, where: str, text: str) -> None:
        self.errors.append(SettingError("dataset_config", f"In {where}, {text}"))

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def parts_from_toml(path: Path, settings: TrainSettings, default_resolution: Size) -> Layout:
    """The parts that the dataset TOML (or JSON) at `path` describes.

    Folders are looked up from the working folder, then from beside the file. Raises SuiteError
    when the file cannot be read, SettingErrors with everything that is wrong in it.
    """
    content = read_structured(path)
    trained = declarations(TrainSettings)
    own = declarations(SubsetEntries)
    reading = Reading(
        settings,
        path.parent,
        {name: trained[name] for name in PART_KEYS},
        {name: trained[name] for name in SUBSET_KEYS} | own,
    )
    layout = Layout((), from_file=True)
    general = content.get("general", {})
    every = reading.part_keys | reading.subset_keys
    defaults = reading.read(general, "[general]", every) if _is_table(reading, general) else {}
    for key in content:
        if key not in ("general", "datasets"):
            reading.error(path.name, f"there is no section called {key}. It belongs into "
                          "[general], [[datasets]] or [[datasets.subsets]].")  # fmt: skip
    tables = content.get("datasets") or []
    if not isinstance(tables, list) or not tables:
        reading.error(path.name, "there is no [[datasets]]. Add one with the folder to use.")
        tables = []
    parts = [
        _part(reading, table, number + 1, defaults, default_resolution, layout)
        for number, table in enumerate(tables)
        if _is_table(reading, table)
    ]
    if reading.errors:
        raise SettingErrors(reading.errors)
    layout.parts = tuple(parts)
    layout.notes += reading.notes
    return layout


def _is_table(reading: Reading, table: Any) -> bool:
    if not isinstance(table, Mapping):
        reading.error("the dataset file", f"{table!r} stands where a section belongs.")
        return False
    return True


def _part(
    reading: Reading,
    table: Mapping[str, Any],
    number: int,
    general: dict,
    default_resolution: Size,
    layout: Layout,
) -> Part | None:
    where = f"[[datasets]] number {number}"
    plain = {key: value for key, value in table.items() if key != "subsets"}
    values = general | reading.read(plain, where, reading.part_keys | reading.subset_keys)
    tables = table.get("subsets") or []
    if not isinstance(tables, list) or not tables:
        reading.error(where, "there is no [[datasets.subsets]]. Add one with an image_dir.")
        tables = []
    subsets = []
    for place, entry in enumerate(tables):
        if _is_table(reading, entry):
            name = f"[[datasets.subsets]] number {place + 1} of {where}"
            subset = _subset(reading, entry, name, values)
            subsets += [subset] if subset else []
    resolution = values.get("resolution") or reading.settings.resolution
    settings = dataclasses.replace(reading.settings, resolution=resolution)
    part = part_from_settings(settings, subsets, default_resolution)
    ours = {name: values[name] for name in PART_KEYS if values.get(name) is not None}
    if "train_batch_size" in ours:
        ours["batch_size"] = ours.pop("train_batch_size")
    try:
        return fit_part(dataclasses.replace(part, **ours), layout.guesses)
    except SettingError as error:
        reading.error(where, str(error))
        return None


def _subset(
    reading: Reading, table: Mapping[str, Any], where: str, defaults: dict
) -> Subset | None:
    if "metadata_file" in table:
        reading.error(where, "metadata_file is not read here. Put each caption into a text file "
                      "beside its picture and give image_dir.")  # fmt: skip
        return None
    own = reading.read(table, where, reading.subset_keys)
    values = defaults | own
    folder = _folder(reading, where, values)
    if folder is None:
        return None
    subset = subset_from_settings(reading.settings, folder, values.get("is_reg", False))
    changes = {
        name: values[name]
        for name in ("flip_aug", "color_aug", "random_crop", "conditioning_data_dir")
        if name in values
    }
    if changes.get("conditioning_data_dir"):
        changes["conditioning_data_dir"] = _found(reading, changes["conditioning_data_dir"])
    if values.get("alpha_mask") is not None:
        changes["masked"] = values["alpha_mask"]
    if changes.get("conditioning_data_dir"):
        changes["masked"] = True
    if "caption_extension" in values:
        changes["caption_extension"] = dotted(values["caption_extension"])
    words = {name: values[name] for name in CAPTION_KEYS if name in values}
    words |= {name: values[name] for name in MORE_CAPTION_KEYS if name in values}
    words |= {key: words[key] or "" for key in ("caption_prefix", "caption_suffix") if key in words}
    options = dataclasses.replace(subset.captions, **words)
    return dataclasses.replace(subset, captions=options, **changes)


def _folder(reading: Reading, where: str, values: dict) -> Folder | None:
    image_dir = values.get("image_dir")
    if image_dir is None:
        reading.error(where, "image_dir is missing. Write the folder with the pictures.")
        return None
    path = _found(reading, image_dir)
    if not path.is_dir():
        reading.error(where, f"there is no folder {image_dir}. Correct image_dir.")
        return None
    listing = list_folder(path, readable_endings())
    if not listing.pictures:
        reading.error(where, f"there are no pictures in {image_dir}. Correct image_dir.")
        return None
    named, words = read_folder_name(path.name) or (1, path.name)
    repeats = values.get("num_repeats") or 1
    if named > 1 and "num_repeats" not in values:
        reading.note(f"The number in the folder name {path.name} does not count in a dataset file: "
                     "without num_repeats its pictures are used once an epoch.")  # fmt: skip
    if values.get("class_tokens") is not None:
        words = values["class_tokens"]
    return Folder(path, repeats, words, listing.pictures, {path: listing.files})


def _found(reading: Reading, path: Path) -> Path:
    beside = reading.folder / path
    return path.absolute() if path.exists() or not beside.exists() else beside.absolute()
