"""Block weights: learning rates, dims and alphas that differ from block to block of the U-Net.

Blocks are numbered as in the original layout. SD1.x and SD2.x: 0 the first convolution, 1-11
down, 12 middle, 13-24 up; of the down side's 12 weights the first belongs to block 0. SDXL: 0 the
embeddings, 1-9 down, 10-12 middle, 13-21 up, 22 the last convolution. Standard library only, so
that a plan can be made without torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.core.errors import SettingError, SettingErrors

if TYPE_CHECKING:
    from scripts.settings.train import TrainSettings


@dataclass(frozen=True)
class BlockCounts:
    """How many weights the sides of a family's U-Net have.

    `stem` counts blocks in front of the down side and behind the up side that always weigh 1.
    `attention` are the blocks with attention, `resnet` those with resnets, `sampler` those that
    hold nothing but a downsampler.
    """

    side: int
    middle: int
    stem: int
    attention: tuple[int, ...]
    resnet: tuple[int, ...]
    sampler: tuple[int, ...]

    @property
    def total(self) -> int:
        """The number of all blocks."""
        return 2 * (self.side + self.stem) + self.middle


STABLE_DIFFUSION = BlockCounts(
    side=12,
    middle=1,
    stem=0,
    attention=(1, 2, 4, 5, 7, 8, 12, *range(16, 25)),
    resnet=(1, 2, 4, 5, 7, 8, *range(10, 25)),
    sampler=(3, 6, 9),
)
STABLE_DIFFUSION_XL = BlockCounts(
    side=9,
    middle=3,
    stem=1,
    attention=(5, 6, 8, 9, 11, 13, 14, 15, 16, 17, 18),
    resnet=(2, 3, 5, 6, 8, 9, 10, *range(12, 22)),
    sampler=(4, 7),
)

CURVES: dict[str, Callable[[float], float]] = {  # the weight at 0 (first) to 1 (last)
    "sine": lambda position: math.sin(math.pi * position / 2),
    "cosine": lambda position: math.sin(math.pi * (1 - position) / 2),
    "linear": lambda position: position,
    "reverse_linear": lambda position: 1 - position,
    "zeros": lambda position: 0.0,
    "max": lambda position: 1.0,
}


def block_counts(family_name: str) -> BlockCounts:
    """The blocks of a family by its name: sd1, sd2 or sdxl."""
    return STABLE_DIFFUSION_XL if family_name == "sdxl" else STABLE_DIFFUSION


def block_of(name: str) -> int:
    """The block number of a U-Net layer from its name in a file (lora_unet_...).

    Raises ValueError for a name that is in no block.
    """
    found = re.match(r"lora_unet_(input_blocks|middle_block|output_blocks)_(\d+)_", name)
    if found:
        return {"i": 1, "m": 10, "o": 13}[found[1][0]] + int(found[2])
    if name.startswith("lora_unet_mid_block_"):
        return 12
    pattern = r"lora_unet_(down|up)_blocks_(\d+)_(resnets|attentions|downsamplers|upsamplers)_(\d+)"
    found = re.match(pattern, name)
    if not found:
        raise ValueError(f"{name} is in no block of a U-Net.")
    number = 3 * int(found[2]) + int(found[4])
    if found[3] == "downsamplers":
        return number + 3
    if found[3] == "upsamplers":
        return number + 15
    return number + (1 if found[1] == "down" else 13)


def block_lr_weights(settings: TrainSettings, family_name: str) -> list[float] | None:
    """A learning rate weight for each block, or None when none is set.

    What is not set weighs 1, and a list that is too short goes on with 1. Weights that are not
    above block_lr_zero_threshold become 0. A curve may have an offset: "linear+0.25".

    Raises SettingError (SettingErrors for several) for what cannot be read and for lists that are
    too long.
    """
    if not (settings.down_lr_weight or settings.mid_lr_weight or settings.up_lr_weight):
        return None
    counts = block_counts(family_name)
    threshold = settings.block_lr_zero_threshold or 0.0
    weights, errors = [1.0] * counts.stem, []
    for setting, length in (
        ("down_lr_weight", counts.side),
        ("mid_lr_weight", counts.middle),
        ("up_lr_weight", counts.side),
    ):
        try:
            side = read_weights(setting, getattr(settings, setting), length)
        except SettingError as error:
            errors.append(error)
            continue
        weights += [weight if weight > threshold else 0.0 for weight in side]
    _raise_all(errors)
    return weights + [1.0] * counts.stem


def read_weights(
    setting: str, text: str | None, length: int, negative: bool = False
) -> list[float]:
    """So many weights from a list of numbers, which may be shorter, or the name of a curve with
    an offset ("linear+0.25"). Raises SettingError."""
    if not text:
        return [1.0] * length
    curve = curve_named(str(text))
    if curve:
        offset = str(text).partition("+")[2].strip()
        shift = _numbers(setting, offset or "0", float, negative)[0]
        return [curve(i / max(1, length - 1)) + shift for i in range(length)]
    numbers = _numbers(setting, str(text), float, negative)
    if len(numbers) > length:
        raise SettingError(setting, f"There are {len(numbers)} numbers, but this model has "
                           f"{length} blocks there. Remove the last ones.")  # fmt: skip
    return numbers + [1.0] * (length - len(numbers))


def curve_named(text: str) -> Callable[[float], float] | None:
    """The curve whose name, with or without an offset, the text is; None for other texts."""
    return CURVES.get(text.partition("+")[0].strip().lower().replace(" ", "_"))


def _numbers(setting: str, text: str, kind: type, negative: bool = False) -> list:
    numbers = []
    for part in str(text).split(","):
        try:
            number = float(part)
            if (number < 0 and not negative) or not math.isfinite(number) or kind(number) != number:
                raise ValueError
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            advice = "Write numbers with commas between."
            if kind is not int and "alpha" not in setting:
                advice = ("Write numbers with commas between or the name of a curve: "
                          f"{', '.join(CURVES)}.")  # fmt: skip
            what += "" if negative else " of 0 or more"
            raise SettingError(setting, f'"{part.strip()}" is not {what}. {advice}') from None
        numbers.append(kind(number))
    return numbers


@dataclass(frozen=True)
class BlockSizes:
    """Dims and alphas by block; a dim of 0 leaves the block out.

    `conv_dims` and `conv_alphas`, for the 3x3 convolutions, are None when those are not trained.
    """

    dims: list[int]
    alphas: list[float]
    conv_dims: list[int] | None
    conv_alphas: list[float] | None


def block_sizes(settings: TrainSettings, family_name: str) -> BlockSizes:
    """The dims and alphas of all blocks; blocks without their own take the network's.

    Raises SettingError (SettingErrors for several) for what cannot be read and for lists of the
    wrong length.
    """
    total = block_counts(family_name).total
    lists: dict[str, list | None] = {}
    errors = []
    for setting, kind in (("block_dims", int), ("block_alphas", float),
                          ("conv_block_dims", int), ("conv_block_alphas", float)):  # fmt: skip
        try:
            lists[setting] = _read_list(setting, getattr(settings, setting), kind, total)
        except SettingError as error:
            errors.append(error)
    _raise_all(errors)
    dims = lists["block_dims"] or [settings.network_dim] * total
    alphas = lists["block_alphas"] or [settings.alpha] * total
    conv_dims, conv_alphas = lists["conv_block_dims"], lists["conv_block_alphas"]
    if conv_dims is None and settings.conv_dim:
        conv_dims = [settings.conv_dim] * total
    if conv_dims is None:
        return BlockSizes(dims, alphas, None, None)
    if conv_alphas is None and settings.conv_alpha is not None:
        conv_alphas = [settings.conv_alpha] * total
    return BlockSizes(dims, alphas, conv_dims, conv_alphas or [dim / 2 for dim in conv_dims])


def _read_list(setting: str, text: str | None, kind: type, total: int) -> list | None:
    if not text:
        return None
    numbers = _numbers(setting, text, kind)
    if len(numbers) != total:
        raise SettingError(setting, f"There are {len(numbers)} numbers, but this model has "
                           f"{total} blocks. Write one for each.")  # fmt: skip
    return numbers


def _raise_all(errors: list[SettingError]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise SettingErrors(errors)


@dataclass(frozen=True)
class RateGroup:
    """One group of the optimiser: its name, learning rate and block (None: all of them)."""

    name: str
    rate: float
    block: int | None = None


def rate_groups(settings: TrainSettings, family_name: str) -> list[RateGroup]:
    """The learning rate groups that training will have, in order; groups of rate 0 are dropped.

    Names: text_encoder, unet, or with block weights unet_block<number>.

    Raises SettingError for what cannot be read, and when nothing is left to train.
    """
    groups = [RateGroup("text_encoder", settings.text_encoder_rate)]
    weights = block_lr_weights(settings, family_name)
    blocks = _blocks_with_layers(block_sizes(settings, family_name), family_name)
    if weights is not None:
        groups += [
            RateGroup(f"unet_block{block}", settings.unet_rate * weights[block], block)
            for block in blocks
        ]
    elif blocks:
        groups.append(RateGroup("unet", settings.unet_rate))
    groups = [group for group in groups if group.rate > 0]
    if not groups:
        by_block = ("down_lr_weight", "mid_lr_weight", "up_lr_weight", "block_dims")
        setting = next((name for name in by_block if getattr(settings, name)), "learning_rate")
        raise SettingError(setting, "Every part has the rate or the size 0, so nothing would be "
                           "trained. Give one of them more.")  # fmt: skip
    return groups


def _blocks_with_layers(sizes: BlockSizes, family_name: str) -> list[int]:
    counts = block_counts(family_name)
    linear, conv = set(counts.attention), set()
    if sizes.conv_dims is not None:
        linear |= set(counts.resnet)
        conv = {*counts.resnet, *counts.sampler}
    return [
        block
        for block in range(counts.total)
        if (block in linear and sizes.dims[block])
        or (block in conv and sizes.conv_dims and sizes.conv_dims[block])
    ]
