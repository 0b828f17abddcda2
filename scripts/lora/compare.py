"""How two models are related, told within a second: from some numbers of each layer, not all.

    pair = open_pair(settings)
    relation = compare(pair, report, control)
    relation.equal, relation.layers           # 128, 264

The weights of a layer that was tuned differ nearly everywhere, so a stretch from the middle of each
tells whether it was. No torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from scripts.core.errors import SettingError, SuiteError
from scripts.core.events import Control, Report
from scripts.lora.checkpoint_keys import (
    ATTENTION,
    RESNET,
    TEXT_ENCODER,
    Checkpoint,
    CheckpointModule,
    open_checkpoint,
)
from scripts.lora.number_formats import rounds_to
from scripts.lora.tensor_files import TensorFile, open_tensors
from scripts.lora.threads import in_threads
from scripts.settings.extract import ExtractSettings

ROUGHNESS = {"F64": 0, "F32": 1, "F16": 2, "BF16": 3, "F8_E4M3": 4, "F8_E5M2": 5}
SAMPLE = 4096  # numbers of a layer
# ‖W_tuned - W_org‖ / ‖W_org‖ from which on two models have hardly anything in common: those that
# were trained apart have √2, a strongly tuned one 0.3.
UNRELATED = 0.7


@dataclass(frozen=True)
class ModelPair:
    """The two models, and the layers of both that the settings ask for."""

    original: Checkpoint
    tuned: Checkpoint
    modules: list[CheckpointModule]  # places in the original


@dataclass(frozen=True)
class Relation:
    """Of `layers` that a LoRA could hold, `equal` are so; all differ by `difference`, relative to
    the original's weights."""

    layers: int
    equal: int
    difference: float

    @property
    def related(self) -> bool:
        """Whether one can have been made from the other."""
        return bool(self.equal) or self.difference <= UNRELATED


def open_pair(settings: ExtractSettings) -> ModelPair:
    """The two models of the settings, by their heads.

    Raises SettingError when one cannot be used, they are the same file, or do not fit together.
    """
    models = []
    for name in ("model_org", "model_tuned"):
        try:
            models.append(open_checkpoint(getattr(settings, name)))
        except SuiteError as error:
            raise SettingError(name, str(error)) from error
    original, tuned = models
    if original.path.samefile(tuned.path):
        raise SettingError("model_tuned", f"{tuned.path.name} is given as both models. Choose the "
                           "model that it was made from as the original.")  # fmt: skip
    if original.family is not tuned.family:
        raise SettingError("model_tuned", f"{tuned.path.name} is {tuned.family.title}, and "
                           f"{original.path.name} is {original.family.title}: there is no "
                           "difference to take. Choose two models of the same kind.")  # fmt: skip
    parts = {ATTENTION}
    if settings.conv_dim is not None:
        parts.add(RESNET)
    if not settings.no_text_encoder:
        parts.add(TEXT_ENCODER)
    wanted = [module for module in original.modules.values() if module.part in parts]
    modules = [module for module in wanted if module.name in tuned.modules]
    for module in modules:
        if tuned.modules[module.name].shape != module.shape:
            raise SettingError("model_tuned", f"{tuned.path.name} and {original.path.name} have "
                               "layers of different sizes, such as "
                               f"{module.name}: there is no difference to take. Choose two models "
                               "of the same kind.")  # fmt: skip
    if not modules:
        raise SettingError("model_tuned", f"{tuned.path.name} and {original.path.name} have no "
                           "layer in common. Choose two whole models.")  # fmt: skip
    return ModelPair(original, tuned, modules)


def compare(pair: ModelPair, report: Report, control: Control) -> Relation:
    """How the models are related. Raises SuiteError for a damaged file, and Cancelled."""
    with open_tensors(pair.original.path) as org, open_tensors(pair.tuned.path) as tuned:

        def work(module: CheckpointModule) -> tuple[bool, float, float]:
            other = pair.tuned.modules[module.name]
            before, after = _sample(module, org), _sample(other, tuned)
            equal = same_numbers(before, after, (org.dtypes[module.key], tuned.dtypes[other.key]))
            share = math.prod(module.shape) / before.size  # of the layer in the whole
            change = 0.0 if equal else float(np.sum((after - before) ** 2)) * share
            return equal, change, float(np.sum(before**2)) * share

        found = list(in_threads(work, pair.modules, "Comparing the models", report, control))
    equal, changes, weights = zip(*found, strict=True)
    whole = math.fsum(weights)
    difference = math.sqrt(math.fsum(changes) / whole) if whole else 0.0
    return Relation(len(found), sum(equal), difference)


def _sample(place: CheckpointModule, file: TensorFile) -> np.ndarray:
    """Numbers from the middle of a layer's weight, as they lie in the file."""
    size = math.prod(place.shape)
    count = min(SAMPLE, size)
    begin = (place.third or 0) * size + (size - count) // 2
    return file.read_part(place.key, begin, count)


def same_numbers(before: np.ndarray, after: np.ndarray, dtypes: tuple[str, str]) -> bool:
    """Whether weights of these two formats are equal, but for the rounding to the rougher one."""
    if np.array_equal(before, after):
        return True
    roughness = [ROUGHNESS.get(dtype, 0) for dtype in dtypes]
    if roughness[0] == roughness[1]:
        return False
    if roughness[0] > roughness[1]:
        before, after = after, before
    return rounds_to(before, after, max(dtypes, key=lambda dtype: ROUGHNESS.get(dtype, 0)))
