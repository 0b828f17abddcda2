"""The caption of a picture: found and read from its file, then varied anew for every use.

The order is that of sd-scripts: prefix and suffix, dropping the whole caption, first line (or
one line by chance), wildcards, splitting at commas, the first tags kept in place, shuffling,
token warm-up, dropping tags, joining with ", ".
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.core.files import read_text

PRESENT, MISSING, EMPTY = "present", "missing", "empty"
USUAL_ENDINGS = (".txt", ".caption")
WILDCARD = re.compile(r"\{([^}]+)\}")
FACE_SUFFIX_PARTS = 4  # name_<face number>_<x>_<y>_<size>, as sd-scripts' face tool writes them


@dataclass(frozen=True)
class CaptionOptions:
    """How captions are varied. The names are those of sd-scripts' subsets."""

    shuffle_caption: bool = False
    keep_tokens: int = 0
    keep_tokens_separator: str = ""
    caption_separator: str = ","
    secondary_separator: str = ""
    enable_wildcard: bool = False
    caption_prefix: str = ""
    caption_suffix: str = ""
    caption_dropout_rate: float = 0.0
    caption_dropout_every_n_epochs: int = 0
    caption_tag_dropout_rate: float = 0.0
    token_warmup_min: int = 1
    token_warmup_step: float = 0.0

    @property
    def splits_tags(self) -> bool:
        """Whether the caption is taken apart into tags at all."""
        return bool(self.shuffle_caption or self.caption_tag_dropout_rate or self.token_warmup_step)


@dataclass(frozen=True)
class CaptionFile:
    """What the caption file of a picture holds.

    `text` may have several lines when wildcards are on; `state` is present, missing or empty;
    `encoding` is what the file was read as ("" without a file).
    """

    text: str
    state: str
    encoding: str = ""
    path: Path | None = None


def find_caption_file(picture: Path, ending: str, names: dict[str, Path]) -> Path | None:
    """The caption file of `picture` among the files of its folder (lower-case name -> path).

    `cat.png` has `cat.txt`; a cut-out face `cat_0_12_30_90.png` falls back to `cat.txt`.
    """
    found = names.get(f"{picture.stem}{ending}".lower())
    if found is None:
        parts = picture.stem.split("_")
        if len(parts) > FACE_SUFFIX_PARTS:
            found = names.get(f"{'_'.join(parts[:-FACE_SUFFIX_PARTS])}{ending}".lower())
    return found


def read_caption(path: Path | None, class_tokens: str, every_line: bool = False) -> CaptionFile:
    """The caption in the file at `path`; without a file, the words of the folder's name.

    Only the first line counts, without blanks around it; with `every_line` (wildcards) all lines
    that hold something do. An empty file is an empty caption. Raises OSError.
    """
    if path is None:
        return CaptionFile(class_tokens, MISSING)
    text, encoding = read_text(path)
    if "\x00" in text:  # UTF-16 without its byte-order mark looks like UTF-8 full of NULs
        data = path.read_bytes()
        encoding = "utf-16-le" if data[1:2] == b"\x00" else "utf-16-be"
        text = data.decode(encoding, errors="replace").replace("\x00", "")
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n", text)]
    caption = "\n".join(filter(None, lines)) if every_line else lines[0]
    return CaptionFile(caption, PRESENT if caption else EMPTY, encoding, path)


def process_caption(
    caption: str,
    options: CaptionOptions,
    draw: random.Random,
    epoch: int = 1,
    step: int = 0,
    total_steps: int = 0,
) -> str:
    """The caption as it is used once.

    Args:
        caption: as `read_caption` gave it.
        draw: where the chances come from; drawn in this order: whole-caption dropout (only with
            a rate), line, wildcards, shuffle, one for each tag that may be dropped.
        epoch: counted from 1; caption_dropout_every_n_epochs=2 empties epochs 2, 4, ...
        step, total_steps: optimiser steps, for the token warm-up.
    """
    if options.caption_prefix:
        caption = f"{options.caption_prefix} {caption}"
    if options.caption_suffix:
        caption = f"{caption} {options.caption_suffix}"
    if options.caption_dropout_rate > 0 and draw.random() < options.caption_dropout_rate:
        return ""
    every = options.caption_dropout_every_n_epochs
    if every > 0 and epoch % every == 0:
        return ""
    lines = caption.split("\n")
    caption = draw.choice(lines) if options.enable_wildcard and len(lines) > 1 else lines[0]
    if options.enable_wildcard:
        caption = fill_wildcards(caption, draw)
    if options.splits_tags:
        caption = vary_tags(caption, options, draw, step, total_steps)
    if options.secondary_separator:
        caption = caption.replace(options.secondary_separator, options.caption_separator)
    return caption


def fill_wildcards(caption: str, draw: random.Random) -> str:
    """`{a|b}` becomes a or b by chance; `{{x}}` is the text `{x}`."""
    left, right = "\ue000", "\ue001"  # private-use letters stand in for the doubled braces
    caption = caption.replace("{{", left).replace("}}", right)
    caption = WILDCARD.sub(lambda match: draw.choice(match.group(1).split("|")), caption)
    return caption.replace(left, "{").replace(right, "}")


def vary_tags(
    caption: str, options: CaptionOptions, draw: random.Random, step: int, total_steps: int
) -> str:
    """Shuffle and drop the tags that are free to move; see `process_caption`."""
    first, free, last = split_tags(caption, options)
    free = free[: tags_in_warmup(len(free), options, step, total_steps)]
    if options.shuffle_caption:
        draw.shuffle(free)
    rate = options.caption_tag_dropout_rate
    if rate > 0:
        free = [tag for tag in free if draw.random() >= rate]
    return ", ".join([*first, *free, *last])


def split_tags(caption: str, options: CaptionOptions) -> tuple[list[str], list[str], list[str]]:
    """The tags that stay first, the free ones, and those that stay last.

    With keep_tokens_separator in the caption, what stands before the first one stays first and
    what stands after the second one stays last; else the first keep_tokens tags stay.
    """

    def tags(text: str) -> list[str]:
        return [tag.strip() for tag in text.split(options.caption_separator)]

    separator = options.keep_tokens_separator
    if separator and separator in caption:
        parts = [list(filter(None, tags(part))) for part in caption.split(separator, 2)]
        return parts[0], parts[1], parts[2] if len(parts) > 2 else []
    every = tags(caption.strip())
    return every[: options.keep_tokens], every[options.keep_tokens :], []


def tags_in_warmup(count: int, options: CaptionOptions, step: int, total_steps: int) -> int:
    """How many of `count` free tags are used at optimiser step `step`.

    min + floor(step * (count - min) / warm-up steps) until the warm-up ends; a warm-up below 1
    is a fraction of all steps.
    """
    length = options.token_warmup_step
    if 0 < length < 1:
        length = math.floor(length * total_steps)
    if not length or step >= length:
        return count
    least = options.token_warmup_min
    return max(0, math.floor(step * ((count - least) / length)) + least)


def without_chance(options: CaptionOptions) -> CaptionOptions:
    """The options with everything off that changes a caption from use to use."""
    return replace(
        options,
        shuffle_caption=False,
        caption_dropout_rate=0.0,
        caption_dropout_every_n_epochs=0,
        caption_tag_dropout_rate=0.0,
        token_warmup_step=0.0,
    )
