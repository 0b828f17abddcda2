"""Write a Stable Diffusion 1.5 of full size with random weights, to measure with.

    python -m benchmarks.random_model [FOLDER]

The file has the single-file layout of the first Stable Diffusion code, in fp16: 1.07 thousand
million weights, 2.1 GB. It draws nothing that anyone would want to see, but it costs the same time
and memory as a real one. Weights are written one at a time, so that little memory is needed, and
the same seed gives the same file. A file that is there already is kept.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from scripts.core.files import CACHE_FOLDER, replace_atomically
from scripts.models.configs import bundled_config
from scripts.models.families import SD1
from scripts.models.original_layout import text_sources, unet_sources, vae_sources
from scripts.models.shapes import UNET_PREFIX, VAE_PREFIX, TextShape

TEXT_PREFIX = "cond_stage_model.transformer.text_model."
SEED = 1


def main() -> int:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.random_model", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=CACHE_FOLDER / "benchmarks",
                        help="where to put it; by default the project's cache folder")  # fmt: skip
    path = random_model(parser.parse_args().folder)
    print(f"{path.stat().st_size / 1e9:.2f} GB:")
    print(path)
    return 0


def random_model(folder: Path, seed: int = SEED) -> Path:
    """The path of the random model in `folder`, where it is written unless it is there."""
    path = folder / f"random-sd15-{seed}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shapes = full_size_shapes()
        with replace_atomically(path) as unfinished:
            write_streamed(unfinished, shapes, random_tensors(shapes, seed))
    return path


def full_size_shapes() -> dict[str, tuple[int, ...]]:
    """The name in the single file and the shape of each weight of Stable Diffusion 1.5."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    configs = {part: bundled_config(SD1, part) for part in ("unet", "vae", "text_encoder")}
    unet, vae, text = configs["unet"], configs["vae"], configs["text_encoder"]
    with torch.device("meta"):
        models = {
            "text_encoder": CLIPTextModel(CLIPTextConfig(**text)),
            "unet": UNet2DConditionModel.from_config(unet),
            "vae": AutoencoderKL.from_config(vae),
        }
    shapes = {
        part: {name: tuple(weight.shape) for name, weight in model.named_parameters()}
        for part, model in models.items()
    }
    attention = frozenset(
        number for number, kind in enumerate(unet["up_block_types"]) if "CrossAttn" in kind
    )
    text_shape = TextShape(
        width=text["hidden_size"], layers=text["num_hidden_layers"],
        mlp_width=text["intermediate_size"], heads=text["num_attention_heads"],
        prefix=TEXT_PREFIX, open_clip=False,
    )  # fmt: skip
    sources = {
        "text_encoder": text_sources(shapes["text_encoder"], text_shape),
        "unet": unet_sources(shapes["unet"], unet["layers_per_block"], attention, UNET_PREFIX),
        "vae": vae_sources(shapes["vae"], len(vae["block_out_channels"]), VAE_PREFIX),
    }
    return {
        source.name: _shape_in_file(source.name, shapes[part][parameter])
        for part in sources
        for parameter, source in sources[part].items()
    }


def _shape_in_file(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The VAE's attention was made of 1 x 1 convolutions."""
    return (*shape, 1, 1) if ".attn_1." in name and len(shape) == 2 else shape


def random_tensors(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Iterator[Tensor]:
    """A weight for each shape: normal with variance 1 / inputs, norms 1, biases 0;
    embeddings with the spread of the real ones.

    So every layer keeps about the size of its input, and no number comes near the end of fp16.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, shape in shapes.items():
        if len(shape) == 1:
            yield torch.full(shape, 0.0 if name.endswith("bias") else 1.0)
            continue
        inputs = torch.Size(shape[1:]).numel()
        spread = 0.02 if "embedding" in name else inputs**-0.5
        yield torch.empty(shape).normal_(0, spread, generator=generator)


def write_streamed(
    path: Path, shapes: Mapping[str, tuple[int, ...]], tensors: Iterator[Tensor]
) -> None:
    """Write a safetensors file in fp16, one tensor at a time, in the order of `shapes`."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            file.write(memoryview(tensor.half().flatten().view(torch.uint8).numpy()))


if __name__ == "__main__":
    sys.exit(main())
