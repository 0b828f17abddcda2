"""Write a Stable Diffusion model of full size with random weights, to measure with.

    python -m benchmarks.random_model [FOLDER] [--family sd1|sdxl]

The file has the single-file layout of the first Stable Diffusion code, in fp16: 2.1 GB for
SD1.5, 6.9 GB for SDXL. It draws nothing that anyone would want to see, but it costs the same time
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
from torch import Tensor, nn

from scripts.core.files import CACHE_FOLDER, replace_atomically
from scripts.models.configs import bundled_config
from scripts.models.families import SD1, SDXL, Family
from scripts.models.original_layout import Source, text_sources, unet_sources, vae_sources
from scripts.models.shapes import TEXT_PLACES, UNET_PREFIX, VAE_PREFIX, TextShape

FAMILIES = {"sd1": (SD1, "sd15"), "sdxl": (SDXL, "sdxl")}  # the family, its name in the file's
SEED = 1


def main() -> int:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.random_model", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=CACHE_FOLDER / "benchmarks",
                        help="where to put it; by default the project's cache folder")  # fmt: skip
    parser.add_argument("--family", choices=FAMILIES, default="sd1", help="by default sd1")
    given = parser.parse_args()
    path = random_model(given.folder, given.family)
    print(f"{path.stat().st_size / 1e9:.2f} GB:")
    print(path)
    return 0


def random_model(folder: Path, family: str = "sd1", seed: int = SEED) -> Path:
    """The path of the random model in `folder`, where it is written unless it is there."""
    kind, name = FAMILIES[family]
    path = folder / f"random-{name}-{seed}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shapes = full_size_shapes(kind)
        with replace_atomically(path) as unfinished:
            write_streamed(unfinished, shapes, random_tensors(shapes, seed))
    return path


def full_size_shapes(family: Family) -> dict[str, tuple[int, ...]]:
    """The name in the single file and the shape of each weight of a model of the family."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    unet, vae = bundled_config(family, "unet"), bundled_config(family, "vae")
    attention = frozenset(
        number for number, kind in enumerate(unet["up_block_types"]) if "CrossAttn" in kind
    )
    with torch.device("meta"):
        shapes = _shapes(UNet2DConditionModel.from_config(unet))
        vae_shapes = _shapes(AutoencoderKL.from_config(vae))
    found: dict[str, tuple[int, ...]] = {}
    for index in range(family.text_encoder_count):
        found |= _text_encoder(family, index)
    layers, levels = unet["layers_per_block"], len(vae["block_out_channels"])
    found |= _in_file(shapes, unet_sources(shapes, layers, attention, UNET_PREFIX))
    return found | _in_file(vae_shapes, vae_sources(vae_shapes, levels, VAE_PREFIX))


def _text_encoder(family: Family, index: int) -> dict[str, tuple[int, ...]]:
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

    config = bundled_config(family, "text_encoder" + ("_2" if index else ""))
    (prefix, *_), _ = TEXT_PLACES[family.name][index]
    open_clip = "transformer." not in prefix
    shape = TextShape(
        width=config["hidden_size"], layers=config["num_hidden_layers"],
        mlp_width=config["intermediate_size"], heads=config["num_attention_heads"],
        prefix=prefix, open_clip=open_clip,
    )  # fmt: skip
    kind = CLIPTextModelWithProjection if open_clip else CLIPTextModel
    with torch.device("meta"):
        shapes = _shapes(kind(CLIPTextConfig(**config)))
    return _in_file(shapes, text_sources(shapes, shape))


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def _in_file(
    shapes: Mapping[str, tuple[int, ...]], sources: Mapping[str, Source]
) -> dict[str, tuple[int, ...]]:
    """What lies in the single file: matrices of q, k and v as one, some turned."""
    found = {}
    for parameter, source in sources.items():
        shape = _shape_in_file(source.name, shapes[parameter])
        if source.third is not None:
            shape = (3 * shape[0], *shape[1:])
        found[source.name] = shape[::-1] if source.transposed else shape
    return found


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
