"""The settings of a training that tell what the LoRA is: its layers, sizes and rates by block."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.core.declare import setting
from scripts.core.usual import Usual
from scripts.settings.train_reading import read_joined

CURVES = ("sine", "cosine", "linear", "reverse_linear", "zeros")


@dataclass(frozen=True)
class LoraSettings:
    """Layers, sizes and rates by block."""

    # fmt: off
    network_dim: int = setting(
        32, label="LoRA size (dim)", page="LoRA", low=1, high=1024, aliases=["net_dim"],
        help="The rank of the LoRA: 8 to 32 for a character, 32 to 128 for a style; the file "
        "grows with it.",
        usual=(8, 128), below="It cannot hold a likeness or a style.",
        above="Large files, and backgrounds are learnt by heart.")
    network_alpha: float | None = setting(
        None, label="Alpha", page="LoRA", low=0, aliases=["alpha"],
        help="Scales the LoRA by alpha / dim; half of dim when not set.",
        usual=Usual(0.25, 1, times="network_dim"),
        below="It learns more slowly, unless the learning rate is raised.",
        above="Each step acts more strongly, and the LoRA soon burns in.")
    conv_dim: int | None = setting(
        None, label="Convolution size (LoCon)", page="LoRA", low=1, high=512, advanced=True,
        help="Train the 3x3 convolutions too, with this rank; makes a LoCon.",
        usual=(4, 64), below="It cannot hold textures; better leave it out.",
        above="Large files, and textures are learnt by heart.")
    conv_alpha: float | None = setting(
        None, label="Convolution alpha", page="LoRA", low=0, advanced=True,
        help="Alpha of the 3x3 convolutions; half of conv_dim when not set.",
        usual=Usual(0.25, 1, times="conv_dim"), below="Textures are learnt more slowly.",
        above="Each step acts more strongly, and textures soon burn in.")
    network_dropout: float | None = setting(
        None, label="Dropout", page="LoRA", low=0, high=0.99, advanced=True,
        help="The share of the LoRA's inner values left out at each step.",
        usual=(0, 0.3), above="The LoRA stays weak, as much of what it learns is lost.")
    rank_dropout: float | None = setting(
        None, label="Rank dropout", page="LoRA", low=0, high=0.99, advanced=True,
        help="The share of ranks left out at each step.",
        usual=(0, 0.3), above="The LoRA stays weak, as much of what it learns is lost.")
    module_dropout: float | None = setting(
        None, label="Module dropout", page="LoRA", low=0, high=0.99, advanced=True,
        help="The share of layers left out at each step.",
        usual=(0, 0.3), above="The LoRA stays weak, as much of what it learns is lost.")
    network_train_unet_only: bool = setting(
        False, label="U-Net only", page="LoRA", aliases=["unet_only"],
        help="Leave the text encoder as it is: less memory and faster; usual for SDXL.",
        beware="Trigger words that are no real words are learnt less well.")
    network_train_text_encoder_only: bool = setting(
        False, label="Text encoder only", page="LoRA", advanced=True, aliases=["text_only"],
        help="Train the text encoder and leave the U-Net as it is.",
        beware="Looks and styles are hardly learnt: it only knows words.")
    scale_weight_norms: float | None = setting(
        None, label="Limit weight norms", page="LoRA", low=0, advanced=True,
        help="Scale layers down whose change grows beyond this norm; 1 is a good start.",
        usual=(0.5, 5), below="Layers are held down, and the LoRA stays weak.",
        above="It has hardly any effect.")
    down_lr_weight: str | None = setting(
        None, label="Rate of the down blocks", page="LoRA", read=read_joined, advanced=True,
        suggestions=CURVES,
        help="12 numbers (SDXL 9) by which the learning rate of the down blocks is multiplied, or "
        "a curve: sine, cosine, linear, reverse_linear, zeros.",
        beware="0 leaves a block out; a block far above 1 burns in before the others.")
    mid_lr_weight: str | None = setting(
        None, label="Rate of the middle block", page="LoRA", read=read_joined, advanced=True,
        help="The number (SDXL 3 numbers) by which the middle block's learning rate is "
        "multiplied.",
        beware="0 leaves a block out; a block far above 1 burns in before the others.")
    up_lr_weight: str | None = setting(
        None, label="Rate of the up blocks", page="LoRA", read=read_joined, advanced=True,
        suggestions=CURVES,
        help="12 numbers (SDXL 9) for the up blocks, or the name of a curve.",
        beware="0 leaves a block out; a block far above 1 burns in before the others.")
    block_lr_zero_threshold: float = setting(
        0.0, label="Rate that counts as none", page="LoRA", low=0, advanced=True,
        help="Blocks whose rate weight is not above this are left out of the LoRA.",
        usual=(0, 0.1), above="Blocks that were meant to learn a little are missing.")
    block_dims: str | None = setting(
        None, label="Sizes by block", page="LoRA", read=read_joined, advanced=True,
        help="25 ranks (SDXL 23), one for each block from the input to the output.",
        beware="The dim above does not count then. 0 leaves a block out.")
    block_alphas: str | None = setting(
        None, label="Alphas by block", page="LoRA", read=read_joined, advanced=True,
        help="25 alphas (SDXL 23), one for each block.",
        beware="Above a block's own dim it soon burns in; far below it learns slowly.")
    conv_block_dims: str | None = setting(
        None, label="Convolution sizes by block", page="LoRA", read=read_joined, advanced=True,
        help="25 ranks (SDXL 23) for the 3x3 convolutions of each block.",
        beware="The file grows with each of them. 0 leaves a block out.")
    conv_block_alphas: str | None = setting(
        None, label="Convolution alphas by block", page="LoRA", read=read_joined, advanced=True,
        help="25 alphas (SDXL 23) for the 3x3 convolutions of each block.",
        beware="Above a block's own dim it soon burns in; far below it learns slowly.")
    # fmt: on
