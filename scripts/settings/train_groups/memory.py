"""The settings of a training that cost or save memory and time."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.core.declare import setting


@dataclass(frozen=True)
class MemorySettings:
    """Number formats and ways to save memory; the LoRA stays much the same."""

    # fmt: off
    mixed_precision: str | None = setting(
        None, label="Precision", page="Speed and memory", choices=("no", "fp16", "bf16"),
        help="Number format while training; when not set, the best one that the device has.",
        beware="no takes about twice the memory; fp16 breaks down more easily than bf16.")
    full_bf16: bool = setting(
        False, label="All in bf16", page="Speed and memory", advanced=True,
        help="The LoRA and its gradients in bf16 too: less memory, less exact.",
        beware="Small changes are rounded away: with low rates little is learnt.")
    gradient_checkpointing: bool = setting(
        False, label="Gradient checkpointing", page="Speed and memory",
        help="Much less memory, about a quarter slower; use it when memory runs out.",
        beware="It costs time alone; the LoRA stays as good.")
    sdpa: bool = setting(
        True, label="SDPA attention", page="Speed and memory", advanced=True,
        aliases=["xformers", "mem_eff_attn"], read=lambda raw: True,
        help="PyTorch's fast attention is always used; xformers and mem_eff_attn are other names "
        "for it.")
    fp8_base: bool = setting(
        False, label="fp8 base model", page="Speed and memory", advanced=True,
        help="Keep the U-Net of the base model in fp8 on the graphics card: saves memory, not "
        "time.",
        beware="The base model is rounded, so fine detail is learnt a little less exactly.")
    lowram: bool = setting(
        False, label="Little main memory", page="Speed and memory", advanced=True,
        help="Read one picture at a time and keep fewer encoded captions in main memory: slower. "
        "The model is always loaded straight into the graphics card's memory.",
        beware="It helps when the PC runs out of memory, not when the graphics card does.")
    # fmt: on
