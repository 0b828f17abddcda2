"""The keys of a LoRA file, whoever wrote it, as (layer in kohya's naming, part of the layer).

Four namings are in use. kohya's: `lora_unet_down_blocks_0_..._to_q.lora_down.weight`. PEFT's:
`base_model.model.unet.down_blocks.0....to_q.lora_A.weight`. diffusers': the same without the front,
with `lora_A`, `lora.down`, `lora_linear_layer.down` or, oldest, `processor.to_q_lora.down`.
ComfyUI's: `diffusion_model.input_blocks.1.1....to_q.lora_down.weight`, in the original layout for
all families. As in kohya's files, SDXL's U-Net gets the names of the original layout, and that of
SD1.x and SD2.x diffusers' names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from scripts.lora.names import (
    RESNET_PARTS,
    OriginalLayout,
    diffusers_places,
    original_path,
    text_encoder_prefix,
)

Shapes = Mapping[str, tuple[int, ...]]

SDXL_LAYOUT = OriginalLayout(layers_per_block=2, up_attention=frozenset({0, 1}))
SD_LAYOUT = OriginalLayout(layers_per_block=2, up_attention=frozenset({1, 2, 3}))
KOHYA_NAME = re.compile(r"lora_(unet|te\d?|prior_unet|transformer)_\w+$")
ENDINGS = (  # of a key in PEFT's or diffusers' naming -> the part it is in kohya's
    (re.compile(r"\.lora_A(\.[^.]+)?\.weight$"), "lora_down.weight"),
    (re.compile(r"\.lora_B(\.[^.]+)?\.weight$"), "lora_up.weight"),
    (re.compile(r"\.lora(_linear_layer)?\.down\.weight$"), "lora_down.weight"),
    (re.compile(r"\.lora(_linear_layer)?\.up\.weight$"), "lora_up.weight"),
    (re.compile(r"(?<=_lora)\.down\.weight$"), "lora_down.weight"),
    (re.compile(r"(?<=_lora)\.up\.weight$"), "lora_up.weight"),
    (re.compile(r"\.lora_magnitude_vector(\.[^.]+?)?(\.weight)?$"), "dora_scale"),
    (re.compile(r"\.(lora_(?:down|up|mid)\.weight|dora_scale|hada_\w+|lokr_\w+)$"), ""),
    (re.compile(r"(\.lora|_lora|\.lora_linear_layer)?\.alpha$"), "alpha"),
)
PROCESSOR = re.compile(r"(?:\.processor)?\.(to_q|to_k|to_v|to_out)_lora$")
IN_PROCESSOR = re.compile(r"\.(to_q|to_k|to_v|to_out\.0)$")
IN_CLIP = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out.0": "out_proj"}
OF_CAPTIONS = re.compile(  # what is multiplied with the captions, whose width tells the family
    r"attn2[._](processor\.)?to_[kv].*[._](lora_down|lora_A|down|hada_w1_b)\b"
)
UNET_START = re.compile(r"(down_blocks|mid_block|up_blocks|conv_in|conv_out|time_embedding|"
                        r"add_embedding)\b")  # fmt: skip
TEXT_START = re.compile(r"(text_model\.)?encoder\.layers\.")
TEXT_FRONTS = (
    ("text_encoder_2.", 1), ("text_encoder.", 0), ("text_encoders.clip_g.transformer.", 1),
    ("text_encoders.clip_l.transformer.", 0), ("text_encoders.clip_h.transformer.", 0), ("", 0),
)  # fmt: skip
ORIGINAL_NAME = re.compile(
    r"lora_unet_((?:in|out)put_blocks_\d+_\d+|middle_block_\d+|(?:time_embed|out)_\d)(?:_(\w+))?$"
)
DIFFUSERS_RESNET = {theirs.replace(".", "_"): ours for ours, theirs in RESNET_PARTS.items()}
WIDE_PATH = re.compile(  # diffusers' path in kohya's underscores, as some tools write SDXL
    r"lora_unet_(?:(down|up)_blocks_(\d+)|mid_block)_"
    r"(resnets|attentions|downsamplers|upsamplers)_(\d+)_(\w+)$"
)


@dataclass
class LayerKeys:
    """The keys of a file by layer: {layer: {part: key}}, with names and parts as in kohya's files.

    `others` are the keys that belong to no layer; `naming` is kohya, peft or diffusers.
    """

    family: str | None
    naming: str
    layers: dict[str, dict[str, str]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


def read_layer_keys(shapes: Shapes, metadata: Mapping[str, str]) -> LayerKeys:
    """The layers that a file with tensors of these names and shapes holds; none if no LoRA."""
    family = family_of(shapes, metadata)
    found = LayerKeys(family, _naming(shapes))
    for key in shapes:
        place = _place(key, family)
        layer = found.layers.setdefault(place[0], {}) if place else {}
        if place is None or place[1] in layer:  # a layer under two names counts once
            found.others.append(key)
        else:
            layer[place[1]] = key
    return found


def family_of(shapes: Shapes, metadata: Mapping[str, str]) -> str | None:
    """sd1, sd2, sdxl, or None: by names, by the width of the captions, else by the metadata."""
    if any(re.search(r"(lora_unet_|diffusion_model\.)(double|single|joint)_blocks[._]\d", key)
           for key in shapes):  # fmt: skip
        return None  # Flux and SD 3, whose text encoders are named as those of SDXL
    if any(re.search(r"lora_te2_|text_encoder_2\.|text_encoders\.clip_g\.", key) for key in shapes):
        return "sdxl"
    widths = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
    for key, shape in shapes.items():
        if OF_CAPTIONS.search(key) and len(shape) > 1 and shape[1] in widths:
            return widths[shape[1]]
    if any(re.search(r"^lora_te1_|((in|out)put_blocks|middle_block)[._]\d", key)
           for key in shapes):  # fmt: skip
        return "sdxl"
    if stated := stated_family(metadata):
        return stated
    for key, shape in shapes.items():
        if re.search(r"self_attn[._]q_proj\.(lora_down|lora_A|lora.*\.down)", key):
            return widths.get(shape[1])
    return None


def stated_family(metadata: Mapping[str, str]) -> str | None:
    """The family that the metadata tell, whatever the keys show."""
    stated = metadata.get("ss_base_model_version", "") + metadata.get("modelspec.architecture", "")
    for sign, family in (("sdxl", "sdxl"), ("stable-diffusion-xl", "sdxl"), ("sd_v1", "sd1"),
                         ("stable-diffusion-v1", "sd1"), ("sd_v2", "sd2"),
                         ("stable-diffusion-v2", "sd2")):  # fmt: skip
        if sign in stated:
            return family
    return None


def _naming(keys: Iterable[str]) -> str:
    keys = list(keys)
    if any(KOHYA_NAME.match(key.partition(".")[0]) for key in keys):
        return "kohya"
    return "peft" if any(key.startswith("base_model.model.") for key in keys) else "diffusers"


def _place(key: str, family: str | None) -> tuple[str, str] | None:
    """(layer, part) of a key, None when it belongs to no layer of a LoRA."""
    name, _, part = key.partition(".")
    if KOHYA_NAME.match(name) and part:
        return _unet_name(name, family), part
    for pattern, meaning in ENDINGS:
        ending = pattern.search(key)
        if ending:
            layer = _layer_name(key[: ending.start()], family)
            return None if layer is None else (layer, meaning or ending[1])
    return None


def _layer_name(path: str, family: str | None) -> str | None:
    """kohya's name of the layer at a module path, None when it is none of a U-Net or CLIP."""
    path = path.removeprefix("base_model.model.")
    path = PROCESSOR.sub(lambda found: "." + found[1].replace("to_out", "to_out.0"), path)
    if path.startswith("diffusion_model."):
        name = "lora_unet_" + path.removeprefix("diffusion_model.").replace(".", "_")
        return _unet_name(name, family)
    for front, index in TEXT_FRONTS:
        rest = path.removeprefix(front)
        if path.startswith(front) and TEXT_START.match(rest):
            prefix = text_encoder_prefix(index, 2 if family == "sdxl" else 1)
            full = rest if rest.startswith("text_model.") else f"text_model.{rest}"
            full = IN_PROCESSOR.sub(lambda found: f".{IN_CLIP[found[1]]}", full)
            return f"{prefix}_{full.replace('.', '_')}"
    path = path.removeprefix("unet.")
    if not UNET_START.match(path):
        return None
    return _unet_name(f"lora_unet_{path.replace('.', '_')}", family)


def _unet_name(name: str, family: str | None) -> str:
    """kohya's name of a layer that may be named by the other layout."""
    if family == "sdxl":
        return _sdxl_name(name)
    return name if family is None else _sd_name(name)


def _sd_name(name: str) -> str:
    """diffusers' name of a layer of SD1.x or SD2.x that may be named by the original layout."""
    found = ORIGINAL_NAME.match(name)
    place = found and diffusers_places(SD_LAYOUT).get(found[1])
    if not place:
        return name
    rest = found[2]
    if "_resnets_" in place:
        rest = DIFFUSERS_RESNET.get(rest, rest)
    elif "_downsamplers_" in place and rest == "op":
        rest = "conv"
    return f"lora_unet_{place}" + (f"_{rest}" if rest else "")


def _sdxl_name(name: str) -> str:
    """The name in the original layout, of a layer that may be named by diffusers' path."""
    found = WIDE_PATH.match(name)
    if not found:
        return name
    side, block, kind, layer, rest = found.groups()
    start = f"{side}_blocks.{block}" if side else "mid_block"
    path = original_path(f"{start}.{kind}.{layer}.{rest}", SDXL_LAYOUT)
    return f"lora_unet_{path.replace('.', '_')}"
