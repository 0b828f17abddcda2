"""Take a LoRA out of two checkpoints: the best approximation of W_tuned - W_org, layer by layer.

Both files are streamed; a layer is in memory only while it is decomposed. What differs by no more
than the rounding to the other file's number format counts as equal, and a text encoder or a layer
that is equal is left out. (sd-scripts leaves a text encoder out when no number of its first layer
differs by 0.01, which also loses gentle trainings.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scripts.core.errors import SettingError, SuiteError
from scripts.core.events import Control, Facts, Note, Report, Saved
from scripts.core.files import check_output_file
from scripts.lora.checkpoint_keys import CheckpointModule
from scripts.lora.compare import open_pair, same_numbers
from scripts.lora.dense_svd import Singular, largest_singular
from scripts.lora.extract_result import (
    Difference,
    extract_metadata,
    facts_of,
    in_words,
    notes,
)
from scripts.lora.factors import is_wide, sides
from scripts.lora.low_rank import joined
from scripts.lora.number_formats import PRECISIONS, storable_alpha, to_precision
from scripts.lora.ranks import Size, choose_rank
from scripts.lora.result_metadata import ModuleSize
from scripts.lora.tensor_files import TensorFile, open_tensors, write_tensors
from scripts.lora.threads import in_threads
from scripts.settings.extract import ExtractSettings

AT_ONCE = 4  # layers: of SDXL one takes up to 0.4 GB


def extract(settings: ExtractSettings, report: Report, control: Control) -> Path:
    """Do what the settings say; the path of the LoRA.

    Raises SettingError and SuiteError (nothing is written then), and Cancelled.
    """
    pair = open_pair(settings)
    check_output_file(
        settings.result, [settings.model_org, settings.model_tuned], settings.overwrite
    )
    dtype = PRECISIONS[settings.save_precision or "fp16"]
    dims = _largest_dims(pair.modules, settings)
    with open_tensors(settings.model_org) as org, open_tensors(settings.model_tuned) as tuned:

        def work(module: CheckpointModule) -> Difference:
            return _difference(module, pair.tuned.modules[module.name], org, tuned, settings, dims,
                               dtype)  # fmt: skip

        found = in_threads(work, pair.modules, "Comparing the models", report, control, AT_ONCE)
        results = list(found)
    found = [result for result in results if result.tensors is not None]
    if not found:
        raise SettingError("model_tuned", f"{settings.model_tuned.name} and "
                           f"{settings.model_org.name} are equal in all {len(results)} layers that "
                           "a LoRA could hold. Choose two models that differ.")  # fmt: skip
    for text in notes(results, pair, settings):
        report(Note(text))
    tensors = {
        f"{result.name}.{key}": tensor for result in found for key, tensor in result.tensors.items()
    }
    write_tensors(settings.result, tensors, extract_metadata(found, pair, settings))
    report(Saved(str(settings.result)))
    facts = facts_of(results, pair, settings.result)
    report(Facts(facts, in_words(facts)))
    return settings.result


def _largest_dims(
    modules: Sequence[CheckpointModule], settings: ExtractSettings
) -> dict[bool, int]:
    """The largest dim of a layer, by whether it is a 3x3 convolution. It is the alpha of all of
    them, whatever dim each gets: diffusers reads different alphas at a wrong strength."""
    dims = {False: settings.dim, True: settings.conv_dim}
    full = {False: 1, True: 1}
    for module in modules:
        wide = is_wide(module.shape)
        full[wide] = max(full[wide], min(sides(module.shape)))
    return {wide: min(dim, full[wide]) for wide, dim in dims.items() if dim is not None}


def _difference(
    place: CheckpointModule,
    tuned_place: CheckpointModule,
    org: TensorFile,
    tuned: TensorFile,
    settings: ExtractSettings,
    dims: Mapping[bool, int],
    dtype: str,
) -> Difference:
    before, after = _weight(place, org), _weight(tuned_place, tuned)
    norm = float(np.linalg.norm(before))
    dtypes = org.dtypes[place.key], tuned.dtypes[tuned_place.key]
    if same_numbers(before, after, dtypes):
        return Difference(place.name, norm)
    change = (after - before).reshape(len(after), -1)
    dim = dims[is_wide(place.shape)]
    found, rank = _truncated(change, dim, settings)
    up, down = _factors(found, rank, settings.clamp_quantile)
    alpha = storable_alpha(dim, rank, dtype)
    stored_up, stored_down = joined([(up, down, rank / alpha)])
    kernel = place.shape[2:]
    tensors = {
        "alpha": to_precision(np.float32(alpha), dtype),
        "lora_up.weight": to_precision(stored_up.reshape(len(up), -1, *[1] * len(kernel)), dtype),
        "lora_down.weight": to_precision(stored_down.reshape(-1, *place.shape[1:]), dtype),
    }
    lost = _lost(change, found, rank, up, down, settings.clamp_quantile)
    return Difference(
        place.name, norm, tensors, ModuleSize(place.shape, rank, alpha),
        math.sqrt(max(found.norm**2 - lost**2, 0.0)), lost,
    )  # fmt: skip


def _weight(place: CheckpointModule, file: TensorFile) -> np.ndarray:
    """The layer's weight in float32. Raises SuiteError for values that are not numbers."""
    weight = place.rows(file.read(place.key))
    if not np.isfinite(weight.sum()) and not np.isfinite(weight).all():
        raise SuiteError(f"The file {file.path.name} is damaged: {place.key} holds values that are "
                         "not numbers. Choose another file.")  # fmt: skip
    return weight


def _truncated(change: np.ndarray, largest: int, settings: ExtractSettings) -> tuple[Singular, int]:
    """The singular triplets that the LoRA may need, and how many it gets."""
    method = settings.dynamic_method
    full = min(change.shape)
    found = largest_singular(change, full if method == "sv_cumulative" else min(largest, full))
    values = found.values
    if method == "sv_fro":  # which asks what share of the whole the first ones have
        values = np.append(values, math.sqrt(max(found.norm**2 - np.sum(values**2), 0.0)))
    size = Size(largest, method=method, param=settings.dynamic_param)
    return found, min(choose_rank(values, size, largest), len(found.values))


def _factors(
    found: Singular, rank: int, clamp_quantile: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """up (out, rank) and down (rank, columns); each has half of every singular value.

    To clamp is sd-scripts' way: with up = U·S and down = Vᵀ, no number above the quantile of all.
    """
    left, right = found.left[:, :rank], found.right[:rank]
    values = found.values[:rank].astype(np.float32)
    if clamp_quantile is None:
        root = np.sqrt(values)
        return left * root, root[:, None] * right
    left = left * values
    limit = np.quantile(np.concatenate([left.ravel(), right.ravel()]), clamp_quantile)
    return np.clip(left, -limit, limit), np.clip(right, -limit, limit)


def _lost(
    change: np.ndarray,
    found: Singular,
    rank: int,
    up: np.ndarray,
    down: np.ndarray,
    clamp_quantile: float | None,
) -> float:
    """‖ΔW - up·down‖."""
    if clamp_quantile is not None:
        return float(np.linalg.norm(change - up @ down))
    return math.sqrt(max(found.norm**2 - float(np.sum(found.values[:rank] ** 2)), 0.0))
