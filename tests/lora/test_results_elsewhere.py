"""Resized and merged files in diffusers: every layer gets the ΔW that the file holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from diffusers import StableDiffusionPipeline
from diffusers.training_utils import _collate_lora_metadata
from lora_models import build_text_encoders, build_unet
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from random_loras import KINDS, read_deltas
from test_loading_elsewhere import pipeline_of
from test_lora_kinds import parts_for

from scripts.core.events import Control
from scripts.lora.merge import merge_loras
from scripts.lora.modules import open_lora
from scripts.lora.ranks import Size
from scripts.lora.resize import resize_lora
from scripts.lora.targets import text_encoder_targets, unet_targets
from scripts.lora.tensor_files import write_tensors
from scripts.settings.merge import read_merge_settings

UNET = build_unet("tiny_sd15", "meta")
ENCODERS = build_text_encoders("tiny_sd15", "meta")
TARGETS = [*text_encoder_targets(ENCODERS), *unet_targets(UNET, "sd1")]


def write_lora(
    path: Path,
    dim_of: Callable[[int], int],
    alpha_of: Callable[[int], float],
    keep: Callable[[str], bool] = lambda name: True,
    kind: str = "lora",
) -> Path:
    """A LoRA for the tiny model; `dim_of` the layer's number and `alpha_of` its dim."""
    generator = np.random.default_rng(len(path.name))
    state = {}
    for number, target in enumerate(TARGETS):
        if not keep(target.name):
            continue
        shape, dim = tuple(target.layer.weight.shape), dim_of(number)
        if kind == "lora":
            ones = [1] * len(shape[2:])
            parts = {"lora_up.weight": generator.standard_normal((shape[0], dim, *ones)),
                     "lora_down.weight": generator.standard_normal((dim, *shape[1:]))}  # fmt: skip
        else:
            parts = parts_for(shape, kind, generator)
        state |= {f"{target.name}.{part}": torch.from_numpy(array).float().contiguous()
                  for part, array in parts.items()}  # fmt: skip
        state[f"{target.name}.alpha"] = torch.tensor(float(alpha_of(dim)))
    safetensors.torch.save_file(state, path, {"ss_base_model_version": "sd_v1"})
    return path


def resized(source: Path, size: Size) -> Path:
    result = source.with_name("resized.safetensors")
    with open_lora(source) as lora:
        (done,) = resize_lora(lora, [size], "F32", lambda event: None, Control())
        write_tensors(result, done.tensors, done.metadata)
    return result


def merged(sources: list[Path], new_rank: str) -> Path:
    result = sources[0].with_name("merged.safetensors")
    values = {"models": sources, "ratios": [0.7, -0.4][: len(sources)], "new_rank": new_rank,
              "save_to": result, "save_precision": "float"}  # fmt: skip
    settings, _ = read_merge_settings(values)
    return merge_loras(settings, lambda event: None, Control())


def loads_as_it_is(path: Path) -> None:
    """Every layer of the file is in the pipeline, with its ΔW."""
    changes = read_deltas(path)
    torch.manual_seed(0)
    unet, encoders = build_unet("tiny_sd15"), build_text_encoders("tiny_sd15")
    pipeline_of(unet, encoders).load_lora_weights(str(path))
    places = [("lora_unet_", unet), ("lora_te_text_model_", encoders[0]), ("lora_te_", encoders[0])]
    layers = {prefix + name.replace(".", "_"): layer for prefix, model in places
              for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}  # fmt: skip
    assert changes and changes.keys() <= layers.keys()
    for name, (change, _, _) in changes.items():
        (adapter,) = layers[name].lora_A.keys()
        loaded = layers[name].get_delta_weight(adapter).detach().numpy()
        np.testing.assert_allclose(loaded.reshape(change.shape), change,
                                   atol=1e-5 * np.abs(change).max(), err_msg=name)  # fmt: skip


def of_each_layer(number: int) -> int:
    return 2 + number % 4


@pytest.mark.parametrize("size", [Size(3), Size(3, 2), Size(4, None, "sv_fro", 0.9)])
def test_a_resized_lora_of_different_dims_and_one_alpha(size, tmp_path):
    source = write_lora(tmp_path / "a.safetensors", of_each_layer, lambda dim: 1)
    loads_as_it_is(source)
    loads_as_it_is(resized(source, size))


@pytest.mark.parametrize("new_rank", ["exact", "auto", "5"])
def test_a_merge_of_loras_with_different_layers_dims_and_alphas(new_rank, tmp_path):
    sources = [
        write_lora(tmp_path / "a.safetensors", lambda number: 4, lambda dim: 2),
        write_lora(tmp_path / "bc.safetensors", of_each_layer, lambda dim: dim,
                   lambda name: "attn1" in name or "_te_" in name),
    ]  # fmt: skip
    loads_as_it_is(merged(sources, new_rank))


@pytest.mark.parametrize("kind", sorted(set(KINDS)))
def test_results_of_every_kind(kind, tmp_path):
    """Resized, and merged with an ordinary LoRA."""
    source = write_lora(tmp_path / "a.safetensors", lambda number: 3, lambda dim: 2, kind=kind)
    loads_as_it_is(resized(source, Size(2)))
    other = write_lora(tmp_path / "other.safetensors", lambda number: 4, lambda dim: 1)
    loads_as_it_is(merged([source, other], "exact"))


def test_results_of_a_lora_that_diffusers_saved(tmp_path):
    torch.manual_seed(0)
    unet = build_unet("tiny_sd15")
    unet.add_adapter(LoraConfig(r=4, lora_alpha=8, target_modules=["to_q", "to_k"],
                                init_lora_weights=False))  # fmt: skip
    StableDiffusionPipeline.save_lora_weights(
        str(tmp_path), unet_lora_layers=get_peft_model_state_dict(unet),
        **_collate_lora_metadata({"unet": unet}),
    )  # fmt: skip
    source = tmp_path / "pytorch_lora_weights.safetensors"
    with open_lora(source) as lora:
        assert {module.alpha for module in lora.modules.values()} == {8}
    loads_as_it_is(resized(source, Size(2)))
    other = write_lora(tmp_path / "other.safetensors", lambda number: 4, lambda dim: 1)
    loads_as_it_is(merged([source, other], "exact"))
