"""Random LoRA files with the real layer shapes of Stable Diffusion 1.5 and XL, for the benchmarks
of the LoRA tools. NumPy, no torch.

    shapes = layer_shapes("sd1")                  # name -> shape of the weight
    make_lora(path, "sd1", dim=128, alpha=64, seed=1)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scripts.lora.names import OriginalLayout, original_path, text_encoder_prefix
from scripts.lora.number_formats import to_precision
from scripts.lora.tensor_files import write_tensors
from scripts.models.families import FAMILIES
from scripts.models.tokenizer import BUNDLED

Shape = tuple[int, ...]


def layer_shapes(family: str, conv: bool = False, text_encoders: bool = True) -> dict[str, Shape]:
    """The shape of the weight of each layer that a LoRA has, by its name in a file.

    SD1.5: 72 layers of the text encoder and 192 of the U-Net, with `conv` 278. SDXL: 264 and 722.
    """
    shapes: dict[str, Shape] = {}
    if text_encoders:
        count = FAMILIES[family].text_encoder_count
        for index, part in enumerate(("text_encoder", "text_encoder_2")[:count]):
            shapes |= _text_shapes(text_encoder_prefix(index, count), _config(family, part))
    config = _config(family, "unet")
    layout = OriginalLayout.of(config) if family == "sdxl" else None
    for path, shape in _unet_shapes(config, conv):
        name = path if layout is None else original_path(path, layout)
        shapes[f"lora_unet_{name.replace('.', '_')}"] = shape
    return shapes


def _config(family: str, part: str) -> dict:
    return json.loads((BUNDLED / family / f"{part}.json").read_text(encoding="utf-8"))


def _text_shapes(prefix: str, config: dict) -> dict[str, Shape]:
    width, inner = config["hidden_size"], config["intermediate_size"]
    shapes = {}
    for number in range(config["num_hidden_layers"]):
        layer = f"{prefix}_text_model_encoder_layers_{number}"
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{layer}_self_attn_{projection}"] = (width, width)
        shapes[f"{layer}_mlp_fc1"], shapes[f"{layer}_mlp_fc2"] = (inner, width), (width, inner)
    return shapes


def _unet_shapes(config: dict, conv: bool) -> Iterator[tuple[str, Shape]]:
    channels, layers = config["block_out_channels"], config["layers_per_block"]
    depths = config.get("transformer_layers_per_block", 1)
    depths = [depths] * len(channels) if isinstance(depths, int) else depths
    skips = [channels[0]]
    width = channels[0]
    for block, out in enumerate(channels):
        for layer in range(layers):
            yield from _level(config, f"down_blocks.{block}", layer, width, out, depths[block],
                              "CrossAttn" in config["down_block_types"][block], conv)  # fmt: skip
            width = out
            skips.append(width)
        if block < len(channels) - 1:
            if conv:
                yield f"down_blocks.{block}.downsamplers.0.conv", (out, out, 3, 3)
            skips.append(width)
    for layer in range(2):
        yield from _level(config, "mid_block", layer, width, width, depths[-1], layer == 0, conv)
    for block, out in enumerate(reversed(channels)):
        depth = depths[len(channels) - 1 - block]
        for layer in range(layers + 1):
            yield from _level(config, f"up_blocks.{block}", layer, width + skips.pop(), out, depth,
                              "CrossAttn" in config["up_block_types"][block], conv)  # fmt: skip
            width = out
        if conv and block < len(channels) - 1:
            yield f"up_blocks.{block}.upsamplers.0.conv", (out, out, 3, 3)


def _level(
    config: dict, block: str, layer: int, width: int, out: int, depth: int, attention: bool,
    conv: bool,
) -> Iterator[tuple[str, Shape]]:  # fmt: skip
    """A resnet, if convolutions are wanted, and the attention behind it."""
    if conv:
        resnet = f"{block}.resnets.{layer}"
        yield f"{resnet}.conv1", (out, width, 3, 3)
        yield f"{resnet}.time_emb_proj", (out, 4 * config["block_out_channels"][0])
        yield f"{resnet}.conv2", (out, out, 3, 3)
        if width != out:
            yield f"{resnet}.conv_shortcut", (out, width, 1, 1)
    if not attention:
        return
    path = f"{block}.attentions.{layer}"
    square = (out, out) if config.get("use_linear_projection") else (out, out, 1, 1)
    yield f"{path}.proj_in", square
    yield f"{path}.proj_out", square
    for number in range(depth):
        inner = f"{path}.transformer_blocks.{number}"
        for attention_number in (1, 2):
            source = out if attention_number == 1 else config["cross_attention_dim"]
            for part, columns in (("to_q", out), ("to_k", source), ("to_v", source),
                                  ("to_out.0", out)):  # fmt: skip
                yield f"{inner}.attn{attention_number}.{part}", (out, columns)
        yield f"{inner}.ff.net.0.proj", (8 * out, out)
        yield f"{inner}.ff.net.2", (out, 4 * out)


def make_lora(
    path: Path, family: str, dim: int, alpha: float, conv_dim: int | None = None,
    text_encoders: bool = True, seed: int = 0, precision: str = "fp16",
) -> Path:  # fmt: skip
    """Write a LoRA with random factors whose columns get smaller, as trained ones do.

    With `conv_dim` it is a LoCon, whose 3x3 convolutions have that dim.
    """
    generator = np.random.default_rng(seed)
    tensors = {}
    for name, shape in layer_shapes(family, conv_dim is not None, text_encoders).items():
        rank = conv_dim if conv_dim and shape[2:] == (3, 3) else dim
        decay = np.exp(-np.arange(rank) / (rank / 6)).astype(np.float32)
        up = generator.standard_normal((shape[0], rank), np.float32) * (0.02 * decay)
        down = generator.standard_normal((rank, *shape[1:]), np.float32) * 0.05
        tensors[f"{name}.alpha"] = to_precision(np.float32(alpha), precision)
        tensors[f"{name}.lora_down.weight"] = to_precision(down, precision)
        up = up.reshape(shape[0], rank, *[1] * len(shape[2:]))
        tensors[f"{name}.lora_up.weight"] = to_precision(up, precision)
    metadata = {
        "ss_network_module": "networks.lora", "ss_network_dim": str(dim),
        "ss_network_alpha": str(float(alpha)),
        "ss_base_model_version": FAMILIES[family].base_model_version,
    }  # fmt: skip
    write_tensors(path, tensors, metadata)
    return path
