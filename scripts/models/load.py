"""Load the parts of a base model, one at a time and with no network.

    base = recognise(path)
    tokenizers = load_tokenizers(base)
    text_encoders = load_text_encoders(base, torch.float32, device)
    unet = load_unet(base, torch.float32, device)
    vae = load_vae(base, torch.float32, device)

A part is built without memory (on torch's meta device) from the bundled config and the shape that
was recognised; each tensor is then read, brought to its type and device, and put in its place.
Every parameter must be found in the file, and nothing of the part may be left over. Everything is
in evaluation mode and without gradients.

fp16 must not be used on a CPU, where it is forty times slower than fp32; and the VAE of SDXL gives
no numbers (NaN) in fp16: use bfloat16 or float32 for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from scripts.core.errors import SuiteError
from scripts.models.configs import text_config, unet_config, vae_config
from scripts.models.families import SD1
from scripts.models.filling import Device, Part, fill
from scripts.models.lean_imports import unet_class, vae_class
from scripts.models.original_layout import Source, text_sources, unet_sources, vae_sources
from scripts.models.part_files import part_files
from scripts.models.recognise import BaseModel
from scripts.models.shapes import UNET_PREFIX, VAE_PREFIX
from scripts.models.tokenizer import ClipTokenizer
from scripts.models.vae_file import VAEFile, recognise_vae
from scripts.models.weights import Weights, open_weights

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

OLD_VAE_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def load_tokenizers(base: BaseModel) -> list[ClipTokenizer]:
    """The tokenizer of each text encoder; they differ only in their padding."""
    first = ClipTokenizer.load(base.family.pad_ids[0])
    return [first, *(first.with_pad(pad_id) for pad_id in base.family.pad_ids[1:])]


def load_text_encoders(
    base: BaseModel, dtype: torch.dtype = torch.float32, device: Device = "cpu"
) -> list[nn.Module]:
    """The text encoders, one or two: CLIPTextModel, and for the second CLIPTextModelWithProjection.

    That of SD2 has 23 of its 24 layers: the last one is never used. Raises as `load_unet`.
    """
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

    encoders = []
    for index, shape in enumerate(base.shape.texts):
        config = CLIPTextConfig(**text_config(base.family, shape, index))
        with torch.device("meta"):
            kind = CLIPTextModelWithProjection if shape.projection else CLIPTextModel
            encoder = kind._from_config(config, attn_implementation="sdpa")
        part = "text_encoder" if index == 0 else f"text_encoder_{index + 1}"
        if base.layout == "diffusers":
            weights = [open_weights(file) for file in part_files(base.path / part)]
            sources = _same_names(encoder, weights)
        else:
            weights = [open_weights(base.path)]
            sources = text_sources(encoder.state_dict(), shape)
        last = f"{shape.prefix}transformer.resblocks.{shape.layers}."
        place = Part("text encoder", base.path, weights, sources, shape.prefix, not_used=last)
        encoders.append(fill(encoder, place, dtype, device))
    return encoders


def load_unet(
    base: BaseModel, dtype: torch.dtype = torch.float32, device: Device = "cpu"
) -> UNet2DConditionModel:
    """The U-Net. Raises SuiteError when the file lacks some of it or holds something unknown."""
    config, kind = unet_config(base.family, base.shape.unet), unet_class()
    with torch.device("meta"):
        unet = kind(**config)
    if base.layout == "diffusers":
        weights = [open_weights(file) for file in part_files(base.path / "unet")]
        sources, prefix = _same_names(unet, weights), ""
    else:
        weights, prefix = [open_weights(base.path)], UNET_PREFIX
        attention = frozenset(
            number for number, kind in enumerate(config["up_block_types"]) if "CrossAttn" in kind
        )
        layers = base.shape.unet.layers
        sources = unet_sources(unet.state_dict(), layers, attention, UNET_PREFIX)
    return fill(unet, Part("U-Net", base.path, weights, sources, prefix), dtype, device)


def load_vae(
    source: BaseModel | Path, dtype: torch.dtype = torch.float32, device: Device = "cpu"
) -> AutoencoderKL:
    """The VAE of a base model, or of the file or folder that the setting `vae` names.

    The scale of the latents is the family's (`family.latent_scale`), not the VAE's. The VAE of
    SDXL must not run in fp16, where it gives NaN. Raises SuiteError as `load_unet`.
    """
    place = _own_vae(source) if isinstance(source, BaseModel) else recognise_vae(Path(source))
    family = source.family if isinstance(source, BaseModel) else SD1
    kind = vae_class()
    with torch.device("meta"):
        vae = kind(**vae_config(family, place.shape))
    weights = [open_weights(file) for file in place.files]
    if place.original:
        sources = vae_sources(vae.state_dict(), len(place.shape.channels), place.prefix)
    else:
        sources = _same_names(vae, weights, place.prefix)
    path = source.path if isinstance(source, BaseModel) else Path(source)
    return fill(vae, Part("VAE", path, weights, sources, place.prefix), dtype, device)


def _own_vae(base: BaseModel) -> VAEFile:
    if base.shape.vae is None:
        raise SuiteError(f"{base.path.name} has no VAE. Choose the full model, or give a VAE file "
                         "as vae.")  # fmt: skip
    if base.layout == "diffusers":
        return recognise_vae(base.path)
    return VAEFile((base.path,), VAE_PREFIX, True, base.shape.vae)


def vae_key(vae: AutoencoderKL) -> str:
    """A key of what the VAE makes of pictures: a hash of its encoder's weights and their type.

    Two VAEs that differ only in the decoder have the same key, as their latents are the same.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(vae.state_dict().items()):
        if name.startswith(("encoder.", "quant_conv.")):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(memoryview(data.numpy()))
    return digest.hexdigest()


def _same_names(
    model: nn.Module, weights: Sequence[Weights], prefix: str = ""
) -> dict[str, Source]:
    """Sources where the file has diffusers' own names, today's or those of older versions."""
    there = {name for some in weights for name in some.shapes}
    sources = {}
    for parameter in model.state_dict():
        bare = parameter.removeprefix("text_model.")
        names = [parameter, bare, f"text_model.{bare}"]
        for new, old in OLD_VAE_NAMES.items():
            if f".{new}." in parameter:
                names.append(parameter.replace(f".{new}.", f".{old}."))
        found = next((prefix + name for name in names if prefix + name in there), None)
        sources[parameter] = Source(found or prefix + parameter)
    return sources
