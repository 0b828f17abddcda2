"""What a LoRA file is: family, types, sizes, trigger words, problems, as a JSON-able dict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from scripts.core.errors import SuiteError
from scripts.core.safetensors_header import read_header
from scripts.lora.edit_metadata import file_hashes
from scripts.lora.layer_keys import stated_family
from scripts.lora.modules import OTHER_TYPES, LoraFile, LoraModule
from scripts.lora.safetensors_writer import HASHES
from scripts.lora.training_words import common_tags, training_in_words, trigger_words
from scripts.models.families import FAMILIES
from scripts.models.file_head import read_head

USUAL_DTYPES = ("F16", "BF16", "F32")
LAST_FACTORS = ("lora_up.weight", "hada_w2_a", "hada_w1_b", "lokr_w2_b", "lokr_w2", "diff")
# These begin as zero, so a layer in which one still is has never been trained.


def facts_of(lora: LoraFile) -> dict[str, Any]:
    """The facts; `dims`, `alphas` and `modules` are counts by the part of the model, `largest` is
    the greatest size of its Linear layers and convolutions, which no resize can exceed; `unusable`
    says why it can be neither resized nor merged, by what is to be done with it."""
    stated = check_hashes(lora)
    broken, untrained = _odd_numbers(lora)
    dora, unfit = [*_dora(lora)], [*_other_kinds(lora), *_damage(broken)]
    dims: dict[str, Counter] = {}
    alphas: dict[str, Counter] = {}
    modules: Counter[str] = Counter()
    largest: dict[str, int] = {}
    for module in lora.modules.values():
        part = part_of(module)
        modules[part] += 1
        dims.setdefault(part, Counter())[str(module.rank)] += 1
        alphas.setdefault(part, Counter())[f"{module.alpha:g}"] += 1
        kind = "conv" if module.is_conv else "linear"
        largest[kind] = max(largest.get(kind, 0), module.rank, module.full_rank)
    return {
        "path": str(lora.path),
        "size_bytes": lora.size_bytes,
        "family": lora.family,
        "family_title": FAMILIES[lora.family].title if lora.family in FAMILIES else None,
        "network_types": dict(lora.network_types),
        "naming": lora.naming,
        "dtype": lora.dtype,
        "modules": dict(modules),
        "dims": {part: dict(counts) for part, counts in dims.items()},
        "alphas": {part: dict(counts) for part, counts in alphas.items()},
        "largest": largest,
        "trigger_words": trigger_words(lora.metadata),
        "tags": common_tags(lora.metadata),
        "training": training_in_words(lora.metadata),
        "hashes": stated,
        "unusable": {"resize": [*unfit, *dora], "merge": unfit},
        "problems": [*_odd_contents(lora), *_odd_end(lora), *_untrue(lora), *dora,
                     *_odd_alphas(lora), *unfit, *_zeros(lora, untrained),
                     *_wrong_hashes(stated)],
    }  # fmt: skip


def part_of(module: LoraModule) -> str:
    """text_encoder, unet_linear, unet_conv (1x1) or unet_conv_3x3."""
    if not module.name.startswith("lora_unet_"):
        return "text_encoder"
    if not module.is_conv:
        return "unet_linear"
    return "unet_conv_3x3" if module.is_conv_3x3 else "unet_conv"


def check_hashes(lora: LoraFile) -> dict[str, dict[str, Any]]:
    """{name: {"stated", "ok"}} for the hashes of the weights that the metadata state."""
    stated = {key: lora.metadata[key] for key in HASHES if lora.metadata.get(key)}
    if not stated:
        return {}
    true = file_hashes(lora.path, read_header(lora.path), lora.metadata)
    return {key: {"stated": value, "ok": value == true[key]} for key, value in stated.items()}


def _wrong_hashes(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    if "sshs_model_hash" in found and not found["sshs_model_hash"]["ok"]:
        yield ("The hash in its metadata is not that of its weights: they were changed after it "
               "was saved, or the file is damaged.")  # fmt: skip


def _odd_contents(lora: LoraFile) -> Iterator[str]:
    if lora.family is None:
        yield "It is not clear what kind of model this LoRA was made for."
    if lora.others:
        yield (f"It holds tensors that belong to no layer, such as {lora.others[0]} "
               f"({len(lora.others)} in all).")  # fmt: skip
    if lora.dtype not in USUAL_DTYPES:
        yield f"Its numbers are in {lora.dtype}, which few programs read."


def _odd_end(lora: LoraFile) -> Iterator[str]:
    """Bytes behind the tensors, which strict readers refuse."""
    if read_head(lora.path).layout == "ckpt":
        return
    header = read_header(lora.path)
    end = header.data_start + max(info.end for info in header.tensors.values())
    if header.file_size > end:
        yield (f"{header.file_size - end:,} bytes behind its numbers belong to nothing: some "
               "programs refuse such a file. Resize it to its own size to mend that.")  # fmt: skip


def _untrue(lora: LoraFile) -> Iterator[str]:
    """What the metadata say and the tensors belie."""
    stated = stated_family(lora.metadata)
    if stated and lora.family and stated != lora.family:
        yield (f"Its metadata say that it is for {FAMILIES[stated].title}, and its layers that it "
               f"is for {FAMILIES[lora.family].title}.")  # fmt: skip
    dim = lora.metadata.get("ss_network_dim", "")
    ranks = {module.rank for module in lora.modules.values()}
    if dim.isdigit() and int(dim) not in ranks:
        largest, smallest = max(ranks), min(ranks)
        true = f"{largest}" if largest == smallest else f"{smallest} to {largest}"
        yield f"Its metadata say that its dim is {dim}, and it is {true}."


def _dora(lora: LoraFile) -> Iterator[str]:
    if "dora" in lora.network_types:
        yield ("It is a DoRA: not every program reads those. It can be merged into a checkpoint, "
               "but neither made smaller nor merged with other LoRAs.")  # fmt: skip


def _other_kinds(lora: LoraFile) -> Iterator[str]:
    kinds = [kind for kind in (*OTHER_TYPES, "unknown") if kind in lora.network_types]
    for kind in kinds:
        yield (f"It has layers of a kind ({kind}) that cannot be resized or merged here: "
               f"{lora.network_types[kind]}.")  # fmt: skip
    if not kinds:  # a layer of a known kind may still have a part that is none of it
        try:
            for module in lora.modules.values():
                module.check_kind()
        except SuiteError as error:
            yield str(error)


def _odd_alphas(lora: LoraFile) -> Iterator[str]:
    modules = [one for one in lora.modules.values() if one.network_type in ("lora", "tucker")]
    missing = sum("alpha" not in module.parts for module in modules)
    if missing and lora.naming == "kohya":
        yield (f"Layers without an alpha: {missing} of {len(lora.modules)}; programs then take the "
               "dim for it.")  # fmt: skip
    large = [module for module in modules if module.alpha > module.rank]
    if large:
        yield (f"It is stronger than usual: an alpha is above its dim, such as {large[0].alpha:g} "
               f"with dim {large[0].rank} (layers: {len(large)}).")  # fmt: skip


def _odd_numbers(lora: LoraFile) -> tuple[list[str], list[str]]:
    """The layers with values that are not numbers, and those that are zero."""
    broken, untrained = [], []
    for name, module in lora.modules.items():
        try:
            parts = {part: module.read(part) for part in module.parts if part != "alpha"}
        except SuiteError:
            broken.append(name)
            continue
        if any(part in parts and not np.any(parts[part]) for part in LAST_FACTORS):
            untrained.append(name)
    return broken, untrained


def _damage(broken: Sequence[str]) -> Iterator[str]:
    if broken:
        yield (f"It is damaged: {broken[0]} holds values that are not numbers (such layers: "
               f"{len(broken)}).")  # fmt: skip


def _zeros(lora: LoraFile, untrained: Sequence[str]) -> Iterator[str]:
    if untrained and len(untrained) == len(lora.modules):
        yield "All layers are zero and do nothing: they were never trained."
    elif untrained:
        yield f"Layers that are zero and do nothing, as they were never trained: {len(untrained)}."
