"""Strengths of a LoRA that differ from block to block, for merging.

    strengths = read_block_ratios("sine/1/cosine", "sd1")
    strengths.of("lora_unet_mid_block_attentions_0_proj_in")        # 1.0

A LoRA's list has one of these forms. Blocks are numbered as in `scripts.lora.blocks`; blocks that
a list has no place for keep 1, as in sd-scripts.

- one number for the whole U-Net, or the name of a curve for its down and its up side;
- three lists or curves with / between them: down, middle, up (12, 1 and 12 numbers; SDXL 9, 1 or 3,
  and 9; short ones go on with 1);
- all blocks in a row: 25 numbers (SDXL 21 or 23);
- as other tools write them, the text encoder first: 26 or 17 (the blocks with attention) numbers,
  for SDXL 20 or 12.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scripts.core.errors import SettingError
from scripts.lora.blocks import BlockCounts, block_counts, block_of, curve_named, read_weights

SETTING = "block_ratios"
TEXT_ENCODER = -1  # its place among the blocks of the lists that begin with it


@dataclass(frozen=True)
class BlockRatios:
    """The strength of each block by number, TEXT_ENCODER too; 1 where nothing is said."""

    strengths: Mapping[int, float]
    family_name: str

    def of(self, name: str) -> float:
        """The strength of a module by its name in a file."""
        return self.strengths.get(_block_of(name, self.family_name), 1.0)


def read_block_ratios(text: str | None, family_name: str) -> BlockRatios:
    """The strengths that `text` gives for a LoRA of the family sd1, sd2 or sdxl.

    Raises SettingError (block_ratios) when the text is none of the forms above.
    """
    text = (text or "").strip().strip("[]")
    counts = block_counts(family_name)
    return BlockRatios(_strengths(text, counts), family_name)


def _strengths(text: str, counts: BlockCounts) -> dict[int, float]:
    if not text:
        return {}
    if "/" in text or curve_named(text):
        sides = text.split("/") if "/" in text else [text, "1", text]
        return _from_sides(sides, counts)
    numbers = read_weights(SETTING, text, 1 + text.count(","), negative=True)
    if len(numbers) == 1:
        return dict.fromkeys(range(counts.total), numbers[0])
    places = _places(counts).get(len(numbers))
    if places is None:
        raise SettingError(SETTING, f"There are {len(numbers)} numbers in one list. Write one of "
                           f"{', '.join(map(str, sorted(_places(counts))))}, or three lists with "
                           "/ between them: down, middle, up.")  # fmt: skip
    return {
        block: number for blocks, number in zip(places, numbers, strict=True) for block in blocks
    }


def _from_sides(sides: list[str], counts: BlockCounts) -> dict[int, float]:
    if len(sides) != 3:
        raise SettingError(SETTING, f"There are {len(sides)} lists with / between them. Write "
                           "three: down, middle, up.")  # fmt: skip
    down, middle, up = (side.strip() for side in sides)
    if middle and "," not in middle and not curve_named(middle):
        middle = ",".join([middle] * counts.middle)
    strengths = [1.0] * counts.stem
    for side, length in ((down, counts.side), (middle, counts.middle), (up, counts.side)):
        strengths += read_weights(SETTING, side, length, negative=True)
    return dict(enumerate(strengths))


def _places(counts: BlockCounts) -> dict[int, list[tuple[int, ...]]]:
    """The blocks that each number stands for, by the length of the list."""
    first_middle = counts.stem + counts.side
    middle = tuple(range(first_middle, first_middle + counts.middle))
    every = [(block,) for block in range(counts.total)]
    inside = every[counts.stem : counts.total - counts.stem]
    one_middle = [*inside[: counts.side], middle, *inside[counts.side + counts.middle :]]
    attention = [
        blocks for blocks in one_middle if any(block in counts.attention for block in blocks)
    ]
    text = (TEXT_ENCODER,)
    forms = (every, inside, [text, *one_middle], [text, *attention])
    return {len(form): form for form in forms}


def _block_of(name: str, family_name: str) -> int:
    if not name.startswith("lora_unet_"):
        return TEXT_ENCODER
    try:
        return block_of(name)
    except ValueError:  # embeddings and first convolution in front, or the last convolution
        is_last = name.startswith(("lora_unet_conv_out", "lora_unet_out"))
        return block_counts(family_name).total - 1 if is_last else 0
