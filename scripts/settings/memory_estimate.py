"""How much memory of the graphics card a training needs, about: a sum of four parts.

    base weights + LoRA weights · (itself + gradient + optimiser) + activations + overhead

Base weights: parameters of the U-Net (and of the text encoders when they are trained; otherwise
they leave before the U-Net comes) at 2 bytes, in fp8 at 1. Activations grow with pixels · batch;
with gradient checkpointing only the inputs of the blocks are kept. Parameter counts are those of
the published models; the activations are set so that reported figures come out: SD 1.5 at 512 in
6 GB, SDXL at 1024 in 8 to 10 GB with checkpointing (see SOURCES). Expect an error of ±30 %: it is
no measurement. A pace kept by `calibration` holds the measured figure.
"""

from __future__ import annotations

from dataclasses import dataclass

GB = 1e9
SOURCES = (
    "Users' reports on today's trainers: SDXL LoRA needs 8 to 10 GB in the best tools, none "
    "credible below 6 GB.",
    "https://huggingface.co/docs/diffusers/training/lora: SD 1.5 trains on 11 GB without any of "
    "the savings.",
    "https://huggingface.co/spaces/zengxi123/kohya_ss/raw/main/docs/LoRA/top_level.md: at least "
    "12 GB are advised for SDXL LoRA.",
)


@dataclass(frozen=True)
class Sizes:
    """Of a family: parameters, LoRA parameters a rank, activation bytes a picture of 512 x 512."""

    unet: float
    texts: float
    lora_per_rank: float
    activations: float
    activations_checkpointed: float


FAMILIES = {
    "sd1": Sizes(0.86e9, 0.12e9, 0.6e6, 2.6e9, 0.7e9),
    "sd2": Sizes(0.87e9, 0.34e9, 0.6e6, 2.6e9, 0.7e9),
    "sdxl": Sizes(2.57e9, 0.82e9, 3.5e6, 2.4e9, 0.45e9),
}
OVERHEAD = 0.9e9  # the driver's context and what libraries set aside
# Bytes a trained number: itself, its gradient, and what the optimiser keeps.
OPTIMIZER_BYTES = {"adamw8bit": 2, "lion8bit": 1, "adamw": 8, "lion": 4, "prodigy": 16}


def estimate_memory(
    family: str, resolution: int, batch: int, dim: int, checkpointing: bool, *,
    optimizer: str = "AdamW8bit", train_text_encoder: bool = True, fp8_base: bool = False,
) -> float:  # fmt: skip
    """Bytes that a training needs on the graphics card, with half precision."""
    sizes = FAMILIES[family]
    weights = sizes.unet * (1 if fp8_base else 2)
    if train_text_encoder:
        weights += sizes.texts * 2
    trained = sizes.lora_per_rank * dim * (8 + OPTIMIZER_BYTES.get(optimizer.lower(), 8))
    each = sizes.activations_checkpointed if checkpointing else sizes.activations
    activations = each * (resolution / 512) ** 2 * batch
    return weights + trained + activations + OVERHEAD
