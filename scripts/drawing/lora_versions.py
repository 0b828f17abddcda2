"""The LoRA files that are drawn with: do they fit the base model, and their layers' factors.

versions = open_versions(paths, base)                 # headers only; refuses what does not fit
factors = read_factors(versions[0], shapes, "base")   # for LoRANetwork.of_factors
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from scripts.core.errors import SettingError, SuiteError
from scripts.lora.file import LayerFactors
from scripts.lora.modules import LoraFile, open_lora
from scripts.lora.targets import Target
from scripts.models.families import FAMILIES
from scripts.models.recognise import BaseModel

SETTING = "loras"
LONGEST_LABEL = 80  # letters: it becomes part of file names
Shape = tuple[int, int]  # of ΔW as a matrix: (out, in) or (out, in · height · width)


@dataclass(frozen=True)
class Version:
    """One LoRA file. `label` is its name without ending, made unlike the other files' names;
    `shapes` are those of its layers by their names in a file."""

    path: Path
    label: str
    shapes: Mapping[str, Shape]


def open_versions(paths: Sequence[Path], base: BaseModel) -> list[Version]:
    """The files as far as their headers tell, in their order.

    Raises SettingError when one cannot be read, is for another family than the base model, or is
    of a kind that cannot be drawn with here.
    """
    versions = []
    for path, label in zip(paths, _labels(paths), strict=True):
        with open_lora(path, SETTING) as lora:
            _check_kind(lora, base)
            shapes = {name: flat(module.shape) for name, module in lora.modules.items()}
            versions.append(Version(path, label, shapes))
    return versions


def flat(shape: Sequence[int]) -> Shape:
    """The shape of a layer's weight as a matrix."""
    return shape[0], math.prod(shape[1:])


def shapes_of(targets: Sequence[Target]) -> dict[str, Shape]:
    """The shapes of a model's layers by their names in a LoRA file."""
    return {target.name: flat(target.layer.weight.shape) for target in targets}


def check_sizes(versions: Sequence[Version], places: Mapping[str, Shape], base_name: str) -> None:
    """Raise SettingError if a layer of a version has another shape than its place in the model."""
    for version in versions:
        for name, shape in version.shapes.items():
            if name in places and shape != places[name]:
                raise SettingError(SETTING, f"{version.path.name} is for a model of another size "
                                   f"than {base_name}: {name} is {shape[0]} x {shape[1]} there "
                                   f"and {places[name][0]} x {places[name][1]} "
                                   "here.")  # fmt: skip


def without_place(
    versions: Sequence[Version], places: Mapping[str, Shape], base_name: str
) -> list[str]:
    """A sentence for each version of which some layers have no place in the model.

    Raises SettingError for a version that has none of its layers there.
    """
    notes = []
    for version in versions:
        left_out = [name for name in version.shapes if name not in places]
        if len(left_out) == len(version.shapes):
            raise SettingError(SETTING, f"{base_name} has none of the layers that "
                               f"{version.path.name} would change. Choose a LoRA for this "
                               "kind of model.")  # fmt: skip
        if left_out:
            notes.append(
                f"{base_name} has no place for {len(left_out)} layers of "
                f"{version.path.name}, such as {left_out[0]}: they are left out."
            )
    return notes


def read_factors(version: Version, places: Mapping[str, Shape]) -> dict[str, LayerFactors]:
    """The factors of those layers that have one of `places`, exact, in float32.

    A LoHa or LoKr has the rank that its change needs. Raises SettingError when the file cannot be
    read any more, or holds values that are not numbers.
    """
    factors = {}
    with open_lora(version.path, SETTING) as lora:
        for name, module in lora.modules.items():
            if name not in places:
                continue
            try:
                up, down, scale = module.factors()
            except SuiteError as error:
                raise SettingError(SETTING, str(error)) from error
            factors[name] = LayerFactors(
                torch.from_numpy(down), torch.from_numpy(up), scale * len(down)
            )
    return factors


def _check_kind(lora: LoraFile, base: BaseModel) -> None:
    if lora.family not in (None, base.family.name):
        raise SettingError(SETTING, f"{lora.path.name} is for {FAMILIES[lora.family].title}, and "
                           f"{base.path.name} is {base.family.title}: they do not fit. Choose a "
                           "LoRA and a base model of one family.")  # fmt: skip
    if "dora" in lora.network_types:
        raise SettingError(SETTING, f"{lora.path.name} is a DoRA, which cannot be drawn with "
                           "here. Choose a LoRA, LoCon, LoHa or LoKr file.")  # fmt: skip
    for module in lora.modules.values():
        try:
            module.check_kind()
        except SuiteError as error:
            raise SettingError(SETTING, str(error)) from error


def _labels(paths: Sequence[Path]) -> list[str]:
    """The names without ending; where two are alike, with their folders' or a number behind."""
    labels: list[str] = []
    stems = [path.stem for path in paths]
    for path in paths:
        alike = stems.count(path.stem) > 1
        label = f"{path.parent.name} {path.stem}".strip() if alike else path.stem
        label = label[-LONGEST_LABEL:].strip()  # the end tells versions apart
        wanted, number = label, 1
        while label.lower() in [other.lower() for other in labels]:
            number += 1
            label = f"{wanted} {number}"
        labels.append(label)
    return labels
