"""Random small LoRA files of every kind, and their ΔW in float64, by formulas of their own.

    truth = write_random_lora(path, generator)      # name -> ΔW (out, in[, kh, kw])

ΔW comes from the numbers as they are stored, so it is what the file says to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

LINEAR = [
    "lora_te_text_model_encoder_layers_0_mlp_fc1",
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
    "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0",
    "lora_unet_up_blocks_1_attentions_2_transformer_blocks_0_ff_net_0_proj",
]
CONV = ["lora_unet_down_blocks_1_attentions_0_proj_in",
        "lora_unet_up_blocks_0_resnets_1_conv_shortcut"]  # fmt: skip
WIDE = ["lora_unet_down_blocks_0_resnets_0_conv1", "lora_unet_up_blocks_2_upsamplers_0_conv"]
PATHS = {  # the same layers as PEFT and diffusers name them
    LINEAR[0]: "text_encoder.text_model.encoder.layers.0.mlp.fc1",
    LINEAR[1]: "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    LINEAR[2]: "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0",
    LINEAR[3]: "unet.up_blocks.1.attentions.2.transformer_blocks.0.ff.net.0.proj",
    CONV[0]: "unet.down_blocks.1.attentions.0.proj_in",
    CONV[1]: "unet.up_blocks.0.resnets.1.conv_shortcut",
    WIDE[0]: "unet.down_blocks.0.resnets.0.conv1",
    WIDE[1]: "unet.up_blocks.2.upsamplers.0.conv",
}
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
KINDS = ("lora", "lora", "tucker", "loha", "loha_tucker", "lokr", "lokr_whole", "lokr_tucker",
         "diff")  # fmt: skip
METADATA = {"ss_base_model_version": "sd_v1", "ss_network_dim": "8",
            "ss_training_comment": "random"}  # fmt: skip

Parts = dict[str, np.ndarray]


def write_random_lora(
    path: Path,
    generator: np.random.Generator,
    naming: str = "kohya",
    kinds: tuple = KINDS,
    sides: Mapping[str, tuple[int, int]] | None = None,
) -> dict[str, np.ndarray]:
    """Write a file with some layers of random kinds, sizes, alphas and number format.

    `sides` gives (out, in) by name where they are not to be random.
    """
    dtype = DTYPES[generator.integers(len(DTYPES))]
    names = [*LINEAR, *CONV, *WIDE]
    chosen = generator.permutation(names)[: generator.integers(2, len(names) + 1)]
    state, truth = {}, {}
    for name in chosen:
        kind = "lora" if naming != "kohya" else str(generator.choice(kinds))
        parts, alpha = random_parts(str(name), kind, generator, sides)
        tensors = {key: torch.from_numpy(array).to(dtype) for key, array in parts.items()}
        stored = {key: tensor.double().numpy() for key, tensor in tensors.items()}
        if alpha is not None:
            tensors["alpha"] = torch.tensor(alpha).to(dtype)
            alpha = float(tensors["alpha"])
        truth[str(name)] = delta(kind, stored, alpha)
        state |= {key_of(str(name), part, naming): tensor for part, tensor in tensors.items()}
    if path.suffix == ".pt":
        torch.save(state, path)
    else:
        safetensors.torch.save_file(state, path, METADATA)
    return truth


def key_of(name: str, part: str, naming: str) -> str:
    if naming == "kohya":
        return f"{name}.{part}"
    ending = {
        "peft": {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"},
        "diffusers": {"lora_down.weight": "lora.down.weight", "lora_up.weight": "lora.up.weight"},
    }[naming].get(part, part)
    return f"{'base_model.model.' if naming == 'peft' else ''}{PATHS[name]}.{ending}"


def kernel_of(name: str) -> tuple[int, ...]:
    return (3, 3) if name in WIDE else (1, 1) if name in CONV else ()


def random_parts(
    name: str,
    kind: str,
    generator: np.random.Generator,
    sides: Mapping[str, tuple[int, int]] | None = None,
) -> tuple[Parts, float | None]:
    """The parts of a layer of this kind, and its alpha, None where it is missing."""
    wide, kernel = name in WIDE, kernel_of(name)
    out, rest = sides[name] if sides else random_sides(generator)
    rank = int(generator.integers(1, 9))
    if "tucker" in kind and not wide:
        kind = {"tucker": "lora", "loha_tucker": "loha", "lokr_tucker": "lokr"}[kind]
    area = 9 if wide else 1

    def draw(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape) * generator.choice([0.05, 0.3, 1.0])

    if kind == "lora":
        parts = {"lora_up.weight": draw(out, rank, *[1] * len(kernel)),
                 "lora_down.weight": draw(rank, rest, *kernel)}  # fmt: skip
    elif kind == "tucker":
        parts = {"lora_up.weight": draw(out, rank, 1, 1), "lora_mid.weight": draw(rank, rank, 3, 3),
                 "lora_down.weight": draw(rank, rest, 1, 1)}  # fmt: skip
    elif kind == "loha":
        rank = min(rank, 4)
        parts = {"hada_w1_a": draw(out, rank), "hada_w1_b": draw(rank, rest * area),
                 "hada_w2_a": draw(out, rank), "hada_w2_b": draw(rank, rest * area)}  # fmt: skip
    elif kind == "loha_tucker":
        rank = min(rank, 3)
        parts = {f"hada_{part}": array for number in "12" for part, array in (
            (f"t{number}", draw(rank, rank, 3, 3)), (f"w{number}_a", draw(rank, out)),
            (f"w{number}_b", draw(rank, rest)))}  # fmt: skip
    elif kind == "lokr":
        rank = min(rank, 3)
        parts = {"lokr_w1": draw(4, 2), "lokr_w2_a": draw(out // 4, rank),
                 "lokr_w2_b": draw(rank, rest // 2 * area)}  # fmt: skip
    elif kind == "lokr_whole":
        parts = {"lokr_w1_a": draw(2, 1), "lokr_w1_b": draw(1, 4),
                 "lokr_w2": draw(out // 2, rest // 4, *kernel)}  # fmt: skip
        rank = 1
    elif kind == "lokr_tucker":
        rank = min(rank, 3)
        parts = {"lokr_w1": draw(2, 2), "lokr_t2": draw(rank, rank, 3, 3),
                 "lokr_w2_a": draw(rank, out // 2), "lokr_w2_b": draw(rank, rest // 2)}  # fmt: skip
    else:
        return {"diff": draw(out, rest, *kernel)}, None
    alpha = generator.choice([0.0, 1.0, rank / 2, float(rank), 3.7, -1.0])
    return parts, None if generator.random() < 0.15 else float(alpha)


def random_sides(generator: np.random.Generator) -> tuple[int, int]:
    """(out, in) of a layer."""
    return int(generator.integers(2, 5)) * 4, int(generator.integers(2, 6)) * 4


def delta(kind: str, parts: Parts, alpha: float | None) -> np.ndarray:
    """ΔW in float64, from the definitions of LyCORIS, in full size."""
    if "diff" in parts:
        return parts["diff"]
    if "lora_up.weight" in parts:
        up, down = parts["lora_up.weight"], parts["lora_down.weight"]
        rank = len(down)
        if "lora_mid.weight" in parts:
            change = np.einsum("op,pqhw,qi->oihw", up[:, :, 0, 0], parts["lora_mid.weight"],
                               down[:, :, 0, 0])  # fmt: skip
        else:
            change = np.tensordot(up.reshape(len(up), rank), down, axes=1)
    elif "hada_w1_a" in parts:
        rank = len(parts["hada_w1_b"])
        change = _product(parts, "hada_w1", "hada_t1") * _product(parts, "hada_w2", "hada_t2")
    else:
        rank = 0
        sides = []
        for number in "12":
            if f"lokr_w{number}" in parts:
                sides.append(parts[f"lokr_w{number}"])
            else:
                rank = len(parts[f"lokr_w{number}_b"])
                sides.append(_product(parts, f"lokr_w{number}", f"lokr_t{number}"))
        one, two = sides
        change = np.kron(one.reshape(*one.shape, *[1] * (two.ndim - 2)), two)
    return change * ((alpha or rank) / rank if rank else 1.0)


def _product(parts: Parts, name: str, core: str) -> np.ndarray:
    left, right = parts[f"{name}_a"], parts[f"{name}_b"]
    if core in parts:
        return np.einsum("po,pqhw,qi->oihw", left, parts[core], right)
    return left @ right


def flat(change: np.ndarray) -> np.ndarray:
    """ΔW as a matrix (out, in·kh·kw)."""
    return change.reshape(len(change), -1)


def best_error(change: np.ndarray, rank: int) -> float:
    """The Frobenius norm of what no approximation of this rank can keep (Eckart-Young)."""
    values = np.linalg.svd(flat(change), compute_uv=False)
    return float(np.sqrt(np.sum(values[rank:] ** 2)))


def read_deltas(path: Path) -> dict[str, tuple[np.ndarray, int, float]]:
    """name -> (ΔW in float64, rank, alpha) of a plain LoRA file, with no code of the suite."""
    state = safetensors.torch.load_file(path)
    found = {}
    for key in state:
        if key.endswith(".lora_down.weight"):
            name = key.partition(".")[0]
            parts = {part: state[f"{name}.{part}"].double().numpy()
                     for part in ("lora_up.weight", "lora_down.weight")}  # fmt: skip
            alpha = float(state[f"{name}.alpha"])
            change = delta("lora", parts, alpha)
            found[name] = change, len(parts["lora_down.weight"]), alpha
    return found
