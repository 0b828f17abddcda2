"""The contact sheet of the practice bake: the same prompts and seeds without and with the LoRA.

    write_sheet(Path("sheet.png"), rows, ("without LoRA", "with LoRA"), "Practice bake")

A row is a prompt with one strip of pictures per column. Uses Pillow and numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scripts.core.files import replace_atomically

ENLARGED = 2  # a 64 pixel picture is shown at 128
MARGIN = 24
GAP = 8  # between pictures of a strip
COLUMN_GAP = 32
CAPTION_HEIGHT = 26
PAPER, INK, FAINT = (250, 250, 248), (30, 30, 34), (120, 120, 126)
GOOD, BAD = (34, 139, 69), (190, 190, 190)


@dataclass(frozen=True)
class Row:
    """One prompt and its pictures.

    ``columns[c]`` holds the pictures of column c, each (height, width, 3) uint8, all of one size.
    ``marks``, of the same form, frames a picture in green where True, in gray where False.
    """

    caption: str
    columns: Sequence[Sequence[np.ndarray]]
    marks: Sequence[Sequence[bool]] | None = None


@cache
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=size)


def make_sheet(
    rows: Sequence[Row], headings: Sequence[str], title: str, notes: Sequence[str] = ()
) -> Image.Image:
    """Draw the sheet.

    Args:
        headings: one per column.
        notes: lines under the title, such as the measured shares.

    Raises ValueError if there are no rows, or one has not as many columns as there are headings.
    """
    if not rows or any(len(row.columns) != len(headings) for row in rows):
        raise ValueError("every row of a sheet needs one strip of pictures for each heading")
    tile = rows[0].columns[0][0].shape[0] * ENLARGED
    across = max(len(strip) for row in rows for strip in row.columns)
    strip_width = across * tile + (across - 1) * GAP
    head = MARGIN + 40 + 24 * len(notes) + 34
    row_height = tile + CAPTION_HEIGHT + 10
    width = max(
        2 * MARGIN + len(headings) * strip_width + (len(headings) - 1) * COLUMN_GAP,
        2 * MARGIN + _widest((title, 26), *((note, 16) for note in notes)),
    )
    sheet = Image.new("RGB", (width, head + len(rows) * row_height + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, font=_font(26))
    for number, note in enumerate(notes):
        draw.text((MARGIN, MARGIN + 40 + 24 * number), note, FAINT, font=_font(16))
    lefts = [MARGIN + c * (strip_width + COLUMN_GAP) for c in range(len(headings))]
    for left, heading in zip(lefts, headings, strict=True):
        draw.text((left, head - 30), heading, INK, font=_font(18))
    for number, row in enumerate(rows):
        top = head + number * row_height
        for column, left in enumerate(lefts):
            marks = row.marks[column] if row.marks else None
            _paste_strip(sheet, row.columns[column], marks, left, top, tile)
            caption = _shortened(row.caption, strip_width, 14)
            draw.text((left, top + tile + 6), caption, FAINT, font=_font(14))
    return sheet


def write_sheet(
    path: Path,
    rows: Sequence[Row],
    headings: Sequence[str],
    title: str,
    notes: Sequence[str] = (),
) -> None:
    """Write the sheet of ``make_sheet`` as a PNG."""
    sheet = make_sheet(rows, headings, title, notes)
    with replace_atomically(path) as unfinished:
        sheet.save(unfinished, format="PNG")


def _paste_strip(
    sheet: Image.Image,
    pictures: Sequence[np.ndarray],
    marks: Sequence[bool] | None,
    left: int,
    top: int,
    tile: int,
) -> None:
    draw = ImageDraw.Draw(sheet)
    for number, picture in enumerate(pictures):
        x = left + number * (tile + GAP)
        image = Image.fromarray(picture).resize((tile, tile), Image.Resampling.LANCZOS)
        sheet.paste(image, (x, top))
        if marks is not None:
            colour = GOOD if marks[number] else BAD
            draw.rectangle((x - 3, top - 3, x + tile + 2, top + tile + 2), outline=colour, width=3)


def _widest(*texts: tuple[str, int]) -> int:
    return int(max(_font(size).getlength(text) for text, size in texts)) + 1


def _shortened(text: str, width: int, size: int) -> str:
    """The text, cut with three dots if it is wider than ``width`` pixels."""
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."
