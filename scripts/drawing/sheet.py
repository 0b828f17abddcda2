"""Contact sheets: pictures in rows and columns with headings.

    write_sheet(Path("sheet.png"), rows, ("without LoRA", "with LoRA"), "Practice bake")

A row is a prompt or a version with one strip of pictures per column. Uses Pillow and numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scripts.core.files import replace_atomically

ENLARGED = 2  # a 64 pixel picture is shown at 128,
LONGEST_SIDE = 512  # but none is shown larger than this
MARGIN = 24
GAP = 8  # between pictures of a strip
COLUMN_GAP = 32
CAPTION_HEIGHT = 26
WIDEST_CAPTION = 240  # of those at the left
PAPER, INK, FAINT = (250, 250, 248), (30, 30, 34), (120, 120, 126)
GOOD, BAD, NOTHING = (34, 139, 69), (190, 190, 190), (228, 228, 226)
OTHER_FONTS = (  # of Windows, macOS and Linux, for texts that are not in Latin letters
    "YuGothM.ttc", "meiryo.ttc", "msgothic.ttc", "ヒラギノ角ゴシック W3.ttc",
    "NotoSansCJK-Regular.ttc", "DejaVuSans.ttf",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One prompt or version and its pictures.

    ``columns[c]`` holds the pictures of column c, each (height, width, 3) uint8, all of one size;
    None for one that is missing.
    ``marks``, of the same form, frames a picture in green where True, in gray where False.
    """

    caption: str
    columns: Sequence[Sequence[np.ndarray | None]]
    marks: Sequence[Sequence[bool]] | None = None


@dataclass(frozen=True)
class _Layout:
    """Where things are, in pixels. `lefts` are the left sides of the columns; `caption_width` is
    that of captions beside the rows, 0 when they stand below the pictures."""

    tile: tuple[int, int]
    strip_width: int
    lefts: tuple[int, ...]
    caption_width: int
    head: int
    row_height: int
    size: tuple[int, int]


def make_sheet(
    rows: Sequence[Row],
    headings: Sequence[str],
    title: str,
    notes: Sequence[str] = (),
    captions_left: bool = False,
) -> Image.Image:
    """Draw the sheet.

    Args:
        headings: one per column.
        notes: lines under the title, such as the measured shares.
        captions_left: the captions stand beside the rows, in place of below each strip.

    Raises ValueError if there are no rows or no pictures, or a row has not as many columns as
    there are headings.
    """
    if not rows or any(len(row.columns) != len(headings) for row in rows):
        raise ValueError("every row of a sheet needs one strip of pictures for each heading")
    layout = _layout(rows, len(headings), [(title, 26), *((note, 16) for note in notes)],
                     captions_left)  # fmt: skip
    sheet = Image.new("RGB", layout.size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, font=_font(26, title))
    for number, note in enumerate(notes):
        draw.text((MARGIN, MARGIN + 40 + 24 * number), note, FAINT, font=_font(16, note))
    for left, heading in zip(layout.lefts, headings, strict=True):
        draw.text((left, layout.head - 30), heading, INK, font=_font(18, heading))
    for number, row in enumerate(rows):
        _draw_row(sheet, row, layout, layout.head + number * layout.row_height)
    return sheet


def write_sheet(
    path: Path,
    rows: Sequence[Row],
    headings: Sequence[str],
    title: str,
    notes: Sequence[str] = (),
    captions_left: bool = False,
) -> None:
    """Write the sheet of ``make_sheet`` as a PNG."""
    sheet = make_sheet(rows, headings, title, notes, captions_left)
    with replace_atomically(path) as unfinished:
        sheet.save(unfinished, format="PNG")


def _layout(
    rows: Sequence[Row], columns: int, texts: Sequence[tuple[str, int]], captions_left: bool
) -> _Layout:
    """`texts` are title and notes with their sizes."""
    strips = [strip for row in rows for strip in row.columns]
    picture = next((one for strip in strips for one in strip if one is not None), None)
    if picture is None:
        raise ValueError("a sheet needs at least one picture")
    height, width = picture.shape[:2]
    scale = min(ENLARGED, LONGEST_SIDE / max(width, height))
    tile = max(1, round(width * scale)), max(1, round(height * scale))
    across = max(len(strip) for strip in strips)
    strip_width = across * tile[0] + (across - 1) * GAP
    captions = [(row.caption, 18) for row in rows]
    caption_width = min(WIDEST_CAPTION, _widest(*captions)) if captions_left else 0
    first = MARGIN + (caption_width + COLUMN_GAP // 2 if captions_left else 0)
    gap = COLUMN_GAP if across > 1 or not captions_left else GAP
    lefts = tuple(first + c * (strip_width + gap) for c in range(columns))
    head = MARGIN + 40 + 24 * (len(texts) - 1) + 34
    row_height = tile[1] + (GAP if captions_left else CAPTION_HEIGHT + 10)
    whole = (max(lefts[-1] + strip_width, MARGIN + _widest(*texts)) + MARGIN,
             head + len(rows) * row_height + MARGIN)  # fmt: skip
    return _Layout(tile, strip_width, lefts, caption_width, head, row_height, whole)


def _draw_row(sheet: Image.Image, row: Row, layout: _Layout, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    if layout.caption_width:
        caption = _shortened(row.caption, layout.caption_width, 18, in_the_middle=True)
        middle = top + layout.tile[1] // 2
        draw.text((MARGIN, middle), caption, INK, font=_font(18, caption), anchor="lm")
    for column, left in enumerate(layout.lefts):
        marks = row.marks[column] if row.marks else None
        _paste_strip(sheet, row.columns[column], marks, (left, top), layout.tile)
        if not layout.caption_width:
            caption = _shortened(row.caption, layout.strip_width, 14)
            place = (left, top + layout.tile[1] + 6)
            draw.text(place, caption, FAINT, font=_font(14, caption))


def _paste_strip(
    sheet: Image.Image,
    pictures: Sequence[np.ndarray | None],
    marks: Sequence[bool] | None,
    corner: tuple[int, int],
    tile: tuple[int, int],
) -> None:
    draw = ImageDraw.Draw(sheet)
    width, height = tile
    for number, picture in enumerate(pictures):
        x, top = corner[0] + number * (width + GAP), corner[1]
        if picture is None:
            draw.rectangle((x, top, x + width - 1, top + height - 1), outline=NOTHING)
            continue
        image = Image.fromarray(picture).resize(tile, Image.Resampling.LANCZOS)
        sheet.paste(image, (x, top))
        if marks is not None:
            colour = GOOD if marks[number] else BAD
            frame = (x - 3, top - 3, x + width + 2, top + height + 2)
            draw.rectangle(frame, outline=colour, width=3)


def _font(size: int, text: str) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font, or one of the system where `text` has letters that it lacks."""
    return _font_of(size, all(ord(letter) < 0x250 for letter in text))


@cache
def _font_of(size: int, latin: bool) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    for name in () if latin else OTHER_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:  # not on this computer
            continue
    return ImageFont.load_default(size=size)


def _widest(*texts: tuple[str, int]) -> int:
    return int(max(_font(size, text).getlength(text) for text, size in texts)) + 1


def _shortened(text: str, width: int, size: int, in_the_middle: bool = False) -> str:
    """The text, cut with three dots at its end or in its middle if it is wider than ``width``
    pixels."""
    font = _font(size, text)
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        end = text[len(text) - kept // 2 :] if in_the_middle and kept > 1 else ""
        short = text[: kept - len(end)].rstrip() + "..." + end
        if font.getlength(short) <= width:
            return short
    return "..."
