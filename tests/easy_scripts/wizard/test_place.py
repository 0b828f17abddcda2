"""Where a window opens: as it was left, on the screen where it was, if that is still there."""

from __future__ import annotations

import json

import pytest
from demo import make_plan

from easy_scripts.wizard import place
from easy_scripts.wizard.place import fitted
from easy_scripts.wizard.screens import Box, screens

FIRST, RIGHT = Box(0, 0, 1920, 1008), Box(1920, 0, 2560, 1368)
LEFT, ABOVE = Box(-1920, 0, 1920, 1008), Box(0, -1080, 1920, 1008)
LEAST, USUAL = (760, 480), (980, 680)


@pytest.mark.parametrize(
    ("kept", "rooms", "box"),
    [
        ([], [FIRST], (470, 164, 980, 680)),
        ([1, 2, 3], [FIRST], (470, 164, 980, 680)),
        ([1, 2, "x", 4], [FIRST], (470, 164, 980, 680)),
        ([100, 50, 900, 600], [FIRST], (100, 50, 900, 600)),
        ([2500, 100, 900, 600], [FIRST, RIGHT], (2500, 100, 900, 600)),
        ([-1500, 100, 900, 600], [FIRST, LEFT], (-1500, 100, 900, 600)),
        ([100, -900, 900, 600], [FIRST, ABOVE], (100, -900, 900, 600)),
        ([2500, 100, 900, 600], [FIRST], (1020, 100, 900, 600)),
        ([-1500, 100, 900, 600], [FIRST], (0, 100, 900, 600)),
        ([1000, 100, 900, 600], [FIRST, RIGHT], (1000, 100, 900, 600)),
        ([1600, 100, 900, 600], [FIRST, RIGHT], (1920, 100, 900, 600)),
        ([1200, 100, 900, 600], [FIRST, RIGHT], (1020, 100, 900, 600)),
        ([5000, 4000, 9000, 9000], [FIRST], (0, 0, 1920, 1008)),
        ([2000, 10, 3000, 2000], [FIRST, RIGHT], (1920, 0, 2560, 1368)),
        ([10, 10, 100, 100], [FIRST], (10, 10, 760, 480)),
        ([10, 10, 900, 600], [Box(0, 0, 640, 408)], (0, 0, 640, 408)),
        ([], [Box(0, 0, 640, 408)], (0, 0, 640, 408)),
    ],
)
def test_a_window_stays_where_it_was_and_comes_whole_onto_a_screen(kept, rooms, box):
    assert fitted(kept, rooms, LEAST, USUAL) == box


def test_the_screen_of_the_test_is_the_first(open_robot):
    robot = open_robot(make_plan())
    assert screens(robot.root)[0] == (0, 0, 1366, 768)


def test_a_window_that_filled_the_screen_does_so_again(open_robot, memory_folder, monkeypatch):
    """No window manager runs on the screen of the tests, so its part is played."""
    filled = []
    monkeypatch.setattr(place, "is_maximised", lambda root: bool(filled))
    monkeypatch.setattr(place, "maximise", filled.append)
    first = open_robot(make_plan())
    first.root.geometry("900x600+77+55")
    first.pump(0.2)
    first.press("<Escape>")
    second = open_robot(make_plan())
    assert not filled, "it was of its own size"
    filled.append(second.root)
    second.root.geometry("1366x768+0+0")
    second.pump(0.2)
    second.press("<Escape>")
    kept = json.loads((memory_folder / "resize.json").read_text(encoding="utf-8"))
    assert kept["maximised"] is True and kept["place"] == [0, 0, 900, 600], "its own size is kept"
    filled.clear()
    third = open_robot(make_plan())
    assert filled == [third.root]
    filled.clear()
    third.press("<Escape>")
    fourth = open_robot(make_plan())
    assert not filled and fourth.root.winfo_width() == 900
