"""Random files of every kind: the result is the best that its rank allows, and says what it is."""

from __future__ import annotations

import numpy as np
import pytest
from random_loras import best_error, flat, kernel_of, read_deltas, write_random_lora

from scripts.core.events import Control
from scripts.lora.modules import open_lora
from scripts.lora.ranks import Size
from scripts.lora.resize import resize_lora
from scripts.lora.tensor_files import write_tensors

ROUNDING = {"F32": 2e-7, "F16": 2e-3, "BF16": 1.2e-2}  # of ‖ΔW‖
FILES = [("kohya", ".safetensors")] * 5 + [("kohya", ".pt"), ("peft", ".safetensors"),
         ("diffusers", ".safetensors")]  # fmt: skip


def resize(path, size: Size, dtype: str, output):
    with open_lora(path) as lora:
        (resized,) = resize_lora(lora, [size], dtype, lambda event: None, Control())
        write_tensors(output, resized.tensors, resized.metadata)
        return resized


@pytest.mark.parametrize("seed", range(25))
def test_eight_files_each(seed, tmp_path):
    generator = np.random.default_rng(seed)
    for naming, ending in FILES:
        path, output = tmp_path / f"in{ending}", tmp_path / "out.safetensors"
        truth = write_random_lora(path, generator, naming)
        with open_lora(path) as lora:
            assert set(lora.modules) == set(truth) and not lora.others
            modules = lora.modules
            for name, module in modules.items():
                up, down, scale = module.factors()
                assert module.shape[2:] == kernel_of(name)
                made = scale * up.astype(np.float64) @ down.astype(np.float64)
                np.testing.assert_allclose(made, flat(truth[name]), rtol=1e-4,
                                           atol=1e-6 * np.abs(truth[name]).max())  # fmt: skip
            linear = [module for module in modules.values() if not module.is_conv]
            largest = max(module.full_rank for module in linear or modules.values())
            scales = {name: module.scale for name, module in modules.items()}
            alphas = {True: set(), False: set()}
            for module in modules.values():
                if module.layer.kind == "lora":
                    alphas[module.is_conv].add(module.alpha)
        size = Size(int(generator.integers(1, largest + 1)))
        dtype = str(generator.choice(["F32", "F32", "F16", "BF16"]))
        resized = resize(path, size, dtype, output)
        found = read_deltas(output)
        results = {True: set(), False: set()}
        assert set(found) == set(truth)
        for name, (change, rank, alpha) in found.items():
            whole = np.linalg.norm(truth[name])
            assert rank <= max(size.rank, 1)
            assert change.shape[2:] == kernel_of(name)
            error = np.linalg.norm(flat(change) - flat(truth[name]))
            best = best_error(truth[name], rank)
            assert rank == size.rank or best_error(truth[name], rank) < 1e-6 * whole
            assert error <= best + (1e-6 + ROUNDING[dtype]) * whole, (seed, name, dtype)
            is_conv = len(change.shape) == 4
            results[is_conv].add(alpha)
            if len(alphas[is_conv]) > 1:
                near = 1e-6 if dtype == "F32" else 1e-2
                assert alpha / rank == pytest.approx(scales[name], rel=near)
            share = np.sqrt(max(0.0, 1 - (best / whole) ** 2))
            assert resized.kept_of[name] == pytest.approx(share, abs=1e-5)
        for is_conv, before in alphas.items():
            assert len(before) > 1 or len(results[is_conv]) <= 1


@pytest.mark.parametrize("naming", ["kohya", "peft", "diffusers"])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_to_the_same_size_again_changes_no_bit(dtype, naming, tmp_path):
    generator = np.random.default_rng(5)
    for _ in range(5):
        first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
        write_random_lora(tmp_path / "in.safetensors", generator, naming)
        once = resize(tmp_path / "in.safetensors", Size(2), dtype, first)
        again = resize(first, Size(2), dtype, second)
        assert {key: bytes(tensor.data) for key, tensor in once.tensors.items()} == {
            key: bytes(tensor.data) for key, tensor in again.tensors.items()
        }
