"""Size and place of a window: as it was left, but always whole on a screen that is there now."""

from __future__ import annotations

import sys
import tkinter
from collections.abc import Sequence

from easy_scripts.wizard.remembered import Memory
from easy_scripts.wizard.screens import Box, screens
from easy_scripts.wizard.theme import Theme

SIZE = (980, 680)  # logical pixels
LEAST = (760, 480)
TASKBAR = 72  # title bar and taskbar together


def place_window(root: tkinter.Tk, theme: Theme, memory: Memory) -> None:
    """Give the window the place that it had last time, or the middle of the first screen."""
    rooms = [Box(box.x, box.y, box.width, box.height - theme.px(TASKBAR)) for box in screens(root)]
    least, usual = (tuple(theme.px(side) for side in size) for size in (LEAST, SIZE))
    root.minsize(*(min(least[axis], rooms[0][2 + axis]) for axis in (0, 1)))
    box = fitted(memory.get("place", []), rooms, least, usual)
    root.geometry(f"{box.width}x{box.height}+{box.x}+{box.y}")


def fitted(
    kept: Sequence[int], rooms: Sequence[Box], least: tuple[int, int], usual: tuple[int, int]
) -> Box:
    """Where a window goes that was at `kept` (x, y, width, height; anything else: nowhere).

    `rooms` are the screens without their bars, the first one in front. A window stays on the
    screen that has most of it, moved and made smaller as far as needed; one that lies on none, as
    its screen is gone, comes to the first.
    """
    if len(kept) != 4 or not all(isinstance(number, int) for number in kept):
        x, y, width, height = rooms[0]
        size = (min(usual[0], width), min(usual[1], height))
        return Box(x + (width - size[0]) // 2, y + (height - size[1]) // 2, *size)
    room = max(rooms, key=Box(*kept).overlap)  # the first of equals
    sides, corner = [], []
    for axis in (0, 1):
        side = max(min(least[axis], room[2 + axis]), min(kept[2 + axis], room[2 + axis]))
        sides.append(side)
        corner.append(max(room[axis], min(kept[axis], room[axis] + room[2 + axis] - side)))
    return Box(*corner, *sides)


def keep_place(root: tkinter.Tk, memory: Memory) -> None:
    """Remember where the window is and whether it fills the screen; then its size is not its own,
    and the one before is kept, on the screen that it fills."""
    state = root.state()
    if state not in ("normal", "zoomed"):  # it lies in the taskbar
        return
    full = is_maximised(root)
    memory.keep("maximised", full)
    place = [root.winfo_x(), root.winfo_y(), root.winfo_width(), root.winfo_height()]
    before = memory.get("place", [])
    if full:
        place = [*place[:2], *before[2:]] if len(before) == 4 else []
    memory.keep("place", place)


def maximise_again(root: tkinter.Tk, memory: Memory) -> None:
    """Let the window fill its screen if it did so last time."""
    if memory.get("maximised", False):
        maximise(root)


def maximise(root: tkinter.Tk) -> None:
    """Let the window fill its screen."""
    if sys.platform == "linux":
        root.attributes("-zoomed", True)
    else:
        root.state("zoomed")


def is_maximised(root: tkinter.Tk) -> bool:
    """Whether the window fills its screen."""
    if sys.platform == "linux":
        return bool(root.attributes("-zoomed"))
    return root.state() == "zoomed"
