"""The contact sheet holds its pictures, enlarged, at their places."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from scripts.drawing.sheet import BAD, GOOD, Row, make_sheet, write_sheet


def tile(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((64, 64, 3), colour, dtype=np.uint8)


def count(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(sheet) == colour).all(axis=2).sum())


def test_every_picture_is_there_at_twice_its_size():
    rows = [Row("zyx", [[tile((200, 0, 0))] * 3, [tile((0, 0, 200))] * 2])] * 2
    sheet = make_sheet(rows, ("without", "with"), "Title", ("a note",))
    assert count(sheet, (200, 0, 0)) == 2 * 3 * 128 * 128
    assert count(sheet, (0, 0, 200)) == 2 * 2 * 128 * 128


def test_marks_frame_the_pictures():
    row = Row("zyx", [[tile((9, 9, 200))] * 2], [[True, False]])
    sheet = make_sheet([row], ("with",), "Title")
    assert count(sheet, GOOD) == count(sheet, BAD) > 0
    assert count(make_sheet([Row("zyx", row.columns)], ("with",), "Title"), GOOD) == 0


def test_a_long_caption_stays_on_the_sheet():
    short = make_sheet([Row("zyx", [[tile((1, 2, 3))]])], ("with",), "T")
    long = make_sheet([Row("zyx " * 80, [[tile((1, 2, 3))]])], ("with",), "T")
    assert short.size == long.size


def test_rows_must_fit_the_headings():
    with pytest.raises(ValueError, match="heading"):
        make_sheet([Row("zyx", [[tile((0, 0, 0))]])], ("without", "with"), "T")
    with pytest.raises(ValueError):
        make_sheet([], ("with",), "T")


def test_it_is_written_as_png(tmp_path):
    write_sheet(tmp_path / "sheet.png", [Row("zyx", [[tile((1, 2, 3))]])], ("with",), "T")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
