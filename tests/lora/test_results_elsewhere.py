"""Resized and merged files in diffusers: every layer gets the ΔW that the file holds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import diffusers
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

from scripts.core.events import Control
from scripts.lora.merge import merge_loras
from scripts.lora.modules import open_lora
from scripts.lora.ranks import Size
from scripts.lora.resize import resize_lora
from scripts.lora.targets import text_encoder_targets, unet_targets
from scripts.lora.tensor_files import write_tensors
from scripts.settings.merge import read_merge_settings

pytestmark = pytest.mark.slow

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


def parts_for(shape: tuple[int, ...], kind: str, generator) -> dict[str, np.ndarray]:
    """The parts of a layer of this kind and shape, of rank 2; LoRA where the kind has no form."""
    out, rest, kernel = shape[0], shape[1], shape[2:]
    wide = kernel == (3, 3)

    def draw(*sides: int) -> np.ndarray:
        return generator.standard_normal(sides).astype(np.float32) * 0.3

    if kind == "diff":
        return {"diff": draw(*shape)}
    if kind.startswith("loha"):
        if wide and kind == "loha_tucker":
            return {f"hada_{part}": array for number in "12" for part, array in (
                (f"t{number}", draw(2, 2, 3, 3)), (f"w{number}_a", draw(2, out)),
                (f"w{number}_b", draw(2, rest)))}  # fmt: skip
        columns = rest * int(np.prod(kernel))
        return {f"hada_w{number}_{side}": draw(*sides) for number in "12"
                for side, sides in (("a", (out, 2)), ("b", (2, columns)))}  # fmt: skip
    if kind.startswith("lokr"):
        if wide and kind == "lokr_tucker":
            return {"lokr_w1": draw(2, 2), "lokr_t2": draw(2, 2, 3, 3),
                    "lokr_w2_a": draw(2, out // 2), "lokr_w2_b": draw(2, rest // 2)}  # fmt: skip
        return {"lokr_w1": draw(2, 2), "lokr_w2": draw(out // 2, rest // 2, *kernel)}
    if kind == "tucker" and wide:
        return {"lora_up.weight": draw(out, 3, 1, 1), "lora_mid.weight": draw(3, 3, 3, 3),
                "lora_down.weight": draw(3, rest, 1, 1)}  # fmt: skip
    return {
        "lora_up.weight": draw(out, 3, *[1] * len(kernel)),
        "lora_down.weight": draw(3, *shape[1:]),
    }


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


def loads_as_it_is(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every layer of the file is in the pipeline with its ΔW, and no key is left over."""
    changes = read_deltas(path)
    torch.manual_seed(0)
    unet, encoders = build_unet("tiny_sd15"), build_text_encoders("tiny_sd15")
    pipeline = pipeline_of(unet, encoders)
    diffusers.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        pipeline.load_lora_weights(str(path))
    diffusers.utils.logging.disable_propagation()
    said = [record.getMessage().lower() for record in caplog.records]
    assert not [text for text in said if "key" in text and "safe to ignore" not in text]
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
def test_a_resized_lora_of_different_dims_and_one_alpha(size, tmp_path, caplog):
    source = write_lora(tmp_path / "a.safetensors", of_each_layer, lambda dim: 1)
    loads_as_it_is(source, caplog)
    loads_as_it_is(resized(source, size), caplog)


@pytest.mark.parametrize("new_rank", ["exact", "auto", "5"])
def test_a_merge_of_loras_with_different_layers_dims_and_alphas(new_rank, tmp_path, caplog):
    sources = [
        write_lora(tmp_path / "a.safetensors", lambda number: 4, lambda dim: 2),
        write_lora(tmp_path / "bc.safetensors", of_each_layer, lambda dim: dim,
                   lambda name: "attn1" in name or "_te_" in name),
    ]  # fmt: skip
    loads_as_it_is(merged(sources, new_rank), caplog)


@pytest.mark.parametrize("kind", sorted(set(KINDS)))
def test_results_of_every_kind(kind, tmp_path, caplog):
    """Resized, and merged with an ordinary LoRA."""
    source = write_lora(tmp_path / "a.safetensors", lambda number: 3, lambda dim: 2, kind=kind)
    loads_as_it_is(resized(source, Size(2)), caplog)
    other = write_lora(tmp_path / "other.safetensors", lambda number: 4, lambda dim: 1)
    loads_as_it_is(merged([source, other], "exact"), caplog)


def test_results_of_a_lora_that_diffusers_saved(tmp_path, caplog):
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
    loads_as_it_is(resized(source, Size(2)), caplog)
    other = write_lora(tmp_path / "other.safetensors", lambda number: 4, lambda dim: 1)
    loads_as_it_is(merged([source, other], "exact"), caplog)
