"""The contact sheet holds its pictures, enlarged, at their places."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from scripts.drawing.sheet import BAD, GOOD, Row, _shortened, make_sheet, write_sheet


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


def place(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, width and height of all that has this colour."""
    rows, columns = np.nonzero((np.asarray(sheet) == colour).all(axis=2))
    return (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)


def test_captions_beside_the_rows_and_pictures_that_are_missing():
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    tall = [np.full((96, 64, 3), colour, dtype=np.uint8) for colour in colours]
    rows = [Row("name-000001", [[tall[0]], [tall[1]]]), Row("name", [[None], [tall[2]]])]
    sheet = make_sheet(rows, ("0.5", "1"), "Title", captions_left=True)
    (left, top, *size), (right, same_top, *_), (below_left, below, *_) = (
        place(sheet, colour) for colour in colours
    )
    assert size == [128, 192]
    assert (same_top, below_left) == (top, right) and right > left + 128 and below >= top + 192
    beside = np.asarray(sheet)[top : top + 192, :left]
    assert (beside < 100).any(), "the caption stands left of its row"
    assert (
        not (np.asarray(sheet)[below : below + 192, left : left + 128] == colours[2]).all(2).any()
    )
    with pytest.raises(ValueError, match="at least one picture"):
        make_sheet([Row("a", [[None]])], ("1",), "T")


def test_large_pictures_are_made_smaller_and_long_names_keep_their_end():
    row = Row("long " * 40 + "000003", [[np.full((1024, 768, 3), (1, 2, 3), dtype=np.uint8)]])
    sheet = make_sheet([row], ("1",), "Title", captions_left=True)
    left, _, width, height = place(sheet, (1, 2, 3))
    assert (width, height) == (384, 512) and left < 300
    short = _shortened(row.caption, 240, 18, in_the_middle=True)
    assert short.startswith("long ") and "..." in short and short.endswith("000003")


def test_names_in_other_letters_are_drawn():
    sheets = [make_sheet([Row(name, [[tile((1, 2, 3))]])], ("1",), "T", captions_left=True)
              for name in ("猫の画風", "犬の画風x")]  # fmt: skip
    assert sheets[0].tobytes() != sheets[1].tobytes()


def test_it_is_written_as_png(tmp_path):
    write_sheet(tmp_path / "sheet.png", [Row("zyx", [[tile((1, 2, 3))]])], ("with",), "T")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
