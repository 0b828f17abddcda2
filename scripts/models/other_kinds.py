"""What a file that is no base model seems to be: a table, one entry a kind.

The first entry fits whose signs are all found among the names of the tensors. A sign is a regular
expression, looked for anywhere in a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

FULL_MODEL = "Choose a whole Stable Diffusion 1.x, 2.x or XL model."


@dataclass(frozen=True)
class Kind:
    """A kind of file: how a person calls it, its signs, and what to do.

    `beside_unet` tells that such a file may hold a whole U-Net of Stable Diffusion too.
    """

    title: str
    signs: tuple[str, ...]
    advice: str = FULL_MODEL
    beside_unet: bool = False


LORA_ADVICE = (
    "Choose the base model that it was made for. A training can go on from a LoRA: there it is "
    "given as network_weights."
)
VAE_ADVICE = "Choose a whole model; a VAE of its own is given as vae."

KINDS = (
    # made by training, to be used with a base model
    Kind("a LoRA for Flux", (r"(^|\.|_)single_(transformer_)?blocks[._]\d", r"lora"), LORA_ADVICE),
    Kind(
        "a LoRA for Stable Diffusion 3 or another model with joint attention",
        (r"(^|\.)transformer_blocks\.\d+\.attn\.add_[qkv]_proj\.lora",),
        LORA_ADVICE,
    ),
    Kind("a LoHa (a kind of LoRA)", (r"\.hada_w1_a$",), LORA_ADVICE),
    Kind("a LoKr (a kind of LoRA)", (r"\.lokr_w[12]",), LORA_ADVICE),
    Kind("an OFT network (a kind of LoRA)", (r"^lora_\w+\.oft_(diag|blocks)$",), LORA_ADVICE),
    Kind("a DoRA (a kind of LoRA)", (r"\.dora_scale$", r"\.lora_(down|up|A|B)\."), LORA_ADVICE),
    Kind("a LoRA", (r"\.lora_down\.weight$",), LORA_ADVICE),
    Kind("a LoRA in the format of PEFT", (r"\.lora_[AB]\.(\w+\.)?weight$",), LORA_ADVICE),
    Kind("a LoRA in the format of diffusers", (r"\.lora\.(down|up)\.weight$",), LORA_ADVICE),
    Kind("a LyCORIS file (a kind of LoRA)", (r"^lora_(unet|te\d?)_",), LORA_ADVICE),
    Kind("a hypernetwork", (r"^(320|640|768|1280)\.\d\.linear",)),
    Kind("an embedding (textual inversion)", (r"^(emb_params|string_to_param|clip_[lg])$",)),
    Kind("an IP-Adapter", (r"^(ip_adapter|image_proj)\.",)),
    Kind("a T2I-Adapter", (r"^(adapter\.)?body\.\d+\.(block1|in_conv|resnets)",)),
    Kind("a motion module of AnimateDiff", (r"motion_modules\.",), beside_unet=True),
    Kind("a ControlNet", (r"^control_model\.",), beside_unet=True),
    Kind("a ControlNet", (r"^(controlnet_cond_embedding|controlnet_down_blocks)\.",)),
    Kind("a ControlNet-LLLite", (r"^lllite_",)),
    Kind("a ControlNet-LoRA", (r"^lora_controlnet$",)),
    # other models
    Kind("a Stable Diffusion 3 model", (r"joint_blocks\.0\.context_block",)),
    Kind("a Chroma model", (r"distilled_guidance_layer\.",)),
    Kind("a Flux.2 model", (r"single_stream_modulation\.",)),
    Kind("a Hunyuan video model", (r"(txt_in\.)?individual_token_refiner\.",)),
    Kind("a Flux model", (r"double_blocks\.0\.img_attn",)),
    Kind("a Flux model", (r"^single_transformer_blocks\.\d+\.proj_mlp",)),
    Kind("an AuraFlow model", (r"double_layers\.0\.attn\.w[12]q",)),
    Kind("a Lumina or Z-Image model", (r"cap_embedder\.0\.weight",)),
    Kind("a Qwen image model", (r"transformer_blocks\.0\.img_mod\.",)),
    Kind("an LTX video model", (r"patchify_proj\.",)),
    Kind("a Mochi video model", (r"blocks\.0\.attn\.qkv_x\.",)),
    Kind("a Wan video model", (r"head\.modulation$",)),
    Kind("a HiDream model", (r"double_stream_blocks\.0\.",)),
    Kind("a Cosmos model", (r"^net\.x_embedder\.proj",)),
    Kind("a Sana model", (r"blocks\.0\.cross_attn\.q_linear\.", r"(point|depth)_conv")),
    Kind("a PixArt model", (r"(adaln_single\.|t_block\.1\.)", r"(caption_projection|y_embedder)")),
    Kind("a HunyuanDiT model", (r"blocks\.0\.default_modulation\.",)),
    Kind("a Kandinsky model", (r"encoder_hid_proj\.|add_embedding\.image_norm",)),
    Kind("a Würstchen or Stable Cascade model", (r"(clip_txt_mapper|effnet_mapper)\.",)),
    Kind("a Würstchen or Stable Cascade model", (r"down_blocks\.\d+\.\d+\.channelwise\.",)),
    Kind("a Playground 2.5 model", (r"^edm_(mean|std)$",), beside_unet=True),
    Kind("a DeepFloyd IF model", (r"^encoder_proj\.", r"^unet\.|attn_pool")),
    Kind("a Stable Video Diffusion model", (r"time_stack|time_mixer",), beside_unet=True),
    Kind("a Stable Audio model", (r"^(pretransform|model\.model\.transformer)\.",)),
    # parts of models
    Kind("a T5 text encoder", (r"encoder\.block\.0\.layer\.0\.SelfAttention",)),
    Kind("a CLIP vision model", (r"^(vision_model|visual)\.",)),
    Kind("a CLIP text encoder", (r"^(text_model\.|text_projection)", r"embeddings|positional")),
    Kind("a CLIP text encoder", (r"^(transformer\.resblocks|embeddings\.token|encoder\.layers)",)),
    Kind("a language model", (r"(^|\.)layers\.0\.self_attn\.q_proj",)),
    Kind("a TAESD preview decoder", (r"^(taesd_(en|de)coder\.)?\d+\.(conv\.\d+\.)?weight$",)),
    Kind("a VAE", (r"^(first_stage_model\.|vae\.)?encoder\.conv_in\.weight$",), VAE_ADVICE),
    Kind("a VAE", (r"^(first_stage_model\.|vae\.)?decoder\.conv_in\.weight$",), VAE_ADVICE),
    Kind("an upscaler", (r"^(model\.)?(\d\.sub\.|conv_first|RRDB_trunk|body\.\d+\.rdb|head\.)",)),
    Kind("an upscaler", (r"residual_group\.blocks|^layers\.\d+\.blocks",)),
    Kind("a segmentation or detection model", (r"^(image_encoder|backbone|model\.\d+\.conv)",)),
    Kind("the state of a training", (r"^(optimizer|scheduler|global_step|exp_avg)",)),
)


def other_kind(names: Iterable[str], beside_unet: bool = False) -> Kind | None:
    """The kind of file that holds tensors of these names, None when nothing fits.

    With `beside_unet` only kinds that hold a U-Net of Stable Diffusion too are considered.
    """
    text = "\n".join(names)
    for kind in KINDS:
        if beside_unet and not kind.beside_unet:
            continue
        if all(re.search(sign, text, re.MULTILINE) for sign in kind.signs):
            return kind
    return None
